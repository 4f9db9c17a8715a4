"""Rows that are written later than they come: packed in memory, and rendered already.

The list of a person's files is known only once the last file is in the archive. As Python objects
300,000 rows take 300 MB, as packed JSON a thirtieth of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from isal import isal_zlib

from backend.services.rendering import Rows, dump_object, joined

_LEVEL: Final = 1
_BLOCK_BYTES: Final = 64 * 1024


class RowSpool:
    """Rows to be read back in their order, any number of times."""

    def __init__(self) -> None:
        self._packed: list[tuple[int, bytes]] = []
        self._pending: list[bytes] = []
        self._pending_size = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row, rendered as ``dump_object`` does."""
        text = dump_object(row)
        self._pending.append(text)
        self._pending_size += len(text)
        if self._pending_size >= _BLOCK_BYTES:
            rows = joined(self._pending)
            self._packed.append((rows.count, isal_zlib.compress(rows.text, _LEVEL)))
            self._pending, self._pending_size = [], 0

    def rows(self) -> Iterator[Rows]:
        """The rows, some at a time."""
        for count, packed in self._packed:
            yield Rows(count, isal_zlib.decompress(packed))
        if self._pending:
            yield joined(self._pending)


def as_array(rows: Iterable[Rows]) -> Iterator[bytes]:
    """Rows as the text of a JSON file: one array, in pieces."""
    before = b"[\n  "
    for some in rows:
        yield before
        yield some.text
        before = b",\n  "
    yield b"[]\n" if before.startswith(b"[") else b"\n]\n"
