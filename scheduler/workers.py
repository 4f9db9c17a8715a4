"""Slots of a sweep: in this process, or in others that are replaced when they die.

A worker process is crash-only. It hears of a drain from its parent, not by signal: a service
manager signals every process of the service, a terminal every one in the foreground, and a
worker that counted both would take a first request to stop for a second one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from backend import own_process
from backend.app import create_app
from backend.extensions import Runtime, current_runtime
from backend.failures import failure_of
from backend.logs import configure_logging, get_logger
from backend.services.lease import Watch
from backend.services.request_rows import Claim
from backend.settings import Settings
from scheduler.job_process import WORKER_FAILED
from scheduler.shutdown import Shutdown, leave_signals_to_the_parent, signals_held
from scheduler.sweep import Slot, Tally, Task, Trouble, run_slot

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

log = get_logger(__name__)

EXIT_HUNG: Final = 70
_LOOK_SECONDS: Final = 0.5
# Past the end of its grace a worker gets this long to reach its next chunk; then it is killed,
# and its lease runs out.
_KILL_SECONDS: Final = 10.0

Finished = Callable[[int, str | None, int], None]


def exit_hung() -> None:
    """End this process at once: a thread that hangs cannot be stopped otherwise."""
    os._exit(EXIT_HUNG)


def counting_tickets(limit: int | None) -> Callable[[], bool]:
    """Tickets for ``limit`` claims in one process; None: without end."""
    if limit is None:
        return lambda: True
    left = iter(range(limit))
    return lambda: next(left, None) is not None


def run_here(
    runtime: Runtime,
    shutdown: Shutdown,
    *,
    limit: int | None,
    progress: Callable[[str, int], None] = lambda section, rows: None,
    finished: Finished = lambda request_id, outcome, size: None,
    beat: Callable[[float], None] = lambda seconds: None,
) -> Callable[[Task], tuple[Tally, Trouble | None]]:
    """Slots for ``run_sweep`` that are one: this thread."""
    slot = Slot(
        watch=Watch(must_stop=shutdown.must_stop, progress=progress, on_hang=exit_hung),
        draining=lambda: shutdown.requested,
        take_ticket=counting_tickets(limit),
        finished=lambda claim, result: finished(
            claim.request_id, result["outcome"], result.get("bytes", 0)
        ),
        beat=beat,
    )
    return lambda task: run_slot(runtime, task, slot)


def run_in_processes(
    settings: Settings,
    shutdown: Shutdown,
    *,
    workers: int,
    limit: int | None,
    finished: Finished = lambda request_id, outcome, size: None,
    beat: Callable[[float], None] = lambda seconds: None,
    parked: Parked | None = None,
) -> Callable[[Task], tuple[Tally, Trouble | None]]:
    """Slots for ``run_sweep`` that are ``workers`` processes: those ``parked``, else new ones."""

    def run(task: Task) -> tuple[Tally, Trouble | None]:
        shared = parked or Parked([], *_shared(limit))
        return _Pool(settings, shutdown, task, shared, finished, beat).run(workers)

    return run


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    running: int | None = None
    claimed: int = 0
    done: bool = False


@dataclass(frozen=True, slots=True)
class Parked:
    """Worker processes that wait for a task, and what they share with whoever gives it."""

    workers: list[_Worker]
    tickets: Any
    stops: Any

    def release(self) -> None:
        """Let those go that got no task."""
        while self.workers:
            self.workers.pop().pipe.close()


def park(settings: Settings, workers: int, limit: int | None) -> Parked:
    """Fork the workers of a sweep that is to come, before this process has anything but modules.

    A spawned one imports all of these again, after the parent did: with two workers on two cores
    0.7 s of the 4.9 s that 300 small people took. Only a process of one thread and without a
    connection may fork; any other gets nobody parked, and spawns its workers when it needs them.
    """
    import multiprocessing

    # What every worker needs and an empty sweep does not: imported once for all of them.
    from backend.services import dsar_exporter  # noqa: F401

    tickets, stops = _shared(limit)
    parked = Parked([], tickets, stops)
    if threading.active_count() == 1:
        for _ in range(workers):
            pipe, theirs = multiprocessing.Pipe()
            # What a forked process inherits is open until it closes that, too: without the other
            # ends of these pipes it would never read the end of its own.
            ends = [pipe, *(each.pipe for each in parked.workers)]
            arguments = (ends, settings, theirs, tickets, stops, os.getpid())
            process = multiprocessing.get_context("fork").Process(target=_wait, args=arguments)
            with signals_held():
                process.start()
            theirs.close()
            parked.workers.append(_Worker(process, pipe))
    return parked


def _shared(limit: int | None) -> tuple[Any, Any]:
    """The tickets for ``limit`` claims, and how often the workers were asked to stop."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    return None if limit is None else context.Semaphore(limit), context.Value("i", 0)


