"""Whether the trouble of an attempt is its own, or that of its surroundings."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from backend.engines import named_errors
from backend.errors import DatabaseUnreachable, DSARError, Superseded
from backend.package_files import require_whole
from backend.services.assembly import Services
from backend.services.request_rows import Claim


def trouble_around(services: Services, claim: Claim) -> DSARError | None:
    """What is wrong with databases, program or disk, if anything.

    The requests' database must take writes, not only answer: a server may have become read-only,
    so the claim is renewed once more. Everything well means that it was this request's own error
    after all: one person's huge export must not starve the queue for ever. Raises ``Superseded``
    when the claim is no longer current.
    """
    runtime = services.runtime
    try:
        services.claims.renew(claim)
        source, key = runtime.source, runtime.settings.source_key
        with named_errors(source.url, key), source.connect() as connection:
            connection.execute(sa.select(1))
        require_whole()
        services.store.prepare()
        services.store.require_room(runtime.settings.min_free_bytes)
    except Superseded:
        raise
    except DSARError as error:
        return error
    except DBAPIError as error:
        return DatabaseUnreachable(type(error).__name__)
    return None
