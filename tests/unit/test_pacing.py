"""Reading is paced in small steps, and stops at once when it must."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from backend.services.fetching import MOST_ROWS, Row
from backend.services.pacing import Pace


class SlowClock:
    """A clock that only sleeping, and whoever holds it, moves on."""

    def __init__(self) -> None:
        self.time = 100.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


def chunks(*counts: int) -> Sequence[list[Row]]:
    return [[(number,) for number in range(count)] for count in counts]


def test_pace_spreads_rows_over_time_with_a_checkpoint_a_step() -> None:
    clock = SlowClock()
    pace = Pace(100, clock, clock.sleep)
    checkpoints: list[float] = []
    came = [
        (len(rows), round(clock.time - 100, 6))
        for rows in pace.spread(chunks(100, 50, 10), lambda: checkpoints.append(clock.time))
    ]
    assert came == [(100, 0.0), (50, 1.0), (10, 1.5)]
    assert max(clock.slept) <= 0.2
    assert len(checkpoints) == len(clock.slept)


def test_pace_holds_over_the_sections_of_one_export() -> None:
    clock = SlowClock()
    pace = Pace(10, clock, clock.sleep)
    for _ in range(3):
        list(pace.spread(chunks(10), lambda: None))
    assert clock.time == pytest.approx(102.0)


def test_pace_does_not_make_up_for_a_slow_reader() -> None:
    clock = SlowClock()
    pace = Pace(10, clock, clock.sleep)
    for _ in pace.spread(chunks(10, 10, 10), lambda: None):
        clock.time += 5
    assert clock.slept == []
    list(pace.spread(chunks(10, 10), lambda: None))
    assert sum(clock.slept) == pytest.approx(1.0)


def test_pace_stops_when_the_checkpoint_says_so() -> None:
    class Stop(Exception):
        pass

    clock = SlowClock()

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        list(Pace(1, clock, clock.sleep).spread(chunks(1, 1), stop))
    assert clock.slept == []


@pytest.mark.parametrize(("rate", "most"), [(1, 1), (100, 100), (1_000_000, MOST_ROWS)])
def test_pace_has_no_more_rows_at_a_time_than_those_of_a_second(rate: int, most: int) -> None:
    assert Pace(rate, SlowClock()).most_rows == most
