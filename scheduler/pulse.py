"""Whether the sweep loop is alive: each step says within how long the next one is due.

Fed by the work itself, not by a timer beside it, which would go on beating over a stuck sweep.
A long export is healthy until its own deadline; the short steps between exports are not given
longer than their statements may take. What the watchdog and the health check are told.
"""

from __future__ import annotations

import threading

from backend.clock import Clock


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
