"""A piece of work in a process of its own, as its scheduler sees it: started, watched, ended.

A fresh interpreter each time, which takes all it imported and read with it when it ends, so that a
scheduler with nothing to do holds neither. It hears of a stop over the channel, never by signal,
and ends by itself when the channel does. One that says nothing within the time that it gave itself
is killed; what it had claimed is reclaimed when its lease is over.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

from backend.logs import get_logger
from scheduler.channel import Channel, Message
from scheduler.pulse import Pulse
from scheduler.release import ROOT
from scheduler.shutdown import FORCE_SECONDS, Shutdown, signals_held

log = get_logger(__name__)

# -P and the path of this process's own packages: whatever lies in the working directory, a job is
# of this release. The channel's descriptor is added.
COMMAND: Final = (
    sys.executable,
    "-P",
    "-c",
    f"import sys; root = {str(ROOT)!r}; root in sys.path or sys.path.insert(0, root)\n"
    "from scheduler.job import main; main()",
)
# Of a worker process too: it died, and what it would have said of that died with it.
WORKER_FAILED: Final = "worker_failed"
DONE, FAILED, REPLACED, DIED = "done", "failed", "replaced", "died"

# Imports included, on a machine with much else to do.
FIRST_WORD_SECONDS: Final = 120.0
# After its last word it has only to end.
_END_SECONDS: Final = 30.0
# How long after a job should have been killed that counts as a scheduler which is stuck itself.
_GRACE_SECONDS: Final = 10.0
# A stop bounds itself within the job, and a sweep first ends its worker processes. Later than
# either, and before this process would be ended by force.
_KILL_SECONDS: Final = FORCE_SECONDS - 2.0
_LOOK_SECONDS: Final = 0.1

# The job processes that somebody here waits for, and what guards them.
_awaited: Final[set[int]] = set()
_births: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: its last word (``done``, ``failed`` or ``replaced``), or ``died`` without.

    ``killed``: by us, because it did not stop in time.
    """

    kind: str
    said: Message = field(default_factory=dict)
    killed: bool = False


def run_job(job: str, pulse: Pulse, shutdown: Shutdown, **order: Any) -> Outcome:
    """Start a job process, pass it its order and every stop, and return how it ended.

    Beats ``pulse`` with the job's own beats; whoever calls lets it rest. Raises nothing of the
    job's.
    """
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    try:
        try:
            process = _born(theirs)
        finally:
            theirs.close()
        channel.send("order", job=job, **order)
        try:
            with process:
                return _Watched(process, channel, pulse, shutdown).to_its_end()
        finally:
            _awaited.discard(process.pid)
    except OSError as error:  # no process, no memory
        log.error("job_not_started", error_class=type(error).__name__)
        return Outcome(DIED)
    finally:
        channel.close()


def _born(theirs: socket.socket) -> subprocess.Popen[bytes]:
    descriptor = theirs.fileno()
    with signals_held(), _births:
        process = subprocess.Popen(  # noqa: S603  our own interpreter, our own words
            [*COMMAND, str(descriptor)], pass_fds=[descriptor], stdin=subprocess.DEVNULL
        )
        _awaited.add(process.pid)
        return process


def reap_inherited() -> int:
    """Take note of the end of processes that nobody here started, and return how many there were.

    As PID 1 of a container this process inherits what a job left behind, such as the helper of
    multiprocessing, which outlives it; each would stay defunct, until no process can be started.
    """
    reaped = 0
    with _births:
        # Looked at first: the end of a job process is for the thread that waits for it.
        while (found := _ended_child()) is not None and found not in _awaited:
            os.waitpid(found, os.WNOHANG)
            reaped += 1
    return reaped


def _ended_child() -> int | None:
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


class _Watched:
    """One job process that runs."""

    def __init__(
        self, process: subprocess.Popen[bytes], channel: Channel, pulse: Pulse, shutdown: Shutdown
    ) -> None:
        self._process = process
        self._channel = channel
        self._pulse = pulse
        self._shutdown = shutdown
        self._due_at = 0.0
        self._stops = 0
        self._last: Message = {}
        self._killed = False

    def to_its_end(self) -> Outcome:
        self._expect(FIRST_WORD_SECONDS)
        try:
            while True:
                self._pass_on_stops()
                self._kill_if_late()
                self._hear(self._channel.receive(_LOOK_SECONDS))
        except EOFError:
            pass
        except BaseException:
            self._process.kill()
            raise
        exit_code = self._exit_code()
        if not self._last:
            log.error("job_died", pid=self._process.pid, exit_code=exit_code)
            return Outcome(DIED, killed=self._killed)
        return Outcome(self._last["kind"], self._last, killed=self._killed)

    def _exit_code(self) -> int:
        """It hung up, so it is at its end; if it is not, see to that."""
        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _expect(self, seconds: float) -> None:
        self._due_at = time.monotonic() + seconds
        self._pulse.beat(seconds + _GRACE_SECONDS)

    def _hear(self, message: Message | None) -> None:
        if message is None:
            return
        if message["kind"] == "beat":
            self._expect(message["seconds"])
        else:
            self._last = message
            self._expect(_END_SECONDS)

    def _pass_on_stops(self) -> None:
        while self._stops < min(self._shutdown.times, 2):
            self._stops += 1
            self._channel.send("stop")

    def _kill_if_late(self) -> None:
        if self._killed:
            return
        if self._shutdown.overdue_by() > _KILL_SECONDS or time.monotonic() > self._due_at:
            log.error("job_stuck", pid=self._process.pid)
            self._process.kill()
            self._killed = True
