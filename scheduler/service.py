"""The long-running process: APScheduler decides when, ``sweep`` does what.

APScheduler is wired so that nothing of it can skip, double or swallow a sweep: one job, never two
of it at once, missed times rolled into one run however late, and a job that never raises. The
times come from ``backend.cron``, which reads them as cron does, in UTC: a local ``30 2 * * *``
would come twice in autumn and not at all in spring.
"""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, date, datetime
from typing import Any, Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from flask import Flask

# Used by a sweep that finds something, which is when the others import it. This process may live
# on while another release is put in its place, and must not take the exporter from that one.
import backend.services.dsar_exporter  # noqa: F401
from backend.cron import next_fire
from backend.extensions import Runtime, current_runtime
from backend.failures import failure_of
from backend.heartbeat import HeartbeatFile
from backend.logs import get_logger
from backend.services.assembly import Services
from backend.services.coverage_gate import look_before_exporting
from backend.services.lease import Watch
from backend.services.open_requests import DeadlineCounts
from backend.services.outlook import look
from backend.services.ownership import require_own_root
from backend.services.retention import Retention
from backend.settings import Settings
from scheduler.metrics import Metrics
from scheduler.notify import Notifier
from scheduler.pulse import Pulse
from scheduler.shutdown import Shutdown
from scheduler.sweep import Slot, SweepResult, run_sweep, tell_deadlines
from scheduler.workers import run_here, run_in_processes

log = get_logger(__name__)

# Once a day, at an odd minute: every machine that prunes at midnight prunes at the same time.
PRUNE_CRON: Final = "17 3 * * *"
_LOOK_SECONDS: Final = 5.0
# How late APScheduler's own thread may be before it counts as stuck.
_LATE_SECONDS: Final = 120.0
_DRAIN_LOOK_SECONDS: Final = 0.1


class CronTrigger(BaseTrigger):  # type: ignore[misc]  # apscheduler ships no types
    """An APScheduler trigger on a real cron parser, in UTC."""

    def __init__(self, fields: str) -> None:
        self._fields = fields

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """The first match after the previous run, or after now; always later than both."""
        after = now if previous is None else max(previous, now.replace(microsecond=0))
        return next_fire(self._fields, after)

    def __str__(self) -> str:
        return f"cron[{self._fields}]"


