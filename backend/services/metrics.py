"""What is measured: the state of the requests, and what came of one sweep's attempts.

What the metrics are called stands in ``backend.metric_names``, how they are exposed is
``scheduler.metrics``'s. Everything here is read from the control database by its indexes, at the
end of a sweep and never because somebody asks; nothing names a person or a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from backend.metric_names import BUCKETS
from backend.models import DSARAttempt, DSARRequest
from backend.services.control import Controller
from backend.services.open_requests import COUNTED_AT_MOST, deadline_counts
from backend.services.request_rows import ATTEMPTS, EARLIEST, REQUESTS, instant_or_none

STATUSES: Final = (
    DSARRequest.STATUS_PENDING,
    DSARRequest.STATUS_PROCESSING,
    DSARRequest.STATUS_COMPLETED,
    DSARRequest.STATUS_FAILED,
    DSARRequest.STATUS_CANCELLED,
)


@dataclass(frozen=True, slots=True)
class State:
    """The requests at one instant of the database's clock."""

    taken_at: datetime
    requests: Mapping[str, int]
    nearly_due: int
    overdue: int
    oldest_pending_seconds: float


@dataclass(frozen=True, slots=True)
class AttemptGroup:
    """A sweep's ended attempts of one outcome and error code.

    ``buckets``: how many took at most each of ``BUCKETS`` seconds.
    """

    outcome: str
    error_code: str | None
    count: int
    rows: int
    bytes: int
    files_not_included: int
    seconds: float
    buckets: Sequence[int]


def read_state(control: Controller, *, zone: tzinfo = UTC) -> State:
    """Read the state of the requests; by the claim's index, whatever the table's size.

    Deadlines are counted in ``zone``'s days. Raises ``DatabaseUnreachable`` or ``DatabaseBusy``.
    Writes nothing.
    """
    counts = sa.select(REQUESTS.c.status, sa.func.count()).group_by(REQUESTS.c.status)
    deadlines = deadline_counts(control, zone=zone)

    def read(connection: Connection) -> State:
        now = control.now(connection)
        found = {str(status): int(count) for status, count in connection.execute(counts)}
        return State(
            taken_at=now,
            requests={status: found.get(status, 0) for status in STATUSES},
            nearly_due=deadlines.nearly_due,
            overdue=deadlines.overdue,
            oldest_pending_seconds=_longest_due_seconds(connection, now),
        )

    return control.read(read)


def read_attempts(control: Controller, sweep_id: str) -> list[AttemptGroup]:
    """Read what came of one sweep's attempts, of all its processes; by the trail's index.

    An attempt that still runs, or whose worker was lost, is not among them: it is counted when
    it is reclaimed. Raises ``DatabaseUnreachable`` or ``DatabaseBusy``. Writes nothing.
    """
    a = ATTEMPTS.c
    within = [
        sa.func.sum(sa.case((a.duration_ms <= int(bound * 1000), 1), else_=0)) for bound in BUCKETS
    ]
    query = (
        sa.select(
            a.outcome,
            a.error_code,
            sa.func.count(),
            sa.func.sum(a.rows),
            sa.func.sum(a.bytes),
            sa.func.sum(a.files_not_included),
            sa.func.sum(a.duration_ms),
            *within,
        )
        .where(a.sweep_id == sweep_id, a.outcome != DSARAttempt.OUTCOME_RUNNING)
        .group_by(a.outcome, a.error_code)
    )
    rows = control.read(lambda connection: connection.execute(query).all())
    return [_group(*row) for row in rows]


def _longest_due_seconds(connection: Connection, now: datetime) -> float:
    """For how long one has been due that nobody claimed: neither held nor backing off.

    Due since receipt, or since it was entered, resumed, to be tried again: the later one. Looked
    at are the first ``COUNTED_AT_MOST`` in the claim's order, which an index gives.
    """
    r = REQUESTS.c
    due_at = sa.case((r.next_attempt_at > r.requested_at, r.next_attempt_at), else_=r.requested_at)
    first = (
        sa.select(due_at.label("at"))
        .where(
            r.status == DSARRequest.STATUS_PENDING,
            r.requested_at.between(EARLIEST, now),
            r.next_attempt_at <= now,
        )
        .order_by(r.requested_at, r.id)
        .limit(COUNTED_AT_MOST)
        .subquery()
    )
    # As text: on SQLite a bad date in one row must not cost the other metrics.
    query = sa.select(sa.type_coerce(sa.func.min(first.c.at), sa.types.NullType()))
    oldest = instant_or_none(connection.execute(query).scalar())
    return 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())


def _group(
    outcome: str,
    error_code: str | None,
    count: int,
    rows: Any,
    size: Any,
    files: Any,
    ms: Any,
    *within: Any,
) -> AttemptGroup:
    # MariaDB and PostgreSQL sum integers to decimals, and nothing to NULL.
    return AttemptGroup(
        outcome=outcome,
        error_code=error_code,
        count=count,
        rows=int(rows or 0),
        bytes=int(size or 0),
        files_not_included=int(files or 0),
        seconds=float(ms or 0) / 1000,
        buckets=[int(each or 0) for each in within],
    )
