"""The metrics by name: what each is and how it is labelled.

Apart from what reads them from the database, which the scheduler's parent must not load.
``deploy/monitoring/README.md`` says of each what it means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# How an attempt may end that is counted: of DSARAttempt's outcomes all but running and lost. A test
# holds them to these.
OUTCOMES: Final = ("completed", "retried", "failed", "released", "superseded")

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
        GAUGE, "How long a request has been due without being claimed, at most; 0 without one."
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
    "dsar_files_not_included_total": Metric(
        COUNTER, "Files that completed exports lack, each named with its reason in its archive."
    ),
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
