"""The law's month, counted as Regulation 1182/71 counts it; and backoff."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from backend.clock import SYSTEM_CLOCK
from backend.services.deadlines import due_at, first_receipt_due_from, urgency
from backend.services.retry_policy import RetryPolicy

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # where the clocks used to jump over midnight
    "Pacific/Apia",  # which skipped 30 December 2011
    "Pacific/Kiritimati",
]
# Made UTC below.
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=UTC)
)
zones = st.sampled_from(ZONES).map(ZoneInfo)


@pytest.mark.parametrize(
    ("received", "months", "last_day"),
    [
        # EDPB Guidelines 01/2022, para. 160: 5 March until 5 April, 31 August until 30 September.
        ("2026-03-05T10:00", 1, "2026-04-05"),
        ("2026-08-31T10:00", 1, "2026-09-30"),
        ("2026-01-31T10:00", 1, "2026-02-28"),
        ("2028-01-31T10:00", 1, "2028-02-29"),
        ("2028-01-30T10:00", 1, "2028-02-29"),
        ("2028-02-29T10:00", 1, "2028-03-29"),
        ("2028-02-29T10:00", 3, "2028-05-29"),
        ("2026-12-15T10:00", 1, "2027-01-15"),
        ("2026-11-30T10:00", 3, "2027-02-28"),
    ],
)
def test_due_at_is_the_end_of_the_same_day_or_the_months_last(
    received: str, months: int, last_day: str
) -> None:
    start = datetime.fromisoformat(received).replace(tzinfo=UTC)
    assert due_at(start, months=months).isoformat() == f"{last_day}T23:59:59+00:00"


@pytest.mark.parametrize(
    ("received", "zone", "due"),
    [
        # Half past midnight in Berlin is a day later than in London.
        ("2026-01-10T23:30Z", "UTC", "2026-02-10T23:59:59+00:00"),
        ("2026-01-10T23:30Z", "Europe/Berlin", "2026-02-11T22:59:59+00:00"),
        # Received in winter time, due in summer time, and the other way round.
        ("2026-03-10T12:00Z", "Europe/Berlin", "2026-04-10T21:59:59+00:00"),
        ("2026-10-10T12:00Z", "Europe/Berlin", "2026-11-10T22:59:59+00:00"),
        # The last day has 25 hours, and 23.
        ("2026-09-25T12:00Z", "Europe/Berlin", "2026-10-25T22:59:59+00:00"),
        ("2026-02-28T12:00Z", "Europe/Berlin", "2026-03-28T22:59:59+00:00"),
        ("2026-01-31T03:00Z", "America/New_York", "2026-03-01T04:59:59+00:00"),
        # At midnight of 4 November 2018 the clocks of São Paulo went straight to one.
        ("2018-10-03T12:00Z", "America/Sao_Paulo", "2018-11-04T02:59:59+00:00"),
    ],
)
def test_due_at_counts_the_days_of_the_zone(received: str, zone: str, due: str) -> None:
    start = datetime.fromisoformat(received)
    assert due_at(start, zone=ZoneInfo(zone)).isoformat() == due


@given(MOMENTS, zones)
def test_due_at_is_28_to_32_days_away(received: datetime, zone: ZoneInfo) -> None:
    away = due_at(received, zone=zone) - received
    # From the first moment of a day, or the last; an hour more or less for summer time.
    assert timedelta(days=28) - timedelta(hours=1) <= away <= timedelta(days=32, hours=1)


@given(MOMENTS, MOMENTS, st.integers(1, 3), zones)
def test_first_receipt_due_from_tells_what_due_at_tells(
    received: datetime, at: datetime, months: int, zone: ZoneInfo
) -> None:
    for moment in (at, due_at(received, months=months, zone=zone)):
        late = due_at(received, months=months, zone=zone) < moment
        first = first_receipt_due_from(moment, months=months, zone=zone)
        assert late == (received < first)


@pytest.mark.parametrize("now", ["2028-02-29T12:00", "2026-03-31T23:59:59.5", "2027-01-01T00:00"])
def test_first_receipt_due_from_now_is_the_calendars(now: str) -> None:
    with freeze_time(now):
        first = first_receipt_due_from(SYSTEM_CLOCK.now())
        assert due_at(first) >= SYSTEM_CLOCK.now()
        assert due_at(first - timedelta(microseconds=1)) < SYSTEM_CLOCK.now()


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


def test_urgency_at_the_last_second_is_not_overdue() -> None:
    now = datetime(2026, 11, 24, 23, 59, 59, tzinfo=UTC)
    assert urgency(now, now) == "nearly due"
    assert urgency(now, now + timedelta(seconds=1)) == "overdue"
