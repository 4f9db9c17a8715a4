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
from backend.services.batches import batches
from backend.services.control import Controller
from backend.services.deadlines import MAX_EXTENSION_MONTHS, NEARLY_DUE, first_receipt_due_from
from backend.services.exact_keys import found_form, wanted_form
from backend.services.faithful import faithful
from backend.services.request_rows import EARLIEST, REQUESTS, as_stored
from backend.services.request_summaries import OPEN
from backend.services.subject_age import creation_column, is_newer
from backend.services.subject_keys import bound, other_writings

# Whoever has more than this many is not helped by the exact number, and each sweep counts.
COUNTED_AT_MOST: Final = 10_000
# By the form of a key: when the row with it was made.
_Found = dict[Hashable, Any]
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
            r.requested_at >= EARLIEST,
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
    states = subject_states(control, source, key, request_ids)
    if states is None:
        return None
    return {each for each, state in states.items() if state.gone}


class SubjectState(NamedTuple):
    """Whether a request's person is gone; else whether they are newer than it (``is_newer``)."""

    gone: bool
    newer: str | None = None


def subject_states(
    control: Controller, source: Engine, key: sa.Column[Any], request_ids: Collection[int]
) -> dict[int, SubjectState] | None:
    """What the source database holds of the people whom some requests name, as above.

    ``key`` as in ``without_subject``; what it is compared by is ``exact_keys``.
    """
    states: dict[int, SubjectState] = {}
    for ids in batches(sorted(request_ids), _BATCH):
        owners = _owners(control, ids)
        try:
            with named_errors(source.url), source.connect() as connection:
                found = _existing(connection, key, [owner for owner, _ in owners.values()])
        except (DSARError, SQLAlchemyError):
            return None
        for request_id, (owner, received_at) in owners.items():
            states[request_id] = _state(source, key, found, owner, received_at)
    return states


def _state(
    source: Engine, key: sa.Column[Any], found: _Found, owner: Any, received_at: Any
) -> SubjectState:
    forms = [wanted_form(key, each) for each in (owner, *other_writings(key, owner))]
    form = next((each for each in forms if each is not None and each in found), None)
    if form is None:
        return SubjectState(gone=True)
    created, dialect = creation_column(key.table), source.dialect.name
    return SubjectState(False, is_newer(created, found[form], received_at, dialect))


def _owners(control: Controller, request_ids: Collection[int]) -> dict[int, tuple[Any, Any]]:
    """Whom some requests name, and when they were received."""
    r = REQUESTS.c
    query = sa.select(r.id, r.user_id, as_stored(r.requested_at)).where(
        r.id.in_(request_ids), r.user_id.is_not(None)
    )
    rows = control.read(lambda c: c.execute(query).all())
    return {request_id: (owner, received) for request_id, owner, received in rows}


def _existing(connection: Connection, key: sa.Column[Any], owners: Collection[Any]) -> _Found:
    written = (each for owner in owners for each in (owner, *other_writings(key, owner)))
    wanted = [each for each in (bound(key, one) for one in written) if each is not None]
    if not wanted:
        return {}
    dialect, created = connection.dialect.name, creation_column(key.table)
    query = sa.select(
        faithful(key, dialect),
        sa.null().label("no_time") if created is None else faithful(created, dialect),
    )
    rows = connection.execute(query.where(key.in_(wanted)))
    forms = ((found_form(key, each, dialect), made) for each, made in rows)
    return {form: made for form, made in forms if form is not None}
