"""Reading no faster than a production database is to be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from backend.clock import Clock
from backend.services.fetching import MOST_ROWS, Checkpoint, Row

# The longest wait without a checkpoint: a drain or a lost lease is noticed as soon.
_STEP_SECONDS: Final = 0.2


class Pace:
    """At most so many rows a second over one export, all sections together.

    Waits between chunks, in steps with a checkpoint each, so that a wait is never taken for a
    hang. What was not used up (a slow disk, say) is not made up for in a burst.
    """

    def __init__(
        self, rows_per_second: int, clock: Clock, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._rate = rows_per_second
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock.monotonic()

    @property
    def most_rows(self) -> int:
        """How many rows may come at a time: those of a second."""
        return min(MOST_ROWS, self._rate)

    def spread(
        self, chunks: Iterable[Sequence[Row]], checkpoint: Checkpoint
    ) -> Iterator[Sequence[Row]]:
        """The chunks, each one after the time that those before it took up."""
        for rows in chunks:
            while (wait := self._free_at - self._clock.monotonic()) > 0:
                checkpoint()
                self._sleep(min(wait, _STEP_SECONDS))
            self._free_at = self._clock.monotonic() + len(rows) / self._rate
            yield rows
