"""What can be said of many open requests at once, cheaply: who is late, whose person is gone."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from backend.engines import named_errors
from backend.errors import DSARError
from backend.services.control import Controller
from backend.services.deadlines import MAX_EXTENSION_MONTHS, NEARLY_DUE, first_receipt_due_from
from backend.services.request_rows import REQUESTS
from backend.services.request_summaries import OPEN
from backend.services.subject_keys import bound, canonical, other_writings

# Whoever has more than this many is not helped by the exact number, and each sweep counts.
COUNTED_AT_MOST: Final = 10_000
_BATCH: Final = 500


class DeadlineCounts(NamedTuple):
    """Open requests (pending, being exported, failed) by their deadline; see ``urgency``."""

    nearly_due: int
    overdue: int


def deadline_counts(control: Controller, *, zone: tzinfo = UTC) -> DeadlineCounts:
    """How many open requests are nearly due and how many overdue; one statement, by index.

    Looks at no more than ``COUNTED_AT_MOST`` of them: beyond, both numbers together stay at that.
    By the host's clock: deadlines end with a day, and nothing is compared between machines. What
    has no date of receipt has no deadline and is not counted. Raises the database's errors.
    """
    r = REQUESTS.c
    now = control.clock.now()

    def due_before(at: datetime) -> sa.ColumnElement[bool]:
        months = range(1, MAX_EXTENSION_MONTHS + 2)
        return sa.or_(
            *(
                sa.and_(
                    r.extension_months == each - 1,
                    r.requested_at < first_receipt_due_from(at, months=each, zone=zone),
                )
                for each in months
            )
        )

    soon = now + NEARLY_DUE + timedelta(microseconds=1)
    urgent = (
        sa.select(due_before(now).label("late"))
        .where(
            r.status.in_(OPEN),
            # This an index serves; the row's own extension is looked at second.
            r.requested_at < first_receipt_due_from(soon, zone=zone),
            due_before(soon),
        )
        .limit(COUNTED_AT_MOST)
        .subquery()
    )
    late = sa.func.coalesce(sa.func.sum(sa.case((urgent.c.late, 1), else_=0)), 0)
    query = sa.select(sa.func.count(), late).select_from(urgent)
    urgent_count, overdue = control.read(lambda c: c.execute(query).one())
    return DeadlineCounts(int(urgent_count) - int(overdue), int(overdue))


def without_subject(
    control: Controller, source: Engine, key: sa.Column[Any], request_ids: Collection[int]
) -> set[int] | None:
    """Which of some requests name a person whom the source database does not hold (any more).

    A sweep fails these as ``subject_not_found``; asked before, an operator can still act. In
    batches, by ``key``, the column of the people's table that requests name them by. A request
    without a ``user_id`` is not among them. None when the source cannot be asked. Raises the
    control database's errors.
    """
    gone: set[int] = set()
    ids = sorted(request_ids)
    for start in range(0, len(ids), _BATCH):
        owners = _owners(control, ids[start : start + _BATCH])
        try:
            with named_errors(source.url), source.connect() as connection:
                found = _existing(connection, key, owners.values())
        except (DSARError, SQLAlchemyError):
            return None
        gone |= {each for each, owner in owners.items() if not found & _writings(key, owner)}
    return gone


def _owners(control: Controller, request_ids: Collection[int]) -> dict[int, Any]:
    r = REQUESTS.c
    query = sa.select(r.id, r.user_id).where(r.id.in_(request_ids), r.user_id.is_not(None))
    return control.read(lambda c: dict(c.execute(query).all()))


def _existing(
    connection: Connection, key: sa.Column[Any], owners: Collection[Any]
) -> set[Hashable | None]:
    written = (each for owner in owners for each in (owner, *other_writings(key, owner)))
    wanted = [each for each in (bound(key, one) for one in written) if each is not None]
    rows = connection.execute(sa.select(key).where(key.in_(wanted))).scalars() if wanted else ()
    return {_canonical(key, each) for each in rows}


def _writings(key: sa.Column[Any], owner: Any) -> set[Hashable | None]:
    return {_canonical(key, owner), *other_writings(key, owner)}


def _canonical(key: sa.Column[Any], owner: Any) -> Hashable | None:
    """A person's key as the people's table has it; None for what can be nobody's."""
    try:
        found: Hashable = canonical(key, owner)
    except ValueError:
        return None
    return found
