"""Files by name within an open folder: private from the first, and no symbolic link followed."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from backend.errors import VersionDamaged

Inode = tuple[int, int]


def make_root(root: Path) -> None:
    """Make the root and what is missing above it, each 0700 whatever the umask, and flush its name.

    Without that a power cut could take the folder away with every export that is in it.
    """
    missing = []
    folder = root
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            folder.chmod(0o700)
            flush_folder(folder.parent)


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(name: str, folder: int) -> int:
    """A new file, 0600 whatever the umask. Never follows or reuses what is there."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    os.fchmod(descriptor, 0o600)
    return descriptor


def open_regular(name: str, folder: int) -> int:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise VersionDamaged("the version is not a regular file")
    return descriptor


def link(source: str, source_folder: int, target: str, target_folder: int) -> None:
    os.link(
        source,
        target,
        src_dir_fd=source_folder,
        dst_dir_fd=target_folder,
        follow_symlinks=False,
    )


def inode_of(name: str, folder: int) -> Inode | None:
    """Which file a name is, links not followed; None when there is none."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
