"""Files beside a section's rows: uploads that a column names, or that a function yields.

Each goes into the archive as it is, or is listed with the reason why it is not: none is passed
over, and one that cannot be read costs nobody the others. Memory does not hold the list: see
``row_spool`` and ``digest_set``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, BinaryIO, Final

from backend.errors import SectionFailed
from backend.services.archive import FileStream
from backend.services.digest_set import DigestSet
from backend.services.file_folders import (
    BROKEN,
    ELSEWHERE,
    GONE,
    NO_FILE,
    NOT_READABLE,
    Folder,
    PathRefused,
    is_damage,
    open_below,
    reason_of,
)
from backend.services.file_values import Named, named_by
from backend.services.member_names import Places
from backend.services.rendering import Rows
from backend.services.row_spool import RowSpool

__all__ = [
    "CHANGED", "CUT", "ELSEWHERE", "GONE", "Listing", "PathRefused", "function_files",
    "named_files", "open_below",
]  # fmt: skip

Checkpoint = Callable[[], None]

# Of what is in the archive, though not as it should be.
CUT: Final = "the file could not be read to its end; what was read is in"
CHANGED: Final = "the file changed while it was read"

_CHUNK_BYTES: Final = 256 * 1024
# So much is read before a file is packed: what fails within it is left out, rather than cut off.
_AHEAD_BYTES: Final = 4 * 1024 * 1024
# So many of those that are left out are kept for the page.
_SHOWN: Final = 100


def _go_on() -> None:
    """A checkpoint that stops nothing."""


class Listing:
    """The files of one section, as they were packed: a row each, for the recipient.

    ``name``: the section's, or that of the folder within the archive.
    ``absent``: the first of those that are not in, by name and reason.
    """

    def __init__(self, folder: str) -> None:
        self.name = folder
        self._places = Places(folder)
        self._rows = RowSpool()
        self.included = 0
        self.left_out = 0
        self.absent: list[tuple[str, str]] = []

    def place(self, name: str) -> str:
        """A path within the archive for a file of that name: harmless, and no other file's."""
        return self._places.place(name)

    def add(self, row: Mapping[str, Any], problem: str | None = None) -> None:
        """Add a file's row: its name, its place in the archive or None, and what is wrong."""
        if row["file"] is None or problem == CUT:
            self.left_out += 1
            if self.left_out <= _SHOWN:
                self.absent.append((row["name"], problem or ""))
        else:
            self.included += 1
        self._rows.add(row if problem is None else {**row, "problem": problem})

    @property
    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows."""
        return (row for some in self.rendered() for row in some.values())

    def rendered(self) -> Iterator[Rows]:
        """All rows, rendered."""
        return self._rows.rows()

    @property
    def absent_more(self) -> int:
        """How many are left out beside those that ``absent`` names."""
        return self.left_out - len(self.absent)


class _Changed(OSError):
    """A file is not what it was when it was opened."""


class _Content:
    """A file's content in pieces, of which the first are read ahead.

    ``reason`` says of an error why the file is left out, or raises what ends the export.
    """

    def __init__(self, pieces: Iterable[bytes], reason: Callable[[OSError], str]) -> None:
        self._pieces = iter(pieces)
        self._reason = reason
        self._ahead: list[bytes] = []
        self.problem: str | None = None

    def read_ahead(self) -> str | None:
        """Read the beginning; returns the reason where it cannot be read."""
        size = 0
        try:
            for piece in self._pieces:
                self._ahead.append(piece)
                size += len(piece)
                if size >= _AHEAD_BYTES:
                    break
        except _Changed:
            self.problem = CHANGED
        except OSError as error:
            return self._reason(error)
        return None

    def __iter__(self) -> Iterator[bytes]:
        ahead, self._ahead = self._ahead, []
        yield from ahead
        del ahead
        try:
            yield from self._pieces
        except _Changed:
            self.problem = CHANGED
        except OSError as error:
            self._reason(error)
            self.problem = CUT


def _packed(
    listing: Listing, row: dict[str, Any], name: str, content: _Content
) -> Iterator[FileStream]:
    """Have a file packed, and list it."""
    if (reason := content.read_ahead()) is not None:
        listing.add({**row, "file": None}, reason)
        return
    place = listing.place(name)
    facts: dict[str, Any] = {}
    yield FileStream(place, content, told=facts.update)
    listing.add({**row, "file": place, **facts}, content.problem)


def function_files(
    listing: Listing,
    files: Iterable[tuple[str, Iterable[bytes]]],
    checkpoint: Checkpoint = _go_on,
) -> Iterator[FileStream]:
    """The files that a function yields, by name and content.

    Raises ``SectionFailed`` for an error of the function's that is of no single file.
    """
    found = iter(files)
    while True:
        checkpoint()
        try:
            name, pieces = next(found)
        except StopIteration:
            return
        except OSError as error:
            raise SectionFailed(listing.name, error) from error
        content = _Content(pieces, partial(_reason_of_function, listing.name))
        yield from _packed(listing, {"name": name}, name, content)


def _reason_of_function(section: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return GONE
    if isinstance(error, PermissionError):
        return NOT_READABLE
    if isinstance(error, (IsADirectoryError, NotADirectoryError)):
        return NO_FILE
    if is_damage(error):
        return BROKEN
    raise SectionFailed(section, error) from error


def named_files(
    listing: Listing,
    rows: Iterable[Sequence[Any]],
    folders: Mapping[str, str],
    *,
    key: Any = None,
    json_columns: frozenset[str] = frozenset(),
    checkpoint: Checkpoint = _go_on,
) -> Iterator[FileStream]:
    """The files that rows name: of each row, one value a column of ``folders``, in their order.

    ``key`` is the person's, for folders that carry it; ``json_columns`` are declared to hold JSON.
    Raises ``FilesUnavailable`` where a folder is away, ``KeyNotUsable``, and what ``checkpoint``
    raises, which is called before each file and within.
    """
    naming = _Naming(listing, folders, key, checkpoint)
    for row in rows:
        for column, value in zip(folders, row, strict=True):
            for named in named_by(value, is_json=column in json_columns):
                yield from naming.files(column, named)


class _Naming:
    """The files that one section's rows name, each once."""

    def __init__(
        self, listing: Listing, folders: Mapping[str, str], key: Any, checkpoint: Checkpoint
    ) -> None:
        self._listing = listing
        self._declared = folders
        self._key = key
        self._checkpoint = checkpoint
        self._folders: dict[str, Folder] = {}
        self._seen = DigestSet()

    def files(self, column: str, named: Named) -> Iterator[FileStream]:
        """The file of that name, unless it was met before."""
        self._checkpoint()
        if not self._seen.add(f"{column}\0{named.name}"):
            return
        row = {"column": column, "name": named.name}
        file = named.problem or self._open(column, named.name)
        if isinstance(file, str):
            self._listing.add({**row, "file": None}, file)
            return
        folder = self._folders[column]
        content = _Content(_pieces(file, self._checkpoint), lambda e: reason_of(e, folder))
        with closing(file):
            yield from _packed(self._listing, row, folder.below(named.name), content)

    def _open(self, column: str, path: str) -> BinaryIO | str:
        """The opened file, or the reason why it is not."""
        folder = self._folders.get(column)
        if folder is None:
            folder = self._folders[column] = Folder.of(self._declared[column], self._key)
            folder.require_exact()
        try:
            return folder.open(path)
        except PathRefused as refused:
            return refused.reason
        except OSError as error:
            return reason_of(error, folder)


def _pieces(file: BinaryIO, checkpoint: Checkpoint) -> Iterator[bytes]:
    """A file's content, as long as it was when it was opened. Raises ``_Changed`` at its end."""
    before = os.fstat(file.fileno())
    left = before.st_size
    while left:
        checkpoint()
        piece = file.read(min(left, _CHUNK_BYTES))
        if not piece:
            break
        left -= len(piece)
        yield piece
    after = os.fstat(file.fileno())
    if left or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise _Changed
