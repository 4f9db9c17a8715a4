"""Versions on disk, and the public link that points at one of them. The only file I/O here.

::

    {export root}/                                0700 (where this program made it)
        levqor-dsar-{reference}.zip[.age]         a hard link to the recorded version
        .versions/                                0700
            .database                             the name of the database whose exports these are
            {request id}.{claim token}.zip        one per claim, 0600, never rewritten;
                                                  .zip.age where exports are encrypted
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
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from backend.errors import DiskFull, DSARError, StoreUnavailable, VersionDamaged
from backend.package_files import require_whole
from backend.services.disk_files import Inode, create, inode_of, link, make_root, open_regular
from backend.services.export_store import (
    ADOPTED_TOKEN,
    ENCRYPTED_SUFFIX,
    StoredFile,
    Version,
    parse_version_name,
    read_back,
    version_name,
    version_names,
)

_VERSIONS: Final = ".versions"
_OWNER: Final = ".database"
_PUBLIC_PREFIX: Final = "levqor-dsar-"
_LINK_NAME: Final = re.compile(r"\.link-(\d+)\.(\d+)")
_PUBLIC_NAME: Final = re.compile(r"levqor-dsar-(.+)\.zip(?:\.age)?", re.DOTALL)
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DiskStore:
    """An export root on a disk. Making one touches nothing; folders are made when first written to.

    Raises ``StoreUnavailable`` (``DiskFull`` where room is what is missing), naming the path and
    what to do, from every method that reads or writes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def location(self) -> str:
        return str(self.root)

    @property
    def public_prefix(self) -> str | None:
        return str(self.root / _PUBLIC_PREFIX)

    # -- writing ---------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the folders, and find out that files can be made and hard-linked there.

        May be repeated. Leaves an existing root's mode as its owner chose it.
        """
        with self._folders() as (root, versions):
            probe = f".probe-{os.getpid()}"
            with suppress(FileNotFoundError):
                os.unlink(probe, dir_fd=versions)
            os.close(create(probe, versions))
            try:
                link(probe, versions, probe, root)
            except OSError as error:
                raise StoreUnavailable(
                    f"{self.root} (DSAR_EXPORT_ROOT): the file system makes no hard links "
                    f"({errno.errorcode.get(error.errno or 0, 'unknown')}); choose another one"
                ) from error
            finally:
                for folder in (root, versions):
                    with suppress(FileNotFoundError):
                        os.unlink(probe, dir_fd=folder)

    def owner(self) -> str | None:
        if not os.path.exists(self.root / _VERSIONS):
            return None
        with self._folders(make=False) as (_, versions), suppress(FileNotFoundError):
            descriptor = open_regular(_OWNER, versions)
            with os.fdopen(descriptor, "rb") as file:
                return file.read().decode("ascii", "replace").strip()
        return None

    def take(self, owner: str, *, instead: bool = False) -> str:
        temporary = f"{_OWNER}-{owner}-{os.getpid()}"
        with self._folders() as (_, versions):
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=versions)
            with os.fdopen(create(temporary, versions), "wb") as file:
                file.write(f"{owner}\n".encode())
                file.flush()
                os.fsync(file.fileno())
            if instead:
                os.rename(temporary, _OWNER, src_dir_fd=versions, dst_dir_fd=versions)
            else:
                with suppress(FileExistsError):
                    link(temporary, versions, _OWNER, versions)
                os.unlink(temporary, dir_fd=versions)
            os.fsync(versions)
        return self.owner() or ""

    @contextmanager
    def stage(self, request_id: int, token: int, *, encrypted: bool = False) -> Iterator[IO[bytes]]:
        """Open this claim's file for writing and, when the block ends well, make it a version.

        On success it is fsynced and has its final name, which ``publish`` makes durable; on any
        exception nothing of it stays. A file of the same name can only be left over from a deleted
        request whose number was given again, so it is replaced.
        """
        part = _part_name(request_id, token)
        final = version_name(request_id, token, encrypted=encrypted)
        with self._folders() as (_, versions):
            for name in (part, *version_names(request_id, token)):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=versions)
            try:
                with os.fdopen(create(part, versions), "w+b") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(part, final, src_dir_fd=versions, dst_dir_fd=versions)
            except BaseException:
                with suppress(OSError):
                    os.unlink(part, dir_fd=versions)
                raise

    def check(self, request_id: int, token: int) -> Version:
        with self._open(request_id, token) as (file, encrypted):
            return read_back(file, request_id, token, encrypted=encrypted)

    @contextmanager
    def open_version(self, request_id: int, token: int) -> Iterator[IO[bytes]]:
        with self._open(request_id, token) as (file, _):
            yield file

    @contextmanager
    def _open(self, request_id: int, token: int) -> Iterator[tuple[IO[bytes], bool]]:
        with self._folders(make=False) as (_, versions):
            found = _version_there(request_id, token, versions)
            if found is None:
                raise VersionDamaged("the version's file is missing")
            try:
                descriptor = open_regular(found[0], versions)
            except FileNotFoundError:
                raise VersionDamaged("the version's file is missing") from None
            with os.fdopen(descriptor, "rb") as file:
                yield file, _is_encrypted(found[0])

    def publish(
        self, reference_id: str, request_id: int, token: int, *, keep_adopted: bool = False
    ) -> str:
        """Point the public link at a version, in one step, and return the link's path.

        ``keep_adopted``: the file that bears the public name now is an adopted export, which no
        version stands behind; it becomes version ``ADOPTED_TOKEN`` first, so that it can be put
        back if this publication is never recorded. Call it with the row locked. May be repeated.
        """
        temporary = f".link-{request_id}.{token}"
        with self._folders() as (root, versions):
            found = _version_there(request_id, token, versions)
            if found is None:
                raise VersionDamaged("the version's file is missing")
            public = public_name(reference_id, encrypted=_is_encrypted(found[0]))
            if keep_adopted:
                adopted = version_name(request_id, ADOPTED_TOKEN, encrypted=False)
                with suppress(FileNotFoundError, FileExistsError):
                    link(public_name(reference_id), root, adopted, versions)
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=versions)
            link(found[0], versions, temporary, versions)
            os.rename(temporary, public, src_dir_fd=versions, dst_dir_fd=root)
            # Between two links to one file rename does nothing, and leaves the first.
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=versions)
            # One reference, one file: an earlier export may have been (un)encrypted.
            for other in set(_public_names(reference_id)) - {public}:
                with suppress(FileNotFoundError):
                    os.unlink(other, dir_fd=root)
            # The version's name and the link's: one behind the other, the file system's log is
            # written once for both. Where each is made and fsynced by itself it is twice, which
            # is 0.4 ms of the 3.3 that an export's files take.
            os.fsync(versions)
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
            linked = _links_there(reference_id, root)
            if recorded_token is not None:
                recorded = _version_there(request_id, recorded_token, versions)
                if recorded is not None:
                    if linked == _links_wanted(reference_id, recorded):
                        return False
                    self.publish(reference_id, request_id, recorded_token)
                    return True
            if not linked or recorded_token == ADOPTED_TOKEN:
                return False
            for public in linked:
                os.unlink(public, dir_fd=root)
            os.fsync(root)
            return True

    def delete(self, request_id: int, *tokens: int) -> None:
        """Delete the files of claims, staged or finished; what is not there is no error."""
        with self._folders() as (_, versions):
            for token in tokens:
                for name in (_part_name(request_id, token), *version_names(request_id, token)):
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=versions)

    def stored_files(self) -> Iterator[StoredFile]:
        """Every version, staged file and half-made link in the store."""
        with self._folders(make=False) as (_, versions), os.scandir(versions) as entries:
            for entry in entries:
                if found := parse_version_name(entry.name):
                    yield found
                elif match := _LINK_NAME.fullmatch(entry.name):
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
        with self._folders() as (root, _):
            for public in _public_names(reference_id):
                with suppress(FileNotFoundError):
                    os.unlink(public, dir_fd=root)

    def has_version(self, request_id: int, token: int) -> bool:
        with self._folders(make=False) as (_, versions):
            return _version_there(request_id, token, versions) is not None

    def links_to(self, reference_id: str, version: tuple[int, int]) -> bool:
        with self._folders(make=False) as (root, versions):
            recorded = _version_there(*version, versions)
            if recorded is None:
                return False
            return _links_there(reference_id, root) == _links_wanted(reference_id, recorded)

    def has_link(self, reference_id: str) -> bool:
        with self._folders(make=False) as (root, _):
            return bool(_links_there(reference_id, root))

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
        """File descriptors of the root and of its folder of versions; with ``make``, made."""
        descriptors: list[int] = []
        try:
            try:
                self._open_folders(descriptors)
            except FileNotFoundError:
                if not make:
                    raise
                self._make_folders()
                self._open_folders(descriptors)
            yield descriptors[0], descriptors[1]
        except (DSARError, FileNotFoundError) as error:
            if isinstance(error, FileNotFoundError) and len(descriptors) < 2:
                raise StoreUnavailable(
                    f"{self.root} (DSAR_EXPORT_ROOT) is not there; check that it is mounted"
                ) from error
            raise
        except OSError as error:
            require_whole()  # the block may have read a file of the program's own
            raise self._named(error) from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _open_folders(self, descriptors: list[int]) -> None:
        """Add those of the two folders that are not open yet."""
        if not descriptors:
            descriptors.append(os.open(self.root, os.O_RDONLY | os.O_DIRECTORY))
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        descriptors.append(os.open(_VERSIONS, flags, dir_fd=descriptors[0]))

    def _make_folders(self) -> None:
        make_root(self.root)
        root = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with suppress(FileExistsError):
                os.mkdir(_VERSIONS, 0o700, dir_fd=root)
                os.chmod(_VERSIONS, 0o700, dir_fd=root)
                os.fsync(root)
        finally:
            os.close(root)

    def _named(self, error: OSError) -> StoreUnavailable:
        where = f"{self.root} (DSAR_EXPORT_ROOT)"
        if error.errno in _FULL:
            return DiskFull(f"{where}: the disk is full; make room")
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return StoreUnavailable(
                f"{where} is not writable for this user; check owner, mode and mount, of the "
                f"folders above it too: namei -l {self.root}"
            )
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return StoreUnavailable(f"{where}: a part of the path is not a folder; look at it")
        name = errno.errorcode.get(error.errno or 0, "unknown error")
        return StoreUnavailable(f"{where} cannot be used ({name}); check the disk")


def public_name(reference_id: str, *, encrypted: bool = False) -> str:
    """The public link's file name for a usable reference."""
    return f"{_PUBLIC_PREFIX}{reference_id}.zip{ENCRYPTED_SUFFIX if encrypted else ''}"


def _public_names(reference_id: str) -> tuple[str, str]:
    return public_name(reference_id), public_name(reference_id, encrypted=True)


def _is_encrypted(name: str) -> bool:
    return name.endswith(ENCRYPTED_SUFFIX)


def _version_there(request_id: int, token: int, versions: int) -> tuple[str, Inode] | None:
    """The name and the identity of a claim's version; None when there is none."""
    for name in version_names(request_id, token):
        inode = inode_of(name, versions)
        if inode is not None:
            return name, inode
    return None


def _links_there(reference_id: str, root: int) -> dict[str, Inode]:
    """The public names of a reference that exist, and which files they are."""
    inodes = {name: inode_of(name, root) for name in _public_names(reference_id)}
    return {name: inode for name, inode in inodes.items() if inode is not None}


def _links_wanted(reference_id: str, recorded: tuple[str, Inode]) -> dict[str, Inode]:
    name, inode = recorded
    return {public_name(reference_id, encrypted=_is_encrypted(name)): inode}


def _part_name(request_id: int, token: int) -> str:
    return f"{request_id}.{token}.part"
