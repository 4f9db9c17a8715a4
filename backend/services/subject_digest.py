"""Whose data a recorded version holds, as a digest that names nobody by itself.

A record says which version it is of, and its row names a person. Nothing keeps another program
from changing that name afterwards, and then the file is another person's. So the record also holds
an HMAC-SHA256 of the key that was exported, over the request's id and the claim token, keyed with
32 random octets that stand in the version table: a copy of the requests alone tells nobody whose
data it was, and the same person has another digest in every row.

A backup holds both tables, ``dsar move-database`` takes the key along, and a prune deletes the
digest with the file. What was exported before the column came has none: it is not known.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

import sqlalchemy as sa

from backend.migrations.runner import VERSION_TABLE
from backend.services.subject_keys import plain_key

DIGEST_KEY: Final = sa.column("subject_digest_key", sa.String)
# To be read beside other columns: the statement costs no trip of its own.
digest_key: Final = (
    sa.select(DIGEST_KEY).select_from(sa.table(VERSION_TABLE, DIGEST_KEY)).limit(1)
).scalar_subquery()


def subject_digest(key: str | None, request_id: int, token: int, user_id: Any) -> str | None:
    """The digest of the person whose version a claim made; None without a key or a person.

    The same for every way of writing one key, so that it survives a move to another database.
    """
    if key is None or user_id is None:
        return None
    message = f"{request_id}.{token}.{plain_key(user_id)}"
    return hmac.new(
        key.encode(), message.encode("utf-8", "surrogateescape"), hashlib.sha256
    ).hexdigest()


def names_another(
    recorded: str | None, key: str | None, request_id: int, token: int, user_id: Any
) -> bool:
    """Whether a row names another person, or nobody, than its recorded version is of.

    False where nothing is recorded of it, or there is no key to compare by.
    """
    if recorded is None or key is None:
        return False
    wanted = subject_digest(key, request_id, token, user_id)
    return wanted is None or not hmac.compare_digest(wanted, recorded)
