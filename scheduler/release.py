"""Which release this process is of: what its code's files look like."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
_PACKAGES: Final = ("backend", "scheduler")


def fingerprint() -> str:
    """A digest of every module's path, size and time, as they are on the disk at this moment.

    By the path that the modules were found by: where that leads through a link to the current
    release, it changes with the link. What lies beside the code (exports, caches) does not count.
    """
    digest = hashlib.sha256()
    for package in _PACKAGES:
        _add(digest, str(ROOT / package))
    return digest.hexdigest()


def _add(digest: hashlib._Hash, folder: str) -> None:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # it is being replaced
        digest.update(f"{folder} is gone".encode())
        return
    for entry in entries:
        if entry.name.endswith(".py"):
            try:
                found = entry.stat()
            except OSError:
                continue
            digest.update(f"{entry.path} {found.st_size} {found.st_mtime_ns}\n".encode())
        elif os.path.isfile(os.path.join(entry.path, "__init__.py")):
            _add(digest, entry.path)