class _Pool:
    """The parent's side of one sweep's worker processes."""

    def __init__(
        self,
        settings: Settings,
        shutdown: Shutdown,
        task: Task,
        shared: Parked,
        finished: Finished,
        beat: Callable[[float], None],
    ) -> None:
        self._settings = settings
        self._shutdown = shutdown
        self._task = task
        self._finished = finished
        self._beat = beat
        import multiprocessing

        self._context = multiprocessing.get_context("spawn")
        self._parked = shared.workers
        self._tickets, self._stops = shared.tickets, shared.stops
        self._live: list[_Worker] = []
        self._tally = Tally()
        self._trouble: Trouble | None = None

    def run(self, workers: int) -> tuple[Tally, Trouble | None]:
        for _ in range(workers):
            self._live.append(self._start())
        while self._live:
            self._beat(self._settings.export_timeout_seconds + 300)
            self._pass_on_shutdown()
            self._wait()
            for worker in list(self._live):
                self._read(worker)
                if not worker.process.is_alive():
                    self._read(worker)
                    self._end(worker)
        return self._tally, self._trouble

    def _wait(self) -> None:
        from multiprocessing.connection import wait

        pipes = [worker.pipe for worker in self._live]
        wait([*pipes, *(worker.process.sentinel for worker in self._live)], _LOOK_SECONDS)

    def _start(self) -> _Worker:
        if self._parked:
            worker = self._parked.pop()
            with suppress(OSError):  # it died; that is seen where others' deaths are
                worker.pipe.send(self._task)
            return worker
        parent, child = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_work,
            args=(self._settings, self._task, child, self._tickets, self._stops, os.getpid()),
            name="dsar-worker",
        )
        with signals_held():
            process.start()
        child.close()
        return _Worker(process, parent)

    def _read(self, worker: _Worker) -> None:
        try:
            while worker.pipe.poll():
                self._take(worker, worker.pipe.recv())
        except (EOFError, OSError):
            pass

    def _take(self, worker: _Worker, message: tuple[Any, ...]) -> None:
        match message:
            case ("started", request_id):
                worker.running = request_id
                worker.claimed += 1
            case ("finished", request_id, outcome, size):
                worker.running = None
                self._tally = self._tally.plus(outcome)
                self._finished(request_id, outcome, size)
            case ("done", trouble):
                worker.done = True
                self._trouble = self._trouble or trouble

    def _end(self, worker: _Worker) -> None:
        self._live.remove(worker)
        worker.process.join()
        worker.pipe.close()
        if worker.done:
            return
        # It died. What it ran is reclaimed when the lease is over; the others go on.
        log.error("worker_died", pid=worker.process.pid, exit_code=worker.process.exitcode)
        if worker.running is not None:
            self._tally = self._tally.plus(None)
        if worker.claimed == 0:
            self._trouble = self._trouble or Trouble(
                WORKER_FAILED, "a worker process died before it claimed anything; see its log"
            )
        elif not self._shutdown.requested and self._trouble is None:
            self._live.append(self._start())

    def _pass_on_shutdown(self) -> None:
        times = 2 if self._shutdown.must_stop() else min(self._shutdown.times, 1)
        self._stops.value = max(self._stops.value, times)
        if self._shutdown.overdue_by() > _KILL_SECONDS:
            for worker in self._live:
                worker.process.kill()


def _wait(
    others: list[Connection],
    settings: Settings,
    pipe: Connection,
    tickets: Any,
    stops: Any,
    parent: int,
) -> None:
    """A parked process: wait for a task, and work on it; without one, or a parent, end."""
    import multiprocessing
    from multiprocessing.connection import wait

    leave_signals_to_the_parent()
    for end in others:
        end.close()
    alive = multiprocessing.parent_process()
    assert alive is not None
    wait([pipe, alive.sentinel])
    if pipe.poll():
        try:
            task = pipe.recv()
        except EOFError:
            return
        _work(settings, task, pipe, tickets, stops, parent)


def _work(
    settings: Settings, task: Task, pipe: Connection, tickets: Any, stops: Any, parent: int
) -> None:
    """A worker process: run one slot, tell the parent what happens, end."""
    own_process.prepare()
    leave_signals_to_the_parent()
    configure_logging(settings.log_level, settings.log_format)

    def stopping(times: int) -> bool:
        # A parent that is gone cannot ask any more.
        return stops.value >= times or os.getppid() != parent

    def tell(*message: Any) -> None:
        try:
            pipe.send(message)
        except OSError:
            log.warning("parent_gone")

    def finished(claim: Claim, result: dict[str, Any]) -> None:
        tell("finished", claim.request_id, result["outcome"], result.get("bytes", 0))

    slot = Slot(
        watch=Watch(must_stop=lambda: stopping(2), on_hang=exit_hung),
        draining=lambda: stopping(1),
        take_ticket=lambda: tickets is None or tickets.acquire(block=False),
        started=lambda claim: tell("started", claim.request_id),
        finished=finished,
    )
    try:
        with create_app(settings).app_context():
            runtime = current_runtime()
            _, trouble = run_slot(runtime, task, slot)
            runtime.disconnect()
    except Exception as error:
        failure = failure_of(error)
        log.error(
            "worker_failed",
            error_code=failure.code,
            error_class=failure.error_class,
            error_at=failure.error_at,
        )
        trouble = Trouble(failure.code, failure.summary())
    tell("done", trouble)
