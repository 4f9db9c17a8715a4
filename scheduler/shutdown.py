"""Signals → a flag → drain. A handler only sets a flag; whoever works looks at it.

The first SIGTERM or SIGINT: claim nothing new, finish the current export within the grace
period, else stop it between two chunks and give it back. The second: stop at once.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from backend.clock import SYSTEM_CLOCK, Clock
from backend.logs import get_logger

log = get_logger(__name__)

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# Past the grace what runs has this long to reach its next chunk; then the process ends, and the
# lease of what it was doing runs out. A thread that hangs cannot be stopped otherwise.
FORCE_SECONDS: Final = 15.0
EXIT_FORCED: Final = 70
_LOOK_SECONDS: Final = 0.5


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold back the signals around a child's birth: it inherits that.

    A service manager signals every process of the service, a terminal every one in the foreground.
    One that comes before a child could say that it leaves them to its parent would end the child.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_the_parent() -> None:
    """In a child that hears of a stop from its parent: ignore the signals, held back ones too."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


class Shutdown:
    """Whether, and how urgently, this process was asked to stop."""

    def __init__(self, drain_seconds: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._drain_seconds = drain_seconds
        self._clock = clock
        self._requested_at: float | None = None
        self._must_stop_since: float | None = None
        self._times = 0
        self._asked = threading.Event()

    def install(self) -> None:
        """Make the signals set the flag, and bound the end. For the main thread alone."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        self.bound()

    def bound(self) -> None:
        """End this process by force when it outlasts its grace by ``FORCE_SECONDS``."""
        threading.Thread(target=self._force, name="dsar-shutdown", daemon=True).start()

    def _force(self) -> None:
        self._asked.wait()
        while self.overdue_by() < FORCE_SECONDS:
            time.sleep(_LOOK_SECONDS)
        log.error("drain_forced")
        os._exit(EXIT_FORCED)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.request()

    def allow(self, drain_seconds: float) -> None:
        """Give what runs so long from the first request on."""
        self._drain_seconds = drain_seconds

    def request(self) -> None:
        """Ask for a drain; called again, for a stop at once."""
        self._times += 1
        if self._requested_at is None:
            self._requested_at = self._clock.monotonic()
        self._asked.set()

    @property
    def requested(self) -> bool:
        """Claim nothing new."""
        return self._requested_at is not None

    @property
    def times(self) -> int:
        """How often it was asked for."""
        return self._times

    def must_stop(self) -> bool:
        """Stop what is running: the grace is over, or a second signal came."""
        if self._requested_at is None:
            return False
        waited = self._clock.monotonic() - self._requested_at
        return self._times > 1 or waited > self._drain_seconds

    def overdue_by(self) -> float:
        """For how many seconds ``must_stop`` has been true; 0 while it is not."""
        if self._must_stop_since is None:
            if not self.must_stop():
                return 0.0
            self._must_stop_since = self._clock.monotonic()
        return self._clock.monotonic() - self._must_stop_since

    def wait(self, seconds: float) -> bool:
        """Wait until a drain is asked for, at most so long; return whether it was."""
        return self._asked.wait(seconds)
