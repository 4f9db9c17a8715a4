"""A period's weeks and months, and what a distribution keeps."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from math import ceil
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import UsageError
from backend.services.report import Durations, Period

DAYS = st.dates(date(2000, 1, 1), date(2100, 1, 1))


@given(DAYS, st.integers(0, 4000), st.data())
def test_period_buckets_hold_each_day_once(first: date, length: int, data: st.DataObject) -> None:
    last = first + timedelta(days=length)
    period = Period(first, last, UTC)
    buckets = list(period.buckets())
    day = data.draw(st.dates(first, last))
    assert buckets[0] == first and buckets == sorted(set(buckets))
    assert period.bucket(day) == max(each for each in buckets if each <= day)


def test_period_ends_with_its_last_day_in_its_zone() -> None:
    # The 25 hours of the day on which summer time ends are all in.
    period = Period(date(2026, 10, 1), date(2026, 10, 25), ZoneInfo("Europe/Berlin"))
    assert period.begins_at == datetime(2026, 9, 30, 22, tzinfo=UTC)
    assert period.ends_at == datetime(2026, 10, 25, 23, tzinfo=UTC)
    with pytest.raises(UsageError, match="before it begins"):
        Period(date(2026, 10, 2), date(2026, 10, 1), UTC)


@given(st.lists(st.integers(-5, 10**9), max_size=60), st.floats(0.01, 1))
def test_durations_quantiles_are_right_to_three_figures(amounts: list[int], part: float) -> None:
    kept = Durations()
    for amount in amounts:
        kept.add(amount)
    exact = sorted(max(0, amount) for amount in amounts)
    found = kept.quantile(part)
    if not exact:
        assert found is None and kept.summary(1)["max"] is None
        return
    wanted = exact[ceil(part * len(exact)) - 1]
    assert found is not None and abs(found - wanted) <= wanted / 200
    assert kept.longest == exact[-1]


def test_durations_keep_few_numbers_of_many() -> None:
    kept = Durations()
    for amount in range(0, 30 * 86_400, 7):
        kept.add(amount)
    assert kept.counts.total() > 300_000
    assert len(kept.counts) < 5_000
