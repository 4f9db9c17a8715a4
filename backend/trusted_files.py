"""Files that say what this program does: nobody else may have written them.

A ``.env``, a file of sections and a secret decide where people's data is read and where it goes.
One that another ordinary user owns, or may write or replace, is refused; root and the effective
user are trusted. Looked at are the file, each link on the way to it, and each folder above. What is
no regular file is refused, too.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from backend.errors import SettingsError

_ROOT: Final = 0
_LINKS: Final = 40
_ACL: Final = "system.posix_acl_access"
_KINDS: Final = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFDIR: "a folder",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def require_trusted(path: Path, what: str) -> None:
    """Raise ``SettingsError`` if another ordinary user owns, may write or may replace a file.

    ``path`` may be a folder. ``what`` is what an error calls it. A file that is not there, or not
    to be reached, is no concern of this function's.
    """
    try:
        for step, found in _way_to(path.absolute()):
            if trouble := _trouble(step, found):
                raise SettingsError(f"{what}: {trouble}")
    except OSError:
        return


def require_trusted_file(path: Path, what: str) -> None:
    """Raise ``SettingsError`` as ``require_trusted`` does, and for what is no regular file.

    Reading a FIFO or a device may wait for ever. Nothing is opened here to find out.
    """
    # First: who may write to a device is no matter.
    if kind := _irregular(path):
        raise SettingsError(
            f"{what}: {path.absolute()} is {kind}, not a regular file; put a regular file in its "
            "place, or remove it"
        )
    require_trusted(path, what)


def _irregular(path: Path) -> str | None:
    """What stands at a path in place of a regular file; None if it is one, or nothing is there."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return None
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "something else")


def _way_to(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Each folder and link on the way to a file, and the file, with what they are."""
    ahead = list(reversed(path.parts[1:]))
    at, links = "/", 0
    yield at, os.lstat(at)
    while ahead:
        part = ahead.pop()
        if part == "..":
            at = os.path.dirname(at)
            continue
        step = os.path.join(at, part)
        found = os.lstat(step)
        yield step, found
        if not stat.S_ISLNK(found.st_mode):
            at = step
            continue
        links += 1
        if links > _LINKS:
            return  # the caller that opens it reports that
        target = Path(os.readlink(step))
        if target.is_absolute():
            at = "/"
        ahead += reversed([each for each in target.parts if each != "/"])


def _trouble(path: str, found: os.stat_result) -> str | None:
    """Who else could change this, and what to do; None: nobody."""
    if found.st_uid not in (_ROOT, os.geteuid()):
        owner = _name_of_user(found.st_uid)
        me = _name_of_user(os.geteuid())
        return (
            f"{path} belongs to the user {owner}, who could change what this program does; chown "
            f"{me} {path} (a link: chown -h), or run this as {owner}"
        )
    if stat.S_ISLNK(found.st_mode):
        return None
    # In a folder with the sticky bit nobody renames or deletes what is another's.
    if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:
        return None
    if found.st_mode & stat.S_IWOTH:
        return f"{path} may be written by every user; chmod o-w {path}"
    if found.st_mode & stat.S_IWGRP and not _is_own_group(path, found.st_gid):
        return (
            f"{path} may be written by the group {_name_of_group(found.st_gid)}; chmod g-w {path}"
        )
    return None


def _is_own_group(path: str, gid: int) -> bool:
    """Whether nobody but root and the effective user is in a file's group, by its name.

    A group of one's own name is a user's private one (umask 002). With an ACL the group's bits say
    what any other user may do.
    """
    if _has_acl(path):
        return False
    if gid == _ROOT:
        return True
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return gid == os.geteuid()
    me = _name_of_user(os.geteuid())
    return group.gr_name == me and not set(group.gr_mem) - {me, "root"}


def _has_acl(path: str) -> bool:
    try:
        os.getxattr(path, _ACL)
    except OSError:
        return False
    return True


def _name_of_user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _name_of_group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
