"""What each process of this program's own does first. Never called in an application's process.

Its standard streams: one that was closed leads to /dev/null, or the next file that is opened, a
database's socket, would take its number and be written to; and what cannot be written (a full disk,
a pipe whose reader left, a terminal that is gone) ends no sweep and changes no exit code.

Its memory: it holds people's data, and no core dump may. The limit alone is not enough: the kernel
ignores it where dumps go to a program.
"""

from __future__ import annotations

import errno
import io
import os
import resource
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDOUT: Final = 1
_STDERR: Final = 2
_PR_SET_DUMPABLE: Final = 4
# The reader left, on purpose or not: nobody is there to be told.
_NO_READER: Final = frozenset({errno.EPIPE, errno.EIO})


def prepare() -> None:
    """Make the standard streams safe to use, and forbid core dumps. May be called again."""
    dump_no_core()
    _open_closed()
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = _unfailing(sys.stdout, _STDOUT)
    sys.stderr = _unfailing(sys.stderr, _STDERR)


def dump_no_core() -> None:
    """Forbid core dumps of this process and of those it forks; a started one calls it anew."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0 if most else most))
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _open_closed() -> None:
    for number in (0, _STDOUT, _STDERR):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)


class _Output(io.FileIO):
    """A file descriptor that takes everything; what cannot be written is dropped from then on."""

    def write(self, octets: ReadableBuffer, /) -> int:
        view = memoryview(octets).cast("B")
        while True:
            try:
                # The type says int; a descriptor that does not block gives None when it is full.
                written: int | None = super().write(view)
            except OSError as error:
                self._give_up(error)
                return len(view)
            if written is not None:
                return written
            with suppress(OSError):
                select.select([], [self], [])

    def _give_up(self, error: OSError) -> None:
        number = self.fileno()
        with suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(null, number)
            os.close(null)
        if number == _STDOUT and error.errno not in _NO_READER:
            with suppress(OSError):
                text = f"warning: the output could not be written ({error.strerror})\n"
                os.write(_STDERR, text.encode())


def _unfailing(stream: TextIO | None, number: int) -> TextIO:
    """``stream`` on a descriptor that never fails; one of somebody's own is left as it is."""
    if stream is not None:
        if not isinstance(stream, io.TextIOWrapper) or _number_of(stream) != number:
            return stream
        if isinstance(getattr(stream.buffer, "raw", None), _Output):
            return stream
        with suppress(OSError):
            stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(number, "wb", closefd=False)),
        encoding=stream.encoding if stream else "utf-8",
        errors=stream.errors if stream else "backslashreplace",
        line_buffering=number == _STDERR or bool(stream and stream.line_buffering),
        write_through=bool(stream and stream.write_through),
    )


def _number_of(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None
