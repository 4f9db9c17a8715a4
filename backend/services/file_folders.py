"""Opening a file that a row names: below its declared folder alone, and through no link.

A path that stands in a database was chosen by somebody, perhaps by the person themselves: it is
opened folder by folder, and no symbolic link is followed on the way. A folder may carry the key,
``/srv/uploads/{key}``: then a row can name files of its own person only.

A file that is not there is one thing, a folder that is away another: an unmounted share must not
make an export of which every file is "not there".
"""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from backend.errors import FilesUnavailable, KeyNotUsable, SectionError
from backend.services.mount_points import is_unmounted

KEY: Final = "{key}"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

# Why a file is not in the archive; the page has words for each (languages/*.toml, [problem]).
GONE: Final = "the file is not there (any more)"
ELSEWHERE: Final = "the path does not lead to a file of this folder"
LINK: Final = "the path leads through a symbolic link"
NO_FILE: Final = "what is there is not a file"
NO_NAME: Final = "no file can have this name"
NOT_READABLE: Final = "the file may not be read"
BROKEN: Final = "the file cannot be read: its disk reports an error"

# The disk's word about this file, or a file system's about a damaged one.
_DAMAGED: Final = frozenset({errno.EIO, errno.EBADMSG, errno.EUCLEAN, errno.ENODATA})


_Identity = tuple[int, int]

# Folders in which this process saw anything, and those on which nothing is to be mounted; by what
# they were then: with another file system on it a folder is another one.
_filled: Final[dict[str, set[_Identity]]] = {}
_not_mounted: Final[set[tuple[str, _Identity]]] = set()


class PathRefused(Exception):
    """A path does not lead to a regular file below its folder; ``reason`` says why."""

    def __init__(self, reason: str = ELSEWHERE) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Folder:
    """A declared folder of files, of one person.

    ``base`` must be there; ``person`` are the folders below it whose names carry the key.
    """

    base: str
    person: tuple[str, ...] = ()

    @classmethod
    def of(cls, declared: str, key: Any) -> Folder:
        """The folder of the person with that key. Raises ``KeyNotUsable``."""
        base, below = split(declared)
        if below:
            _require_name(str(key))
        return cls(base, tuple(part.replace(KEY, str(key)) for part in below))

    def open(self, path: str) -> BinaryIO:
        """Open a file below it; see ``open_below``. A path may begin with the person's folder."""
        own = "/".join(self.person)
        below = self.below(path)
        if below.startswith("/"):
            raise PathRefused
        try:
            return open_below(self.base, below, self.person)
        except FileNotFoundError:
            if not own or not below.startswith(f"{own}/"):
                raise
        return open_below(self.base, below.removeprefix(f"{own}/"), self.person)

    def below(self, path: str) -> str:
        """The path without the folder's own, where it begins with that."""
        return _below("/".join((self.base.rstrip("/"), *self.person)), path)

    def require(self) -> None:
        """Raise ``FilesUnavailable`` where the folder is away; for when a file was not found.

        It is, where it cannot be opened; and where it is empty, though it was not before, or is to
        have something mounted on it.
        """
        at = _open_base(self.base)
        try:
            found = os.fstat(at)
            identity = found.st_dev, found.st_ino  # another one once the share is unmounted
            if identity in _filled.get(self.base, ()):
                return
            with os.scandir(at) as entries:
                is_empty = next(entries, None) is None
        except OSError as error:
            raise _away(self.base, error) from error
        finally:
            os.close(at)
        if not is_empty:
            _filled.setdefault(self.base, set()).add(identity)
        elif self.base in _filled or self._is_unmounted(identity):
            raise FilesUnavailable(
                f"the folder of files {self.base} is empty, though files were in it, or are to be "
                "mounted on it; mount it. If it is rightly empty, put any file into it",
                self.base,
            )

    def _is_unmounted(self, identity: _Identity) -> bool:
        if (self.base, identity) not in _not_mounted:
            if is_unmounted(self.base):
                return True
            _not_mounted.add((self.base, identity))
        return False

    def require_exact(self) -> None:
        """Raise ``KeyNotUsable`` where the person's folder answers to another key's name as well.

        On a file system that does not tell capitals apart, "ada" and "ADA" are one folder.
        """
        at = self.base
        for part in self.person:
            others = {part.swapcase(), *(unicodedata.normalize(f, part) for f in ("NFC", "NFD"))}
            mine = _identity(os.path.join(at, part))
            for other in others - {part}:
                if mine is not None and _identity(os.path.join(at, other)) == mine:
                    raise KeyNotUsable(
                        f"the file system of {self.base} takes two writings of a name for one, so "
                        "the person's key names no folder of theirs alone; take {key} out of "
                        "files, or move the folders to a file system that tells them apart"
                    )
            at = os.path.join(at, part)


