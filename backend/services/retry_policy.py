"""What becomes of a request whose attempt did not succeed. Pure: no clock, no database."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter, up to a cap and a number of attempts.

    ``random`` gives a number in [0, 1); a test hands in its own.
    """

    max_attempts: int
    base_seconds: float
    cap_seconds: float
    random: random.Random

    def delay_seconds(self, attempt: int) -> float | None:
        """How long to wait after failed attempt number ``attempt`` (from 1); None: give up.

        Never less than a second, so that a sweep (whose cutoff is its start) cannot meet the
        same request twice.
        """
        if attempt >= self.max_attempts:
            return None
        return self.backoff_seconds(attempt)

    def backoff_seconds(self, times: int) -> float:
        """The wait after the ``times``-th failure of a kind, whatever the number of attempts."""
        ceiling = min(self.cap_seconds, self.base_seconds * 2.0 ** min(times - 1, 62))
        return max(1.0, self.random.random() * ceiling)
