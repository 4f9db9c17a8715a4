"""Start ``python -m MODULE`` without its second of imports: forked from a process that has them.

The suite starts the program several hundred times, and nine tenths of a short command's time are
imports (with coverage 1.2 s of 1.3 s); so one process for each of pytest's imports everything once
and forks. What it forks is a process like any other, with a session, signals, pipes, an environment
and an exit status of its own. Real starts are tested where they matter: ``test_start``,
``test_release``, the demonstration and the benchmarks.

    python -m tests.launcher DESCRIPTOR

is the process that forks: it reads orders from that socket, and ends when the other side does.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Final

_ORDER_BYTES: Final = 1 << 20
_ROOT: Final = Path(__file__).parent.parent
_NOT_IMPORTED: Final = ("__main__", ".dsar_commands", "migrations.env")
# A process is told its orders' pipes in this order.
_STDOUT, _STDERR, _STATUS = range(3)


def start(
    *arguments: str, env: Mapping[str, str], stderr: int | IO[str] = subprocess.PIPE
) -> Started:
    """Start ``python -m`` with these arguments in the checkout, in a session of its own."""
    channel = _launcher()
    stdout_read, stdout_write = os.pipe()
    status_read, status_write = os.pipe()
    given = [stdout_write, status_write]
    if stderr == subprocess.PIPE:
        stderr_read, stderr_write = os.pipe()
        given.append(stderr_write)
    else:
        stderr_read, stderr_write = -1, stderr if isinstance(stderr, int) else stderr.fileno()
    order = json.dumps({"arguments": arguments, "env": dict(env)}).encode()
    socket.send_fds(channel, [order], [stdout_write, stderr_write, status_write])
    for descriptor in given:
        os.close(descriptor)
    return Started(status_read, stdout_read, stderr_read)


class Started:
    """A started process: of ``subprocess.Popen`` what tests use, with the same meaning."""

    def __init__(self, status: int, stdout: int, stderr: int) -> None:
        self._status = os.fdopen(status, "rb", buffering=0)
        self._output = {stdout: bytearray(), stderr: bytearray()}
        self._stdout, self._stderr = stdout, stderr
        self._open = [pipe for pipe in (stdout, stderr) if pipe >= 0]
        self.returncode: int | None = None
        self.pid = int(self._status.readline())

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._status, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read both pipes to their ends and wait. After a timeout it may be called again."""
        deadline = time.monotonic() + (timeout or 1e9)
        with selectors.DefaultSelector() as selector:
            for pipe in self._open:
                selector.register(pipe, selectors.EVENT_READ)
            while self._open:
                ready = selector.select(max(0, deadline - time.monotonic()))
                if not ready:
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
                for key, _ in ready:
                    chunk = os.read(key.fd, 1 << 16)
                    self._output[key.fd] += chunk
                    if not chunk:
                        selector.unregister(key.fd)
                        self._open.remove(key.fd)
                        os.close(key.fd)
        self.wait(max(0, deadline - time.monotonic()))
        return self._output[self._stdout].decode(), self._output[self._stderr].decode()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def _launcher() -> socket.socket:
    """The channel to this process's launcher, which is started by the first use."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for side in (ours, theirs):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ORDER_BYTES)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.launcher", str(theirs.fileno())],
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        start_new_session=True,
    )
    theirs.close()
    atexit.register(process.wait, 30)
    atexit.register(ours.close)  # runs first
    return ours


# -- in the process that forks ---------------------------------------------------------------------


def main() -> None:
    """Obey orders until the other side is gone; in a forked process, become the program."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    _import_everything()
    gc.freeze()  # what is shared by all of them is not copied by a collection
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    statuses: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if ended in ready:
                os.read(ended, 1 << 12)
                _report(statuses)
            if channel not in ready:
                continue
            order, pipes, _, _ = socket.recv_fds(channel, _ORDER_BYTES, 3)
            if not order:
                return
            pid = os.fork()
            if pid == 0:
                break
            statuses[pid] = pipes[_STATUS]
            os.close(pipes[_STDOUT])
            os.close(pipes[_STDERR])
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    channel.close()
    for descriptor in (ended, wake, *statuses.values()):
        os.close(descriptor)
    told = json.loads(order)
    _become(told["arguments"], told["env"], pipes)


def _report(statuses: dict[int, int]) -> None:
    """Tell of every process that has ended what its exit status was."""
    while statuses:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        told = statuses.pop(pid)
        with contextlib.suppress(BrokenPipeError):  # a test that failed did not wait
            os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(told)


def _import_everything() -> None:
    """Import what the program may import, and what tests wrap it with."""
    for name in ("backend", "scheduler"):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            # What is run is loaded when it runs; migrations are Alembic's to load.
            if not module.name.endswith(_NOT_IMPORTED) and ".versions" not in module.name:
                importlib.import_module(module.name)
    for name in ("alembic.command", "psycopg", "pymysql"):
        importlib.import_module(name)


def _become(arguments: Sequence[str], env: Mapping[str, str], pipes: Sequence[int]) -> None:
    """Be ``python -m`` with these arguments: its session, its pipes, its environment."""
    os.setsid()
    os.dup2(pipes[_STDOUT], 1)
    os.dup2(pipes[_STDERR], 2)
    os.write(pipes[_STATUS], b"%d\n" % os.getpid())
    for descriptor in pipes:
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    module, *sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
