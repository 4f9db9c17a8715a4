"""The export root: there, writable, private, with hard links and room; or an object store."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from backend.errors import DiskFull
from backend.extensions import Runtime
from backend.services.control import Controller
from backend.services.doctor.checks import Check, bad, ok, warn
from backend.services.export_store import ExportStore, open_store
from backend.services.ownership import require_not_anothers

# Files whose modes are looked at: a sample, because there may be a million.
_SAMPLE: Final = 1000


def root(runtime: Runtime) -> Iterator[Check]:
    """Whether exports can be written. Raises ``StoreUnavailable``, which says what to do."""
    path = runtime.settings.export_root
    store = open_store(runtime.settings)
    if not isinstance(path, Path):
        store.prepare()
        yield ok("export root", f"{store.location} can be reached")
        return
    try:
        there = path.exists()
    except PermissionError:
        there = True  # which it is not this user's to know; the next line says what to do
    if not there:
        yield from _not_there(path)
        return
    store.prepare()
    yield ok("export root", f"{path} takes files and hard links")
    yield from _room(runtime.settings.min_free_bytes, store)
    yield from _modes(path)


def owner(runtime: Runtime) -> Iterator[Check]:
    """Whether the root is this database's to use. Raises ``RootNotOurs``, which says what to do."""
    require_not_anothers(Controller(runtime.control, runtime.clock), open_store(runtime.settings))
    yield ok("owner", "the export root is no other database's")


def _not_there(path: Path) -> Iterator[Check]:
    above = next(folder for folder in path.parents if folder.exists())
    if os.access(above, os.W_OK | os.X_OK):
        yield warn(
            "export root",
            f"{path} is not there; the first sweep makes it",
            "nothing, if this is the first start; else mount it before anything is swept",
        )
    else:
        yield bad(
            "export root",
            f"{path} is not there, and {above} is not this user's to write",
            f"make it for this user: install -d -m 0700 -o {_me()} {path}",
        )


def _room(minimum: int, store: ExportStore) -> Iterator[Check]:
    free = store.free_bytes() or 0
    found = f"{free:,} bytes free, DSAR_MIN_FREE_BYTES is {minimum:,}"
    try:
        store.require_room(minimum)
    except DiskFull:
        yield bad("disk space", found, "make room, or: dsar prune")
        return
    if free < 2 * minimum:
        yield warn("disk space", found, "make room soon, or: dsar prune")
    else:
        yield ok("disk space", found)


def _modes(path: Path) -> Iterator[Check]:
    loose = [f"{each} ({mode:04o})" for each, mode in _looked_at(path) if mode & 0o077]
    if loose:
        more = f" and {len(loose) - 3} more" if len(loose) > 3 else ""
        yield warn(
            "permissions",
            f"open to others: {', '.join(loose[:3])}{more}",
            f"chmod -R go= {path}",
        )
    else:
        yield ok("permissions", "folders and files are this user's alone")


def _looked_at(path: Path) -> Iterator[tuple[str, int]]:
    """The folders, and a sample of versions: named by path or number, never by a reference."""
    versions = path / ".versions"
    for folder in (path, versions):
        if folder.is_dir():
            yield str(folder), stat.S_IMODE(folder.stat().st_mode)
    with os.scandir(versions) as entries:
        for entry in islice(entries, _SAMPLE):
            if entry.is_file(follow_symlinks=False):
                mode = entry.stat(follow_symlinks=False).st_mode
                yield f".versions/{entry.name}", stat.S_IMODE(mode)


def _me() -> str:
    return str(os.geteuid())
