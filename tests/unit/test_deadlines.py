"""The law's month, counted as Regulation 1182/71 counts it; and backoff."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.services.deadlines import due_at, urgency
from backend.services.retry_policy import RetryPolicy


@pytest.mark.parametrize(
    ("received", "months", "due"),
    [
        ("2026-01-31T10:00", 1, "2026-02-28T10:00"),
        ("2028-01-31T10:00", 1, "2028-02-29T10:00"),
        ("2028-01-30T10:00", 1, "2028-02-29T10:00"),
        ("2026-03-31T10:00", 1, "2026-04-30T10:00"),
        ("2026-12-15T10:00", 1, "2027-01-15T10:00"),
        ("2026-11-30T10:00", 3, "2027-02-28T10:00"),
        ("2028-02-29T10:00", 1, "2028-03-29T10:00"),
    ],
)
def test_due_at_is_the_same_day_or_the_months_last(received: str, months: int, due: str) -> None:
    start = datetime.fromisoformat(received).replace(tzinfo=UTC)
    assert due_at(start, months=months) == datetime.fromisoformat(due).replace(tzinfo=UTC)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001  made UTC below
def test_due_at_is_28_to_31_days_away(received: datetime) -> None:
    start = received.replace(tzinfo=UTC)
    assert timedelta(days=28) <= due_at(start) - start <= timedelta(days=31)


def test_urgency_is_told_a_week_before() -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    assert urgency(now - timedelta(seconds=1), now) == "overdue"
    assert urgency(now + timedelta(days=7), now) == "nearly due"
    assert urgency(now + timedelta(days=7, seconds=1), now) == "in time"


def policy(seed: int = 1) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=5, base_seconds=30, cap_seconds=3600, random=random.Random(seed)
    )


def test_retry_gives_up_at_the_limit() -> None:
    assert policy().delay_seconds(5) is None
    assert policy().delay_seconds(6) is None
    assert policy().delay_seconds(4) is not None


@given(st.integers(1, 10_000), st.integers())
def test_retry_backoff_is_jittered_and_bounded(times: int, seed: int) -> None:
    delay = policy(seed).backoff_seconds(times)
    assert 1 <= delay <= min(3600, 30 * 2.0 ** min(times - 1, 60))
