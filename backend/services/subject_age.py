"""Whether a person's row is newer than their request: then its key may have been another's before.

An application may give the id of a deleted person to the next one who registers, and a request that
waits then names somebody new. No comparison of keys can see that. But most tables of people say
when a row was made, and where that is after the receipt of the request, an operator is told. It is
no refusal: the same person may have been entered anew, and only an operator can find out.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from backend.logs import get_logger
from backend.services.request_rows import instant_or_none

log = get_logger(__name__)

YES: Final = "yes"
MAYBE: Final = "maybe"
NO: Final = "no"

# What a column with the instant of its row's making is called, the surest first; without regard to
# capitals, dashes and underscores.
_NAMES: Final = (
    *("createdat", "createdon", "createdate", "createddate", "createdtime", "createtime"),
    *("createdts", "creationdate", "creationtime", "datecreated", "timecreated", "created"),
    *("insertedat", "insertdate", "dateinserted", "crdate", "recordcreatedat", "rowcreatedat"),
    *("accountcreatedat", "accountcreated", "usercreatedat", "usercreated"),
    *("registeredat", "registeredon", "registrationdate", "dateregistered", "userregistered"),
    *("registrationtime", "registered", "regdate", "regtime", "signupdate", "signedupat"),
    *("signupat", "datejoined", "joinedat", "joinedon", "joindate", "joined", "membersince"),
    *("dateadded", "addedat", "adddate", "erstelltam", "angelegtam", "creele", "creadoen"),
)
# The zones of the world, from UTC-12 to UTC+14: what a time without a zone may be off by.
_EARLIER: Final = timedelta(hours=14)
_LATER: Final = timedelta(hours=12)
# Whole numbers in such columns are seconds or milliseconds since 1970; before 2001 and after 2100
# they are something else.
_SECONDS: Final = range(1_000_000_000, 4_102_444_800)


def creation_column(table: sa.Table) -> sa.Column[Any] | None:
    """The column of a table that says when a row was made; None without one."""
    named = {column.name.lower().replace("_", "").replace("-", ""): column for column in table.c}
    for name in _NAMES:
        column = named.get(name)
        if column is not None and not column.foreign_keys:
            return column
    return None


def is_newer(
    column: sa.Column[Any] | None, created: Any, received_at: Any, dialect: str
) -> str | None:
    """Whether a row was made after a request's receipt: yes, no, or maybe; None: not known.

    Maybe: its time names no zone, and in some zone of the world it is after the receipt. Both as
    the driver read them; a time of receipt without a zone is UTC, as everywhere in our table.
    """
    if column is None:
        return None
    received = instant_or_none(received_at)
    if isinstance(created, datetime) and _is_utc(column, dialect):
        created = created.replace(tzinfo=created.tzinfo or UTC)
    span = _span(created)
    if received is None or span is None:
        return None
    first, last = span
    if first > received:
        return YES
    return MAYBE if last > received else NO


def warn_if_newer(
    column: sa.Column[Any] | None, created: Any, received_at: Any, dialect: str
) -> str | None:
    """As ``is_newer``, with a warning in the log."""
    newer = is_newer(column, created, received_at, dialect)
    if newer == YES:
        log.warning("person_newer_than_request")
    elif newer == MAYBE:
        log.warning("person_maybe_newer_than_request")
    return newer


def _is_utc(column: sa.Column[Any], dialect: str) -> bool:
    """Whether a time without a zone was UTC: MariaDB gives a TIMESTAMP in the session's zone."""
    return isinstance(column.type, sa.TIMESTAMP) and dialect not in ("postgresql", "sqlite")


def _span(created: Any) -> tuple[datetime, datetime] | None:
    """The first and the last instant that a value of a creation column may mean."""
    if isinstance(created, str):
        try:
            text = created.strip()
            is_day = len(text) <= len("2026-11-03")
            created = date.fromisoformat(text) if is_day else datetime.fromisoformat(text)
        except ValueError:
            return None
    if isinstance(created, (int, float, Decimal)) and not isinstance(created, bool):
        return _span_of_number(created)
    try:
        if isinstance(created, datetime):
            if created.tzinfo is not None:
                at = created.astimezone(UTC)
                return at, at
            at = created.replace(tzinfo=UTC)
            return at - _EARLIER, at + _LATER
        if isinstance(created, date):
            day = datetime.combine(created, time.min, UTC)
            return day - _EARLIER, day + timedelta(days=1) + _LATER
    except OverflowError:
        return None
    return None


def _span_of_number(created: Any) -> tuple[datetime, datetime] | None:
    if not 0 < created <= _SECONDS.stop * 1000:
        return None  # not a number among them
    seconds = int(created)
    for unit in (1, 1000):
        if seconds // unit in _SECONDS:
            at = datetime.fromtimestamp(seconds / unit, UTC)
            return at, at
    return None
