"""Files beside a section's rows: uploads that a column names, or that a function yields.

A path that stands in a database was chosen by somebody, perhaps by the person themselves: it is
opened folder by folder below the one that was configured, and no symbolic link is followed on the
way. What is not there, or not below it, is told in the section's list of files, not passed over.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from backend.errors import StoreUnavailable
from backend.services.archive import FileStream

_CHUNK_BYTES: Final = 256 * 1024
_PART_LENGTH: Final = 100
_UNUSABLE: Final = re.compile(r"[^A-Za-z0-9._-]+")
# A symbolic link, a file where a folder should be, a name that no file has, a socket.
_REFUSED: Final = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENXIO})
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


# Why a file is not in the archive; the page has words for each (languages/*.toml, [problem]).
GONE: Final = "the file is not there (any more)"
ELSEWHERE: Final = "the path does not lead to a file of this folder"


class PathRefused(Exception):
    """A path does not lead to a regular file below its folder."""


@dataclass(slots=True)
class Listing:
    """The files of one section, as they were packed: a row each, for the recipient."""

    folder: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)

    @property
    def absent(self) -> list[tuple[str, str]]:
        """The names of the files that could not be packed, and why."""
        return [(row["name"], row["problem"]) for row in self.rows if "problem" in row]

    def place(self, name: str) -> str:
        """A path within the archive for a file of that name: harmless, and of no other's."""
        parts = [_usable(part) for part in name.split("/") if part not in ("", ".", "..")]
        path = "/".join([self.folder, *(parts or ["file"])])
        found, number = path, 1
        while found.lower() in self._taken:
            number += 1
            folder, _, last = path.rpartition("/")
            found = f"{folder}/{number}-{last}"
        self._taken.add(found.lower())
        return found


def function_files(
    listing: Listing, files: Iterable[tuple[str, Iterable[bytes]]]
) -> Iterator[FileStream]:
    """The files that a function yields, by name and content."""
    for name, chunks in files:
        place = listing.place(name)
        listing.rows.append({"name": name, "file": place})
        yield FileStream(place, chunks)


def named_files(
    listing: Listing, rows: Iterable[Sequence[Any]], folders: Mapping[str, str]
) -> Iterator[FileStream]:
    """The files that rows name: of each row, one path a column of ``folders``, in their order."""
    seen = set()
    for row in rows:
        for (column, folder), path in zip(folders.items(), row, strict=True):
            if not isinstance(path, str) or not path or (column, path) in seen:
                continue
            seen.add((column, path))
            told: dict[str, Any] = {"column": column, "name": path, "file": None}
            listing.rows.append(told)
            try:
                file = open_below(folder, path)
            except FileNotFoundError:
                told["problem"] = GONE
            except PathRefused:
                told["problem"] = ELSEWHERE
            else:
                told["file"] = listing.place(_below(folder, path))
                with closing(file):
                    yield FileStream(told["file"], _chunks(file))


def open_below(folder: str, path: str) -> BinaryIO:
    """Open a regular file below a folder, following no symbolic link.

    An absolute path must begin with the folder's own. Raises ``FileNotFoundError``,
    ``PathRefused`` for a path that leads elsewhere, ``StoreUnavailable`` where the folder itself
    cannot be opened; other ``OSError`` pass.
    """
    parts = _below(folder, path).split("/")
    if "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise PathRefused
    try:
        at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StoreUnavailable(
            f"the folder of files {folder} cannot be opened ({error.strerror}); mount it, or mend "
            "the section that names it"
        ) from error
    try:
        for part in parts[:-1]:
            following = _open(part, _FOLDER, at)
            os.close(at)
            at = following
        descriptor = _open(parts[-1], _FILE, at)
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PathRefused
    return os.fdopen(descriptor, "rb")


def _open(name: str, flags: int, at: int) -> int:
    try:
        return os.open(name, flags, dir_fd=at)
    except OSError as error:
        if error.errno in _REFUSED:
            raise PathRefused from None
        raise


def _below(folder: str, path: str) -> str:
    prefix = folder.rstrip("/") + "/"
    return path.removeprefix(prefix)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def _usable(part: str) -> str:
    name = _UNUSABLE.sub("_", part).lstrip(".") or "file"
    stem, dot, ending = name.rpartition(".")
    if len(name) <= _PART_LENGTH:
        return name
    return name[:_PART_LENGTH] if not dot else f"{stem[: _PART_LENGTH - 11]}.{ending[:10]}"
