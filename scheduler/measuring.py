"""What a sweep's process measures, for ``scheduler.metrics`` to expose.

What came of the attempts is read from the trail by the sweep's id when the sweep has ended, so that
all its worker processes' are among them. Nothing here ends a sweep: what goes wrong is logged.
"""

from __future__ import annotations

from typing import Final

from backend.models import DSARAttempt
from backend.services.assembly import Services
from backend.services.metrics import AttemptGroup, State, read_attempts, read_state
from scheduler.metrics import Book, logged, news_of
from scheduler.sweep import SweepResult

_LOST_CLAIM: Final = frozenset({"lease_lost", "superseded"})


def measure(
    services: Services, result: SweepResult, *, state_due_at: float = 0.0
) -> tuple[Book, float]:
    """What one sweep adds to the metrics, the state of the requests read anew.

    That state is left out before ``state_due_at``, an instant of the monotonic clock; the next is
    returned. Of a million rows reading it takes a tenth of a second; however many there are and
    often a scheduler sweeps, it gets a hundredth of the time. Raises nothing.
    """
    news = news_of(None if result.trouble is None else result.trouble.code)
    news.observe("dsar_sweep_duration_seconds", result.duration_ms / 1000)
    news.add("dsar_reclaims_total", result.reclaimed)
    news.set("dsar_store_min_free_bytes", services.runtime.settings.min_free_bytes)
    with logged("metrics_not_read"):
        if (free := services.store.free_bytes()) is not None:
            news.set("dsar_store_free_bytes", free)
    with logged("metrics_not_read"):
        if result.tally.claimed:
            for group in read_attempts(services.controller, result.sweep_id):
                _count(news, group)
        state_due_at = _read_state(news, services, state_due_at)
    return news, state_due_at


def _read_state(news: Book, services: Services, due_at: float) -> float:
    clock = services.runtime.clock
    started = clock.monotonic()
    if started < due_at:
        return due_at
    _describe(news, read_state(services.controller, zone=services.runtime.settings.zone))
    return started + 100 * (clock.monotonic() - started)


def _count(news: Book, group: AttemptGroup) -> None:
    news.add("dsar_attempts_total", group.count, group.outcome)
    if group.error_code is not None:
        news.add("dsar_attempt_errors_total", group.count, group.error_code)
    if group.error_code in _LOST_CLAIM or group.outcome == DSARAttempt.OUTCOME_SUPERSEDED:
        news.add("dsar_lease_losses_total", group.count)
    if group.outcome == DSARAttempt.OUTCOME_COMPLETED:
        news.add("dsar_exported_rows_total", group.rows)
        news.add("dsar_exported_bytes_total", group.bytes)
        news.add("dsar_files_not_included_total", group.files_not_included)
        news.observe_many("dsar_export_duration_seconds", group.buckets, group.count, group.seconds)


def _describe(news: Book, state: State) -> None:
    for status, count in state.requests.items():
        news.set("dsar_requests", count, status)
    news.set("dsar_requests_nearly_due", state.nearly_due)
    news.set("dsar_requests_overdue", state.overdue)
    news.set("dsar_oldest_pending_age_seconds", state.oldest_pending_seconds)
    news.set("dsar_state_timestamp_seconds", state.taken_at.timestamp())
