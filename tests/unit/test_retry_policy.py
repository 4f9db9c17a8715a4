"""How long a request waits after a failure: growing, spread, bounded."""

from __future__ import annotations

import random
import statistics

import pytest

from backend.services.retry_policy import RetryPolicy


class Fixed(random.Random):
    """Gives the same number each time."""

    def __init__(self, number: float) -> None:
        super().__init__(0)
        self._number = number

    def random(self) -> float:
        return self._number


def policy(chance: random.Random, **options: float) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=5,
        base_seconds=options.get("base", 60),
        cap_seconds=options.get("cap", 3600),
        random=chance,
    )


def test_delay_doubles_with_each_attempt_up_to_the_cap() -> None:
    longest = policy(Fixed(1.0), cap=300)
    assert [longest.delay_seconds(attempt) for attempt in (1, 2, 3, 4)] == [60, 120, 240, 300]
    assert longest.backoff_seconds(5000) == 300


def test_delay_is_spread_over_the_whole_time_down_to_a_second() -> None:
    waits = [policy(random.Random(seed)).backoff_seconds(4) for seed in range(500)]
    assert all(1 <= wait <= 480 for wait in waits)
    assert len(set(waits)) > 450
    assert 200 < statistics.mean(waits) < 280
    assert min(waits) < 24 and max(waits) > 456


@pytest.mark.parametrize("times", [1, 2, 20])
def test_delay_is_never_under_a_second(times: int) -> None:
    assert policy(Fixed(0.0)).backoff_seconds(times) == 1.0
    assert policy(Fixed(0.9), base=0.001).backoff_seconds(1) == 1.0


def test_delay_after_the_last_attempt_is_none() -> None:
    assert policy(Fixed(0.5)).delay_seconds(4) is not None
    assert policy(Fixed(0.5)).delay_seconds(5) is None
    assert policy(Fixed(0.5)).delay_seconds(6) is None
