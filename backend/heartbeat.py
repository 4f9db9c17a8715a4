"""The heartbeat file: written by the scheduler, read by probes and by ``dsar doctor``."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Final

from backend.errors import SettingsError

# A probe that finds the heartbeat older than this calls the scheduler stuck.
STALE_SECONDS: Final = 60.0


class HeartbeatFile:
    """A local file whose age tells a probe whether the scheduler lives.

    Local, so that an outage of the database restarts no container.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def prepare(self) -> None:
        """Make the folder (0700) and the file. Raises ``SettingsError`` when that cannot be."""
        folder = self._path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.stat(folder).st_uid not in (os.getuid(), 0):
                raise SettingsError(
                    f"DSAR_HEARTBEAT_PATH: {folder} belongs to another user; name another folder"
                )
            self.touch()
        except OSError as error:
            raise SettingsError(
                f"DSAR_HEARTBEAT_PATH: {self._path} cannot be written ({error.strerror}); "
                "name a file in a folder of this user's"
            ) from None

    def touch(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        os.utime(descriptor)
        os.close(descriptor)

    def age_seconds(self) -> float | None:
        """Seconds since the last touch, by the host's clock; None when there is no such file.

        One that lies ahead was touched before the clock was set back, and not since.
        """
        try:
            found = os.stat(self._path, follow_symlinks=False)
        except OSError:
            return None
        return abs(time.time() - found.st_mtime) if stat.S_ISREG(found.st_mode) else None

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
