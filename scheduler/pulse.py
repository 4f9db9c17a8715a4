"""Whether the sweep loop is alive: each step says within how long the next one is due.

Fed by the work itself, not by a timer beside it, which would go on beating over a stuck sweep.
A long export is healthy until its own deadline; the short steps between exports are not given
longer than their statements may take. What the watchdog and the health check are told.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path
from typing import Final

from backend.clock import Clock
from backend.errors import SettingsError

# A probe that finds the heartbeat older than this calls the scheduler stuck.
STALE_SECONDS: Final = 60.0


class Pulse:
    """Written by the thread that sweeps, read by the one that feeds the watchdog."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._due_at: float | None = None

    def beat(self, seconds: float) -> None:
        """The next beat (or ``rest``) comes within ``seconds``."""
        with self._lock:
            self._due_at = self._clock.monotonic() + seconds

    def rest(self) -> None:
        """Nothing runs; no beat is due."""
        with self._lock:
            self._due_at = None

    @property
    def running(self) -> bool:
        with self._lock:
            return self._due_at is not None

    @property
    def healthy(self) -> bool:
        """Whether no beat is overdue."""
        with self._lock:
            return self._due_at is None or self._clock.monotonic() <= self._due_at


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
        """Seconds since the last touch, by the host's clock; None when there is no such file."""
        try:
            found = os.stat(self._path, follow_symlinks=False)
        except OSError:
            return None
        return max(0.0, time.time() - found.st_mtime) if stat.S_ISREG(found.st_mode) else None

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
