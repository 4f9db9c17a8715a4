"""Pushes turned into pulls: for libraries that want to read what this program wants to write.

Encryption, uploads and packing read from a source until its end; an archive is written as its rows
come. A pump runs the reading side on a thread of its own, with a bounded number of bytes between
the two. Whatever ends one side ends the other: an archive that fails makes the reader's next read
raise, and a reader that failed makes the next write raise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

# Enough that neither side waits at every block, and little beside the parts of an upload.
_CAPACITY_BYTES: Final = 4 * 1024 * 1024


class Abandoned(Exception):
    """Raised inside the reader when the writing side failed: what was read is not whole."""


class Pump:
    """The bytes between a writer and a reader on another thread. Made by ``pumped``."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._changed = threading.Condition()
        self._blocks: list[bytes] = []
        self._held = 0
        self._ended = False
        self._abandoned = False
        self._reader_gone = False

    # -- the writing side ----------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Take these bytes, once there is room for them. Raises ``Abandoned`` without a reader."""
        block = bytes(data)
        with self._changed:
            self._changed.wait_for(lambda: self._held < self._capacity or self._reader_gone)
            if self._reader_gone:
                raise Abandoned
            if not block:
                return 0  # to the reader an empty block is the end
            self._blocks.append(block)
            self._held += len(block)
            self._changed.notify_all()
        return len(block)

    def flush(self) -> None:
        """Nothing is kept here longer than the reader needs."""

    @property
    def held(self) -> int:
        """How many bytes wait for the reader."""
        return self._held

    # -- the reading side ----------------------------------------------------------------------

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes (negative: what is there); none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._blocks or self._ended or self._abandoned)
            if self._abandoned:
                raise Abandoned
            if not self._blocks:
                return b""
            block = self._blocks.pop(0)
            if 0 <= size < len(block):
                self._blocks.insert(0, block[size:])
                block = block[:size]
            self._held -= len(block)
            self._changed.notify_all()
            return block

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read():
            yield block

    # -- the ends ------------------------------------------------------------------------------

    def end(self, *, abandoned: bool) -> None:
        with self._changed:
            self._ended = True
            self._abandoned = abandoned
            self._changed.notify_all()

    def reader_gone(self) -> None:
        with self._changed:
            self._reader_gone = True
            self._changed.notify_all()


@contextmanager
def pumped(
    consume: Callable[[Pump], object], name: str, *, capacity: int = _CAPACITY_BYTES
) -> Iterator[Pump]:
    """Run ``consume`` on a thread named ``name``; what the block writes is what it reads.

    About ``capacity`` bytes may wait between the two.
    Leaves the block only when the reader has ended. Its error is raised here, in place of the
    ``Abandoned`` that it made of the block's writes; an error of the block's own wins.
    """
    pump = Pump(capacity)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            consume(pump)
        except BaseException as error:
            failures.append(error)
        finally:
            pump.reader_gone()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield pump
    except BaseException as error:
        pump.end(abandoned=True)
        thread.join()
        if isinstance(error, Abandoned) and failures:
            raise failures[0] from None
        raise
    pump.end(abandoned=False)
    thread.join()
    if failures:
        raise failures[0]
