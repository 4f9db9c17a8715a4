"""What is measured: the state of the requests, and what came of one sweep's attempts.

How it is exposed is ``scheduler.metrics``'s. Everything here is read from the control database by
its indexes, at the end of a sweep and never because somebody asks; nothing names a person or a
request. ``deploy/monitoring/README.md`` says of each metric what it means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from backend.models import DSARAttempt, DSARRequest
from backend.services.control import Controller, aware
from backend.services.open_requests import deadline_counts
from backend.services.request_rows import ATTEMPTS, REQUESTS

STATUSES: Final = (
    DSARRequest.STATUS_PENDING,
    DSARRequest.STATUS_PROCESSING,
    DSARRequest.STATUS_COMPLETED,
    DSARRequest.STATUS_FAILED,
    DSARRequest.STATUS_CANCELLED,
)

OUTCOMES: Final = (
    DSARAttempt.OUTCOME_COMPLETED,
    DSARAttempt.OUTCOME_RETRIED,
    DSARAttempt.OUTCOME_FAILED,
    DSARAttempt.OUTCOME_RELEASED,
    DSARAttempt.OUTCOME_SUPERSEDED,
)

# Upper bounds in seconds: from one small person to the default DSAR_EXPORT_TIMEOUT_SECONDS.
BUCKETS: Final = (0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's kind, its help text and the names of its labels."""

    kind: str
    help: str
    labels: tuple[str, ...] = ()


METRICS: Final[Mapping[str, Metric]] = {
    # The state: the database's, the same on every machine.
    "dsar_requests": Metric(GAUGE, "Requests by status.", ("status",)),
    "dsar_requests_nearly_due": Metric(GAUGE, "Unanswered requests due within seven days."),
    "dsar_requests_overdue": Metric(GAUGE, "Unanswered requests past the law's deadline."),
    "dsar_oldest_pending_age_seconds": Metric(
        GAUGE, "Time since receipt of the oldest pending request; 0 without one."
    ),
    "dsar_state_timestamp_seconds": Metric(GAUGE, "When the four above were read."),
    # What the sweeps of this scheduler did.
    "dsar_sweeps_total": Metric(COUNTER, "Sweeps by outcome.", ("outcome",)),
    "dsar_sweep_troubles_total": Metric(
        COUNTER, "Sweeps that ended early or failed, by error code.", ("error_code",)
    ),
    "dsar_sweep_duration_seconds": Metric(HISTOGRAM, "Duration of sweeps, empty ones included."),
    "dsar_sweep_last_end_timestamp_seconds": Metric(GAUGE, "When the last sweep ended, however."),
    "dsar_sweep_last_success_timestamp_seconds": Metric(
        GAUGE, "When a sweep last ended without trouble; 0: none yet."
    ),
    "dsar_attempts_total": Metric(COUNTER, "Ended attempts by outcome.", ("outcome",)),
    "dsar_attempt_errors_total": Metric(
        COUNTER, "Ended attempts that did not complete, by error code.", ("error_code",)
    ),
    "dsar_reclaims_total": Metric(COUNTER, "Claims taken away from lost workers."),
    "dsar_lease_losses_total": Metric(
        COUNTER, "Attempts thrown away because the claim was no longer theirs."
    ),
    "dsar_export_duration_seconds": Metric(HISTOGRAM, "Duration of completed exports."),
    "dsar_exported_rows_total": Metric(COUNTER, "Rows in completed exports."),
    "dsar_exported_bytes_total": Metric(COUNTER, "Bytes of completed exports' ZIP files."),
    "dsar_log_keys_dropped_total": Metric(
        COUNTER, "Log keys and values that the allow-list dropped."
    ),
    # This machine, this program.
    "dsar_store_free_bytes": Metric(GAUGE, "Free room under the export root."),
    "dsar_store_min_free_bytes": Metric(GAUGE, "DSAR_MIN_FREE_BYTES."),
    "dsar_build_info": Metric(GAUGE, "Always 1.", ("version",)),
    # The long-running process alone, at the moment of the scrape.
    "dsar_scheduler_healthy": Metric(GAUGE, "1, or 0 when the sweep loop is stuck."),
    "dsar_scheduler_sweeping": Metric(GAUGE, "1 while a sweep runs."),
    "dsar_scheduler_start_timestamp_seconds": Metric(GAUGE, "When the process started."),
}


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
            oldest_pending_seconds=_oldest_pending_seconds(connection, now),
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
            sa.func.sum(a.duration_ms),
            *within,
        )
        .where(a.sweep_id == sweep_id, a.outcome != DSARAttempt.OUTCOME_RUNNING)
        .group_by(a.outcome, a.error_code)
    )
    rows = control.read(lambda connection: connection.execute(query).all())
    return [_group(*row) for row in rows]


def _oldest_pending_seconds(connection: Connection, now: datetime) -> float:
    r = REQUESTS.c
    query = (
        # As text: on SQLite a bad date in one row must not cost the other metrics.
        sa.select(sa.type_coerce(r.requested_at, sa.types.NullType()))
        .where(r.status == DSARRequest.STATUS_PENDING, r.requested_at.is_not(None))
        .order_by(r.requested_at)
        .limit(1)
    )
    received = connection.execute(query).scalar()
    try:
        return 0.0 if received is None else max(0.0, (now - aware(received)).total_seconds())
    except ValueError:
        return 0.0


def _group(
    outcome: str, error_code: str | None, count: int, rows: Any, size: Any, ms: Any, *within: Any
) -> AttemptGroup:
    # MariaDB and PostgreSQL sum integers to decimals, and nothing to NULL.
    return AttemptGroup(
        outcome=outcome,
        error_code=error_code,
        count=count,
        rows=int(rows or 0),
        bytes=int(size or 0),
        seconds=float(ms or 0) / 1000,
        buckets=[int(each or 0) for each in within],
    )
