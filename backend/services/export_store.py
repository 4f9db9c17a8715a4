"""Versions on disk, and the public link that points at one of them. The only file I/O here.

::

    {export root}/                                0700 (where this program made it)
        levqor-dsar-{reference}.zip               a hard link to the recorded version
        .versions/                                0700
            {request id}.{claim token}.zip        one per claim, 0600, never rewritten
            {request id}.{claim token}.part       the same while it is being written
            .link-{request id}.{claim token}      a link on its way to its public name

The truth is a version and the request's record; the link is derived and can be made again from
them at any time. A version's name carries the claim token, so two workers never write the same
file, and a leftover is known by its token, not by its age.

Every name is opened relative to a folder that is itself opened without following symbolic links:
a link planted inside the root leads nowhere.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from backend.errors import DiskFull, DSARError, StoreUnavailable, VersionDamaged

# The claim token that an adopted export's file goes by; claims count from 1.
ADOPTED_TOKEN: Final = 0

_VERSIONS: Final = ".versions"
_VERSION_NAME: Final = re.compile(r"(\d+)\.(\d+)\.(zip|part)")
_LINK_NAME: Final = re.compile(r"\.link-(\d+)\.(\d+)")
_PUBLIC_NAME: Final = re.compile(r"levqor-dsar-(.+)\.zip", re.DOTALL)
_READ_BYTES: Final = 1024 * 1024
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Version:
    """A durable, checked file: whose claim's it is, its size in bytes and its SHA-256 (hex)."""

    request_id: int
    token: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A version's file, finished or not, as found in the store."""

    request_id: int
    token: int
    name: str