def split(declared: str) -> tuple[str, tuple[str, ...]]:
    """A declared folder as the part that is everybody's, and the names below that carry the key.

    Raises ``SectionError`` for a place of the key that is no folder's name.
    """
    if KEY not in declared:
        return declared, ()
    parts = declared.rstrip("/").split("/")
    first = next(place for place, part in enumerate(parts) if KEY in part)
    base = "/".join(parts[:first]) or ("/" if declared.startswith("/") else ".")
    below = parts[first:]
    if any(part in ("", ".", "..") for part in below):
        raise SectionError(f"{declared} cannot be a folder of files: write it without //, . and ..")
    return base, tuple(below)


def reason_of(error: OSError, folder: Folder) -> str:
    """Why a file is not in, of an error that opening or reading it raised.

    Raises ``FilesUnavailable`` for one that is not this file's: the folder is away, or this
    machine lacks something.
    """
    if isinstance(error, FileNotFoundError):
        folder.require()
        return GONE
    if isinstance(error, PermissionError):
        return NOT_READABLE
    if is_damage(error):
        folder.require()
        return BROKEN
    raise _away(folder.base, error) from error


def still_away(error: BaseException) -> FilesUnavailable | None:
    """The error again where it says that a folder of files is away, and the folder still is."""
    if isinstance(error, FilesUnavailable) and error.folder is not None:
        try:
            Folder(error.folder).require()
        except FilesUnavailable as again:
            return again
    return None


def is_damage(error: OSError) -> bool:
    """Whether a disk or file system says that one file is damaged."""
    return error.errno in _DAMAGED


def open_below(folder: str, path: str, within: Sequence[str] = ()) -> BinaryIO:
    """Open a regular file below a folder (and the folders ``within``), following no symbolic link.

    An absolute path must begin with the folder's own. Raises ``FileNotFoundError``,
    ``PathRefused`` for a path that leads to no file of the folder, ``FilesUnavailable`` where the
    folder itself cannot be opened; other ``OSError`` pass. Waits for nothing: a pipe or a device
    is not opened.
    """
    parts = _below(folder, path).split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise PathRefused
    try:
        names = [part.encode("utf-8", "surrogateescape") for part in (*within, *parts)]
    except UnicodeEncodeError:
        raise PathRefused(NO_NAME) from None
    if any(b"\0" in name for name in names):
        raise PathRefused(NO_NAME)
    at = _open_base(folder)
    try:
        for name in names[:-1]:
            following = _enter(name, at)
            os.close(at)
            at = following
        descriptor = _open_file(names[-1], at)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise PathRefused(NO_NAME) from None
        raise
    finally:
        os.close(at)
    return os.fdopen(descriptor, "rb", buffering=0)


def _open_base(folder: str) -> int:
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _away(folder, error) from error


def _enter(name: bytes, at: int) -> int:
    """Open a folder in another."""
    try:
        return os.open(name, _FOLDER, dir_fd=at)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        if stat.S_ISLNK(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
            raise PathRefused(LINK) from None
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None


def _open_file(name: bytes, at: int) -> int:
    """Open a regular file in a folder. What else is there is looked at, not opened."""
    _require_regular(os.stat(name, dir_fd=at, follow_symlinks=False))
    try:
        descriptor = os.open(name, _FILE, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise PathRefused(LINK if error.errno == errno.ELOOP else NO_FILE) from None
        raise
    try:
        _require_regular(os.fstat(descriptor))
    except PathRefused:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise PathRefused(LINK)
    if not stat.S_ISREG(found.st_mode):
        raise PathRefused(NO_FILE)


def _identity(path: str) -> _Identity | None:
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _below(folder: str, path: str) -> str:
    return path.removeprefix(folder.rstrip("/") + "/")


def _require_name(key: str) -> None:
    """Raise unless a key can be a folder's name that is no other key's, on any file system."""
    odd = any(c in "/\\" or unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in key)
    if odd or not key.strip(" .") or key != key.strip(" ") or key.endswith("."):
        raise KeyNotUsable(
            "the person's key cannot be a folder's name (it is empty, has a slash, a control "
            "character, a blank at an end or a dot at its end); take {key} out of files"
        )


def _away(folder: str, error: OSError) -> FilesUnavailable:
    return FilesUnavailable(
        f"the folder of files {folder} cannot be read ({error.strerror or type(error).__name__}); "
        "mount it, or give this user the right to read it, or fix the section that names it",
        folder,
    )