class SweepService:
    """One scheduler process, from start to drain."""

    def __init__(
        self, app: Flask, settings: Settings, shutdown: Shutdown, notifier: Notifier
    ) -> None:
        self._app = app
        self._settings = settings
        self._shutdown = shutdown
        self._notifier = notifier
        with app.app_context():
            self._runtime: Runtime = current_runtime()
        self._pulse = Pulse(self._runtime.clock)
        self._heartbeat = HeartbeatFile(settings.heartbeat_path)
        self._metrics = Metrics(settings)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(2)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._waiting_for: str | None = None
        self._told: tuple[date, DeadlineCounts] | None = None

    def run(self) -> int:
        """Sweep at start and then on schedule, until asked to stop; return the exit code.

        Raises what makes a start pointless: ``ConfigurationError``, ``DatabaseUnreachable``,
        ``StoreUnavailable``. Later trouble of that kind is waited out.
        """
        services = Services.of(self._runtime)
        look(services.controller, prune_before=None)
        look_before_exporting(self._runtime)
        services.store.prepare()
        require_own_root(services.controller, services.store)
        self._heartbeat.prepare()
        self._metrics.listen(self._is_healthy, lambda: self._pulse.running)
        self._schedule()
        log.info("scheduler_started", workers=self._settings.workers, pid=os.getpid())
        self._notifier.ready("waiting for the next sweep")
        while not self._shutdown.wait(self._interval()):
            self._tell_supervisors()
        self._drain()
        return 0

    def _schedule(self) -> None:
        # "Maximum number of running instances reached" is what a long sweep is supposed to cause.
        logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)
        self._scheduler.add_job(
            self._sweep_job,
            CronTrigger(self._settings.sweep_cron),
            id="sweep",
            next_run_time=datetime.now(UTC),
        )
        self._scheduler.add_job(self._prune_job, CronTrigger(PRUNE_CRON), id="prune")
        self._scheduler.start()

    def _interval(self) -> float:
        watchdog = self._notifier.watchdog_seconds
        return _LOOK_SECONDS if watchdog is None else min(_LOOK_SECONDS, watchdog / 3)

    def _tell_supervisors(self) -> None:
        """Feed the watchdog and the heartbeat file, unless the loop is stuck: then be silent."""
        if not self._is_healthy():
            log.error("scheduler_stuck")
            return
        self._notifier.alive()
        try:
            self._heartbeat.touch()
        except OSError as error:
            log.warning("heartbeat_not_written", error_class=type(error).__name__)

    def _is_healthy(self) -> bool:
        if not self._pulse.healthy:
            return False
        job = self._scheduler.get_job("sweep")
        if self._pulse.running or job is None or job.next_run_time is None:
            return True
        late = datetime.now(UTC) - job.next_run_time
        return bool(late.total_seconds() < _LATE_SECONDS)

    # -- the jobs: neither raises into APScheduler -------------------------------------------

    def _sweep_job(self) -> None:
        try:
            with self._app.app_context():
                self._pulse.beat(_LATE_SECONDS)
                self._notifier.status("sweeping")
                result = self._sweep()
                self._report(result)
                self._metrics.sweep_ended(Services.of(self._runtime), result)
        except BaseException as error:
            self._log_failure("sweep_failed", error)
            self._metrics.sweep_failed(error)
        finally:
            self._pulse.rest()
            self._notifier.status("waiting for the next sweep")
            # Between sweeps nothing is held: a database may restart, a pooler may recycle.
            self._runtime.disconnect()

    def _sweep(self) -> SweepResult:
        settings, shutdown, beat = self._settings, self._shutdown, self._pulse.beat
        limit = settings.sweep_limit
        if settings.workers > 1:
            run_slots = run_in_processes(
                settings, shutdown, workers=settings.workers, limit=limit, beat=beat
            )
        else:
            run_slots = run_here(self._runtime, shutdown, limit=limit, beat=beat)
        slot = Slot(
            watch=Watch(must_stop=shutdown.must_stop),
            draining=lambda: shutdown.requested,
            beat=beat,
        )
        return run_sweep(self._runtime, run_slots=run_slots, prune=False, slot=slot)

    def _report(self, result: SweepResult) -> None:
        """Log a sweep that did something; trouble once when it begins and once when it ends."""
        counts = {k: v for k, v in result.as_dict().items() if k not in ("error_code", "pruned")}
        trouble = None if result.trouble is None else result.trouble.code
        if trouble is not None and trouble != self._waiting_for:
            log.warning("waiting_for_environment", **counts, error_code=trouble)
        elif trouble is None and self._waiting_for is not None:
            log.info("environment_well", **counts)
        elif result.tally.claimed or result.reclaimed:
            log.info("sweep_finished", **counts)
        self._waiting_for = trouble
        self._report_deadlines(result)

    def _report_deadlines(self, result: SweepResult) -> None:
        """Tell what is late when that changes, and once a day as long as it stays so."""
        if result.deadlines is None:
            return
        told = (self._runtime.clock.now().date(), result.deadlines)
        if told != self._told:
            tell_deadlines(result.deadlines)
            self._told = told

    def _prune_job(self) -> None:
        try:
            with self._app.app_context():
                services = Services.of(self._runtime)
                done = Retention(
                    services.controller,
                    services.claims,
                    services.store,
                    retention_days=self._settings.retention_days,
                    stop=lambda: self._shutdown.requested,
                ).prune()
                log.info("pruned", pruned=done.pruned, count=done.leftovers + done.links)
        except BaseException as error:
            self._log_failure("prune_failed", error)

    def _log_failure(self, event: str, error: BaseException) -> None:
        failure = failure_of(error)
        fields: dict[str, Any] = {
            "error_code": failure.code,
            "error_class": failure.error_class,
            "error_at": failure.error_at,
        }
        log.error(event, **fields)

    # -- the end -----------------------------------------------------------------------------

    def _drain(self) -> None:
        """Wait for what runs; ``Shutdown`` sees to it that this ends."""
        log.info("scheduler_draining")
        self._notifier.stopping()
        self._scheduler.pause()
        while self._pulse.running:
            # A drain is no reason for a probe to call the process dead.
            self._tell_supervisors()
            time.sleep(_DRAIN_LOOK_SECONDS)
        self._scheduler.shutdown(wait=False)
        self._metrics.close()
        self._heartbeat.remove()
        log.info("scheduler_stopped")
