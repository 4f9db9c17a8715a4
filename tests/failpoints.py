"""Named places at which a test kills, stops, starves or breaks a real process.

    python -m tests.failpoints POINT ACTION MODULE [ARGUMENT...]

runs ``python -m MODULE ARGUMENT...`` with one seam of the program wrapped from outside: the
program itself knows nothing of failpoints, so nothing of them is on its hot path. At the point the
process does ACTION, the first time it gets there (POINT may be several, with ``+`` in between):

kill     SIGKILL itself                     stop     SIGSTOP itself
wait     until the file $FAILPOINT_GO is    hang     for ever, without a checkpoint
enospc   raise OSError(ENOSPC)              raise    raise an exception that quotes $FAILPOINT_TEXT
interrupt  raise what Ctrl-C does

and before that it makes the file $FAILPOINT_REACHED, if one is named: where that is there already,
another process (an earlier worker, say) was at the point before. The action ``always-X`` does X
every time, ``count`` adds a byte to the file each time. A sweep's worker processes and a
scheduler's job processes have the same point.
"""

from __future__ import annotations

import errno
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine


class Point:
    """One failpoint: where it is, and what happens there."""

    def __init__(self, action: str) -> None:
        self._always = action.startswith("always-") or action == "count"
        self._action = action.removeprefix("always-")
        self._done = False
        self._reached = os.environ.get("FAILPOINT_REACHED")

    def hit(self) -> None:
        if self._done and not self._always:
            return
        self._done = True
        if self._reached:
            try:
                Path(self._reached).touch(exist_ok=self._always)
            except FileExistsError:
                return
        getattr(self, f"_{self._action}")()

    def _count(self) -> None:
        with Path(os.environ["FAILPOINT_REACHED"]).open("a") as file:
            file.write(".")

    def _kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _stop(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def _wait(self) -> None:
        while not Path(os.environ["FAILPOINT_GO"]).exists():
            time.sleep(0.01)

    def _hang(self) -> None:
        while True:
            time.sleep(1)

    def _enospc(self) -> None:
        raise OSError(errno.ENOSPC, os.environ.get("FAILPOINT_TEXT", "no space"))

    def _interrupt(self) -> None:
        raise KeyboardInterrupt

    def _raise(self) -> None:
        raise ValueError(os.environ.get("FAILPOINT_TEXT", ""))


def _before(owner: Any, name: str, point: Point) -> None:
    original = getattr(owner, name)

    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        point.hit()
        return original(*arguments, **keywords)

    setattr(owner, name, wrapped)


def _after(owner: Any, name: str, point: Point) -> None:
    original = getattr(owner, name)

    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        result = original(*arguments, **keywords)
        point.hit()
        return result

    setattr(owner, name, wrapped)


def _claim_before_commit(point: Point) -> None:
    from backend.services.claims import Claims

    _after(Claims, "_write_claim", point)


def _claimed(point: Point) -> None:
    from backend.services.claims import Claims

    _after(Claims, "_claim", point)


def _collecting(point: Point) -> None:
    from backend.services import collection

    _before(collection, "table_renderer", point)


def _packing(point: Point) -> None:
    from backend.services import archive

    _after(archive, "_write_rows", point)


def _staged_before_rename(point: Point) -> None:
    """The staged file is written and fsynced, but does not bear its version's name yet."""
    from backend.services import disk_store

    original = os.rename

    def rename(source: Any, target: Any, **keywords: Any) -> None:
        if str(source).endswith(".part"):
            point.hit()
        original(source, target, **keywords)

    disk_store.os.rename = rename  # type: ignore[attr-defined]


def _staged(point: Point) -> None:
    from backend.services.disk_store import DiskStore
    from backend.services.object_store import ObjectStore

    for store in (DiskStore, ObjectStore):
        _before(store, "check", point)


def _recording(point: Point) -> None:
    """The row is locked; the link is not renamed yet."""
    from backend.services.disk_store import DiskStore
    from backend.services.object_store import ObjectStore

    for store in (DiskStore, ObjectStore):
        _before(store, "publish", point)


def _published_before_commit(point: Point) -> None:
    """The link is renamed, the record not written."""
    from backend.services.disk_store import DiskStore
    from backend.services.object_store import ObjectStore

    for store in (DiskStore, ObjectStore):
        _after(store, "publish", point)


def _record_at_commit(point: Point) -> None:
    """Everything of the record is written; COMMIT is the next thing sent."""
    from backend.services.claims import Claims

    recording: list[bool] = []
    original = Claims._write_record

    def write(*arguments: Any, **keywords: Any) -> Any:
        answers = original(*arguments, **keywords)
        recording.append(True)
        return answers

    Claims._write_record = write  # type: ignore[method-assign]

    @event.listens_for(Engine, "commit")
    def committing(connection: Connection) -> None:
        if recording:
            recording.clear()
            point.hit()


def _recorded(point: Point) -> None:
    from backend.services.claims import Claims

    _after(Claims, "record", point)


def _pruned_before_delete(point: Point) -> None:
    """The row says that the file is gone, and it is not."""
    from backend.services.disk_store import DiskStore
    from backend.services.object_store import ObjectStore

    for store in (DiskStore, ObjectStore):
        _before(store, "delete", point)


def _deleted_before_relink(point: Point) -> None:
    from backend.services.claims import Claims

    _before(Claims, "relink", point)


def _clock(point: Point) -> None:
    """Not a place: the host's clock is off by $FAILPOINT_SECONDS."""
    from backend.clock import SystemClock

    original = SystemClock.now
    off = timedelta(seconds=float(os.environ["FAILPOINT_SECONDS"]))

    def now(self: SystemClock) -> datetime:
        return original(self) + off

    SystemClock.now = now  # type: ignore[method-assign]


def _suspended(point: Point) -> None:
    """Not a place: the process does not know how long it was stopped, as in a virtual machine.

    Its lease has run out, and it goes on: only the database's fence stops it.
    """
    from backend.clock import SystemClock

    original = SystemClock.monotonic
    lock = Lock()
    last = known = time.monotonic()

    def monotonic(self: SystemClock) -> float:
        nonlocal last, known
        with lock:
            now = original(self)
            known += min(now - last, 0.2)
            last = now
            return known

    SystemClock.monotonic = monotonic  # type: ignore[method-assign]


def _every_second(point: Point) -> None:
    """Not a place: the schedule fires each second. A point each time it is asked for the next."""
    from scheduler import service

    def next_second(_: str, after: datetime) -> datetime:
        point.hit()
        return after + timedelta(seconds=1)

    vars(service)["next_fire"] = next_second


POINTS: dict[str, Callable[[Point], None]] = {
    "claim-before-commit": _claim_before_commit,
    "claimed": _claimed,
    "collecting": _collecting,
    "packing": _packing,
    "staged-before-rename": _staged_before_rename,
    "staged": _staged,
    "recording": _recording,
    "published-before-commit": _published_before_commit,
    "record-at-commit": _record_at_commit,
    "recorded": _recorded,
    "pruned-before-delete": _pruned_before_delete,
    "deleted-before-relink": _deleted_before_relink,
    "clock": _clock,
    "suspended": _suspended,
    "every-second": _every_second,
}


def _install(names: str, action: str) -> None:
    for name in names.split("+"):
        POINTS[name](Point(action))


def work_with_point(*arguments: Any) -> None:
    """What a worker process runs instead of ``scheduler.workers._work``."""
    from scheduler import workers

    # One that was forked has the point already.
    if workers._work is not work_with_point:
        _install(os.environ["FAILPOINT_NAME"], os.environ["FAILPOINT_ACTION"])
    vars(workers).get("real_work", workers._work)(*arguments)


def _install_in_workers(name: str, action: str) -> None:
    """A spawned process imports what it runs by name, and this module is now ``__main__``."""
    from scheduler import workers

    vars(workers)["real_work"] = workers._work
    os.environ |= {"FAILPOINT_NAME": name, "FAILPOINT_ACTION": action}
    workers._work = import_module("tests.failpoints").work_with_point


def _install_in_jobs(name: str, action: str) -> None:
    """A job process is an interpreter of its own: it is started with the point around it."""
    from scheduler import job_process

    command = (sys.executable, "-m", "tests.failpoints", name, action, "scheduler.job")
    vars(job_process)["COMMAND"] = command


def main() -> None:
    name, action, module, *arguments = sys.argv[1:]
    _install(name, action)
    _install_in_workers(name, action)
    _install_in_jobs(name, action)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