class ExportStore:
    """The export root. Making one touches nothing; folders are made when first written to.

    Raises ``StoreUnavailable`` (``DiskFull`` where room is what is missing), naming the path and
    what to do, from every method that reads or writes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    # -- writing ---------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the folders, and find out that files can be made and hard-linked there.

        May be repeated. Leaves an existing root's mode as its owner chose it.
        """
        with self._folders() as (root, versions):
            probe = f".probe-{os.getpid()}"
            with suppress(FileNotFoundError):
                os.unlink(probe, dir_fd=versions)
            os.close(_create(probe, versions))
            try:
                _link(probe, versions, probe, root)
            except OSError as error:
                raise StoreUnavailable(
                    f"{self.root} (DSAR_EXPORT_ROOT): the file system makes no hard links "
                    f"({errno.errorcode.get(error.errno or 0, 'unknown')}); choose another one"
                ) from error
            finally:
                for folder in (root, versions):
                    with suppress(FileNotFoundError):
                        os.unlink(probe, dir_fd=folder)

    @contextmanager
    def stage(self, request_id: int, token: int) -> Iterator[IO[bytes]]:
        """Open this claim's file for writing and, when the block ends well, make it a version.

        Yields a seekable binary file. On success it is fsynced and has its final name, and the
        folder is fsynced; on any exception nothing of it stays. A file of the same name can only
        be left over from a deleted request whose number was given again, so it is replaced.
        """
        part, final = _part_name(request_id, token), _version_name(request_id, token)
        with self._folders() as (_, versions):
            for name in (part, final):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=versions)
            try:
                with os.fdopen(_create(part, versions), "w+b") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(part, final, src_dir_fd=versions, dst_dir_fd=versions)
                os.fsync(versions)
            except BaseException:
                with suppress(OSError):
                    os.unlink(part, dir_fd=versions)
                raise

    def check(self, request_id: int, token: int) -> Version:
        """Read a version back: its size and digest, and that it opens as a ZIP with members.

        Raises ``VersionDamaged`` when it is missing or does not open.
        """
        try:
            with self._folders(make=False) as (_, versions):
                descriptor = _open_regular(_version_name(request_id, token), versions)
                with os.fdopen(descriptor, "rb") as file:
                    digest = hashlib.sha256()
                    size = 0
                    while block := file.read(_READ_BYTES):
                        digest.update(block)
                        size += len(block)
                    file.seek(0)
                    with zipfile.ZipFile(file) as archive:
                        if not archive.infolist():
                            raise VersionDamaged("the version holds no members")
        except FileNotFoundError:
            raise VersionDamaged("the version's file is missing") from None
        except zipfile.BadZipFile:
            raise VersionDamaged("the version does not open as a ZIP") from None
        return Version(request_id, token, size, digest.hexdigest())

    def publish(
        self, reference_id: str, request_id: int, token: int, *, keep_adopted: bool = False
    ) -> str:
        """Point the public link at a version, in one step, and return the link's path.

        ``keep_adopted``: the file that bears the public name now is an adopted export, which no
        version stands behind; it becomes version ``ADOPTED_TOKEN`` first, so that it can be put
        back if this publication is never recorded. Call it with the row locked. May be repeated.
        """
        public = public_name(reference_id)
        temporary = f".link-{request_id}.{token}"
        with self._folders() as (root, versions):
            if keep_adopted:
                with suppress(FileNotFoundError, FileExistsError):
                    _link(public, root, _version_name(request_id, ADOPTED_TOKEN), versions)
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=versions)
            _link(_version_name(request_id, token), versions, temporary, versions)
            os.rename(temporary, public, src_dir_fd=versions, dst_dir_fd=root)
            # Between two links to one file rename does nothing, and leaves the first.
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=versions)
            os.fsync(root)
        return str(self.root / public)

    # -- repairing and deleting --------------------------------------------------------------

    def repair_link(self, reference_id: str, request_id: int, recorded_token: int | None) -> bool:
        """Make the link what the record says: that version, or (None) no link at all.

        Call it with the request's row locked. Returns whether anything had to be changed. A
        recorded version that is missing leaves no link: better no file than a wrong one. An
        adopted export (``ADOPTED_TOKEN``) that was never made a version is left as it is.
        """
        with self._folders() as (root, versions):
            public = public_name(reference_id)
            linked = _inode(public, root)
            if recorded_token is not None:
                recorded = _inode(_version_name(request_id, recorded_token), versions)
                if recorded is not None:
                    if linked != recorded:
                        self.publish(reference_id, request_id, recorded_token)
                    return linked != recorded
            if linked is None or recorded_token == ADOPTED_TOKEN:
                return False
            os.unlink(public, dir_fd=root)
            os.fsync(root)
            return True

    def delete(self, request_id: int, *tokens: int) -> None:
        """Delete the files of claims, staged or finished; what is not there is no error."""
        with self._folders() as (_, versions):
            for token in tokens:
                for name in (_part_name(request_id, token), _version_name(request_id, token)):
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=versions)

    def stored_files(self) -> Iterator[StoredFile]:
        """Every version, staged file and half-made link in the store."""
        with self._folders(make=False) as (_, versions), os.scandir(versions) as entries:
            for entry in entries:
                match = _VERSION_NAME.fullmatch(entry.name) or _LINK_NAME.fullmatch(entry.name)
                if match:
                    yield StoredFile(int(match[1]), int(match[2]), entry.name)

    def delete_file(self, found: StoredFile) -> None:
        """Delete one file that ``stored_files`` named."""
        with self._folders() as (_, versions), suppress(FileNotFoundError):
            os.unlink(found.name, dir_fd=versions)

    def public_references(self) -> Iterator[str]:
        """The references that have a public link."""
        with self._folders(make=False) as (root, _), os.scandir(root) as entries:
            for entry in entries:
                if match := _PUBLIC_NAME.fullmatch(entry.name):
                    yield match[1]

    def unlink_public(self, reference_id: str) -> None:
        """Delete a public link. Deleting what is not there is no error."""
        with self._folders() as (root, _), suppress(FileNotFoundError):
            os.unlink(public_name(reference_id), dir_fd=root)

    def has_version(self, request_id: int, token: int) -> bool:
        """Whether a version's file is there, whatever is in it."""
        with self._folders(make=False) as (_, versions):
            return _inode(_version_name(request_id, token), versions) is not None

    def links_to(self, reference_id: str, version: tuple[int, int]) -> bool:
        """Whether the public link of a reference is that (request id, token)'s version."""
        with self._folders(make=False) as (root, versions):
            recorded = _inode(_version_name(*version), versions)
            return recorded is not None and _inode(public_name(reference_id), root) == recorded

    # -- looking -----------------------------------------------------------------------------

    def free_bytes(self) -> int:
        """Room on the root's file system, for a program without privileges."""
        with self._folders() as (root, _):
            room = os.fstatvfs(root)
            return room.f_bavail * room.f_frsize

    def require_room(self, minimum: int) -> None:
        """Raise ``DiskFull`` when fewer than ``minimum`` bytes are free."""
        free = self.free_bytes()
        if free < minimum:
            raise DiskFull(
                f"{self.root} has {free} bytes free; DSAR_MIN_FREE_BYTES asks for {minimum}: "
                "make room, or lower the setting"
            )

    @contextmanager
    def _folders(self, *, make: bool = True) -> Iterator[tuple[int, int]]:
        """File descriptors of the root and of its folder of versions."""
        descriptors: list[int] = []
        try:
            if make:
                _make_root(self.root)
            descriptors.append(os.open(self.root, os.O_RDONLY | os.O_DIRECTORY))
            if make:
                with suppress(FileExistsError):
                    os.mkdir(_VERSIONS, 0o700, dir_fd=descriptors[0])
                    os.chmod(_VERSIONS, 0o700, dir_fd=descriptors[0])
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            descriptors.append(os.open(_VERSIONS, flags, dir_fd=descriptors[0]))
            yield descriptors[0], descriptors[1]
        except (DSARError, FileNotFoundError) as error:
            if isinstance(error, FileNotFoundError) and len(descriptors) < 2:
                raise StoreUnavailable(
                    f"{self.root} (DSAR_EXPORT_ROOT) is not there; check that it is mounted"
                ) from error
            raise
        except OSError as error:
            raise self._named(error) from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _named(self, error: OSError) -> StoreUnavailable:
        where = f"{self.root} (DSAR_EXPORT_ROOT)"
        if error.errno in _FULL:
            return DiskFull(f"{where}: the disk is full; make room")
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return StoreUnavailable(f"{where} is not writable; check its owner, mode and mount")
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return StoreUnavailable(f"{where}: a part of the path is not a folder; look at it")
        name = errno.errorcode.get(error.errno or 0, "unknown error")
        return StoreUnavailable(f"{where} cannot be used ({name}); check the disk")


def public_name(reference_id: str) -> str:
    """The public link's file name for a usable reference."""
    return f"levqor-dsar-{reference_id}.zip"


def _version_name(request_id: int, token: int) -> str:
    return f"{request_id}.{token}.zip"


def _part_name(request_id: int, token: int) -> str:
    return f"{request_id}.{token}.part"


def _make_root(root: Path) -> None:
    """Make the root and what is missing above it, each 0700 whatever the umask."""
    missing = []
    folder = root
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            folder.chmod(0o700)


def _create(name: str, folder: int) -> int:
    """A new file, 0600 whatever the umask. Never follows or reuses what is there."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    os.fchmod(descriptor, 0o600)
    return descriptor


def _open_regular(name: str, folder: int) -> int:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise VersionDamaged("the version is not a regular file")
    return descriptor


def _link(source: str, source_folder: int, target: str, target_folder: int) -> None:
    os.link(
        source,
        target,
        src_dir_fd=source_folder,
        dst_dir_fd=target_folder,
        follow_symlinks=False,
    )


def _inode(name: str, folder: int) -> tuple[int, int] | None:
    """Which file a name is, links not followed; None when there is none."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
