"""The long-running process: APScheduler decides when, a job process does what.

This one has neither database nor sections: it loads no SQLAlchemy, no driver and no exporter, so
that it is small while nothing is to be done. What it knows of the settings the first job process
read; every later one gets the same.

APScheduler is wired so that nothing of it can skip, double or swallow a sweep: one job, never two
of it at once, missed times rolled into one run however late, and a job that never raises. The
times come from ``backend.cron``, which reads them as cron does, in UTC: a local ``30 2 * * *``
would come twice in autumn and not at all in spring.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from backend.clock import SYSTEM_CLOCK, Clock
from backend.cron import next_fire
from backend.errors import EXIT_OK
from backend.failures import failure_of
from backend.heartbeat import HeartbeatFile
from backend.logs import configure_logging, get_logger
from backend.terminal import say
from scheduler.channel import Message
from scheduler.job_process import (
    DIED,
    DONE,
    REPLACED,
    WORKER_FAILED,
    Outcome,
    reap_inherited,
    run_job,
)
from scheduler.metrics import Book, Metrics
from scheduler.notify import Notifier
from scheduler.pulse import Pulse
from scheduler.release import fingerprint
from scheduler.shutdown import EXIT_FORCED, Shutdown

log = get_logger(__name__)

# Once a day, at an odd minute: every machine that prunes at midnight prunes at the same time.
PRUNE_CRON: Final = "17 3 * * *"
# Another release lies in place of this one: ended for a start anew, as after a crash.
EXIT_REPLACED: Final = EXIT_FORCED
_LOOK_SECONDS: Final = 5.0
# How late APScheduler's own thread may be before it counts as stuck; and how far ahead.
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


@dataclass(frozen=True, slots=True)
class Told:
    """Of the settings, as the first job read them, what this process goes by."""

    sweep_cron: str
    workers: int
    drain_seconds: float
    min_free_bytes: int
    heartbeat_path: Path
    metrics_textfile: Path | None
    metrics_listen: str | None
    log_level: str
    log_format: str

    @classmethod
    def of(cls, settings: str) -> Told:
        values = json.loads(settings)
        textfile = values["metrics_textfile"]
        paths = {
            "heartbeat_path": Path(values["heartbeat_path"]),
            "metrics_textfile": None if textfile is None else Path(textfile),
        }
        return cls(**{name: values[name] for name in cls.__slots__} | paths)


class _NoStart(Exception):
    """A start that is pointless, and the exit code that says why."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class SweepService:
    """One scheduler process, from start to drain."""

    def __init__(
        self,
        shutdown: Shutdown,
        notifier: Notifier,
        *,
        workers: int | None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._clock = clock
        self._shutdown = shutdown
        self._notifier = notifier
        self._workers = workers
        self._release = fingerprint()
        self._sweeping, self._pruning = Pulse(SYSTEM_CLOCK), Pulse(SYSTEM_CLOCK)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(2)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._exit_code = EXIT_OK
        self._drain_seconds = 0.0
        # For the job processes to read, and as they left it.
        self._settings = ""
        self._memory: Message = {}

    def run(self) -> int:
        """Sweep at start and then on schedule, until asked to stop; return the exit code.

        A start that is pointless ends with its error's line and exit code; later trouble of that
        kind is waited out. Raises ``ConfigurationError`` for what this process itself cannot use:
        the heartbeat's path, and the metrics'.
        """
        try:
            told = self._start()
        except _NoStart as refused:
            return refused.exit_code
        self._heartbeat = HeartbeatFile(told.heartbeat_path)
        self._metrics = Metrics(told)
        self._heartbeat.prepare()
        self._metrics.listen(self._is_healthy, lambda: self._sweeping.running)
        self._schedule(told.sweep_cron)
        log.info("scheduler_started", workers=told.workers, pid=os.getpid())
        self._notifier.ready("waiting for the next sweep")
        while not self._shutdown.wait(self._interval()):
            self._follow_the_clock()
            reap_inherited()
            self._tell_supervisors()
        self._drain()
        return self._exit_code

    def _start(self) -> Told:
        """Have the settings read and the environment looked at."""
        outcome = self._run_job("start", Pulse(SYSTEM_CLOCK), workers=self._workers)
        said = outcome.said
        if outcome.kind == DONE:
            told = Told.of(said["settings"])
            self._settings, self._memory = said["settings"], said["memory"]
            self._drain_seconds = told.drain_seconds
            self._shutdown.allow(told.drain_seconds)
            configure_logging(told.log_level, told.log_format)
            return told
        if outcome.kind == REPLACED:
            raise _NoStart(EXIT_REPLACED)
        if outcome.kind == DIED:
            say("error: the process that looks at the start died; see the log", err=True)
            raise _NoStart(EXIT_FORCED)
        say(said["line"], err=True)
        raise _NoStart(said["exit_code"])

    def _schedule(self, sweep_cron: str) -> None:
        # "Maximum number of running instances reached" is what a long sweep is supposed to cause.
        logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)
        self._scheduler.add_job(
            self._sweep_job, CronTrigger(sweep_cron), id="sweep", next_run_time=datetime.now(UTC)
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

    def _follow_the_clock(self) -> None:
        """Plan anew what a clock that was set has put off.

        APScheduler goes to sleep until a time that it reckoned by the clock as it was then: one
        that is set back leaves that time a day away; one that is set forward, or a host that was
        suspended, has it sleep past it.
        """
        for job in self._scheduler.get_jobs():
            planned = job.next_run_time
            now = self._clock.now()  # after the plan: a run that begins meanwhile has a later one
            if planned is None:
                continue
            if planned <= now:
                self._scheduler.wakeup()
            elif (expected := job.trigger.get_next_fire_time(None, now)) < planned:
                job.modify(next_run_time=expected)
                log.warning("clock_set_back", next_sweep_at=expected)

    def _is_healthy(self) -> bool:
        if not (self._sweeping.healthy and self._pruning.healthy):
            return False
        job = self._scheduler.get_job("sweep")
        if self._sweeping.running or job is None or job.next_run_time is None:
            return True
        planned = job.next_run_time
        now = self._clock.now()
        late, ahead = now - planned, planned - job.trigger.get_next_fire_time(None, now)
        return bool(max(late, ahead).total_seconds() < _LATE_SECONDS)

    # -- the jobs: neither raises into APScheduler -------------------------------------------

    def _sweep_job(self) -> None:
        self._notifier.status("sweeping")
        self._job("sweep", self._sweeping, self._swept, memory=self._memory)
        self._notifier.status("waiting for the next sweep")

    def _swept(self, outcome: Outcome) -> None:
        if outcome.kind == DONE:
            self._memory = outcome.said["memory"]
            if outcome.said["news"] is not None:
                self._metrics.add(Book.of_list(outcome.said["news"]))
        elif outcome.kind != REPLACED:
            self._metrics.sweep_failed(outcome.said.get("code", WORKER_FAILED))

    def _prune_job(self) -> None:
        self._job("prune", self._pruning, lambda outcome: None)

    def _job(self, job: str, pulse: Pulse, ended: Callable[[Outcome], None], **order: Any) -> None:
        """Run a job, tell ``ended`` how it ended, and let its pulse rest whatever happens."""
        try:
            # Before the look at the shutdown: a drain looks at the pulse after it.
            pulse.beat(_LATE_SECONDS)
            if self._shutdown.requested:
                return
            outcome = self._run_job(job, pulse, settings=self._settings, **order)
            if outcome.kind == DIED:
                log.error(f"{job}_failed", error_code=WORKER_FAILED)
            ended(outcome)
        except BaseException as error:
            failure = failure_of(error)
            log.error(
                f"{job}_failed",
                error_code=failure.code,
                error_class=failure.error_class,
                error_at=failure.error_at,
            )
        finally:
            pulse.rest()

    def _run_job(self, job: str, pulse: Pulse, **order: Any) -> Outcome:
        """Run a job of this process's own release. Where another lies in its place, end.

        A job process loads what is on the disk. Of another release it might expect another schema,
        other settings, or other orders.
        """
        outcome = Outcome(REPLACED)
        if fingerprint() == self._release:
            outcome = run_job(
                job,
                pulse,
                self._shutdown,
                release=self._release,
                drain_seconds=self._drain_seconds,
                **order,
            )
        if outcome.kind == REPLACED and self._exit_code != EXIT_REPLACED:
            log.warning("release_replaced")
            self._exit_code = EXIT_REPLACED
            self._shutdown.request()
        if outcome.killed and self._shutdown.requested:
            self._exit_code = EXIT_FORCED
        return outcome

    # -- the end -----------------------------------------------------------------------------

    def _drain(self) -> None:
        """Wait for what runs; ``Shutdown`` sees to it that this ends."""
        log.info("scheduler_draining")
        self._notifier.stopping()
        self._scheduler.pause()
        while self._sweeping.running or self._pruning.running:
            # A drain is no reason for a probe to call the process dead.
            self._tell_supervisors()
            time.sleep(_DRAIN_LOOK_SECONDS)
        self._scheduler.shutdown(wait=False)
        self._metrics.close()
        self._heartbeat.remove()
        log.info("scheduler_stopped")
