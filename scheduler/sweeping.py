"""A sweep by this process and, with ``DSAR_WORKERS``, its worker processes; and a prune.

``sweep --once`` is one; the long-running scheduler has a job process make each of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from backend.app import create_app
from backend.extensions import Runtime, current_runtime
from backend.services.lease import Watch
from backend.settings import Settings
from scheduler.shutdown import Shutdown
from scheduler.sweep import RunSlots, Slot, SweepResult, Tally, Task, Trouble, run_sweep
from scheduler.workers import Finished, Parked, run_here, run_in_processes

Beat = Callable[[float], None]


@contextmanager
def runtime_of(settings: Settings) -> Iterator[Runtime]:
    """The runtime of an application of these settings, in its context; disconnected at the end.

    Raises ``ConfigurationError`` where the database's driver is not installed.
    """
    with create_app(settings).app_context():
        runtime = current_runtime()
        try:
            yield runtime
        finally:
            runtime.disconnect()


def sweep(
    runtime: Runtime,
    shutdown: Shutdown,
    *,
    limit: int | None,
    prune: bool,
    parked: Parked | None = None,
    look_first: bool = False,
    progress: Callable[[str, int], None] = lambda section, rows: None,
    finished: Finished = lambda request_id, outcome, size: None,
    beat: Beat = lambda seconds: None,
) -> SweepResult:
    """Make one sweep, until ``shutdown`` asks for its end; see ``run_sweep``, whose errors pass.

    ``look_first``: compare sections and schema before the first claim, as DSAR_COVERAGE says.
    """
    settings = runtime.settings
    if settings.workers > 1:
        run_slots = run_in_processes(
            settings,
            shutdown,
            workers=settings.workers,
            limit=limit,
            finished=finished,
            beat=beat,
            parked=parked,
        )
    else:
        run_slots = run_here(
            runtime, shutdown, limit=limit, progress=progress, finished=finished, beat=beat
        )
    if look_first:
        run_slots = _looking_first(runtime, run_slots)
    slot = Slot(
        watch=Watch(must_stop=shutdown.must_stop),
        draining=lambda: shutdown.requested,
        beat=beat,
    )
    return run_sweep(runtime, run_slots=run_slots, prune=prune, slot=slot)


def _looking_first(runtime: Runtime, run_slots: RunSlots) -> RunSlots:
    """Slots that look at coverage before the first claim, as `run` does at its start.

    A sweep asks for slots only where something is due, so one over an empty queue, as a timer
    makes every few minutes, reads no schema.
    """

    def run(task: Task) -> tuple[Tally, Trouble | None]:
        from backend.services.coverage_gate import look_before_exporting

        look_before_exporting(runtime)
        return run_slots(task)

    return run
