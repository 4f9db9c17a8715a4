"""Cron expressions, read as cron reads them; in UTC, whatever clocks do to local time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from backend.cron import MACROS, next_fire, parse_cron
from scheduler.service import CronTrigger


def fires(expression: str, start: datetime) -> Iterator[datetime]:
    """What APScheduler would be told, run after run."""
    trigger = CronTrigger(parse_cron(expression))
    previous = trigger.get_next_fire_time(None, start)
    while True:
        yield previous
        previous = trigger.get_next_fire_time(previous, previous)


def days(expression: str, start: str, count: int) -> list[str]:
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    return [f"{each:%m-%d %H:%M}" for each in islice(fires(expression, begin), count)]


def test_cron_sunday_is_nought_and_seven_and_by_name() -> None:
    sundays = ["11-29 00:00", "12-06 00:00"]
    for day in ("0", "7", "sun", "SUN"):
        assert days(f"0 0 * * {day}", "2026-11-24", 2) == sundays
    assert days("0 0 * * 1", "2026-11-24", 1) == ["11-30 00:00"]


def test_cron_day_of_month_or_day_of_week() -> None:
    assert days("0 0 13 * 5", "2026-11-01", 4) == [
        "11-06 00:00",
        "11-13 00:00",
        "11-20 00:00",
        "11-27 00:00",
    ]
    assert days("0 0 10 * 5", "2026-11-08", 2) == ["11-10 00:00", "11-13 00:00"]
    assert days("0 0 */10 * 5", "2026-01-01", 1) != days("0 0 10 * 5", "2026-01-01", 1)


@pytest.mark.parametrize("macro", sorted(MACROS))
def test_cron_macro_is_its_five_fields(macro: str) -> None:
    assert parse_cron(macro) == MACROS[macro] == parse_cron(macro.upper())


def test_cron_daily_is_midnight() -> None:
    assert days("@daily", "2026-11-24T08:00", 2) == ["11-25 00:00", "11-26 00:00"]


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * *",
        "61 * * * *",
        "@reboot",
        "@fortnightly",
        "a b c d e",
        "*/0 * * * *",
    ],
)
def test_cron_nonsense_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"cron|macro|fields"):
        parse_cron(expression)


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 31 4 *"])
def test_cron_impossible_date_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="never comes"):
        parse_cron(expression)


def test_cron_month_ends_come_only_in_months_that_have_them() -> None:
    assert days("0 12 31 * *", "2026-01-01", 4) == [
        "01-31 12:00",
        "03-31 12:00",
        "05-31 12:00",
        "07-31 12:00",
    ]


def test_cron_leap_day_comes_every_four_years_but_2100() -> None:
    begin = datetime(2092, 3, 1, tzinfo=UTC)
    years = [each.year for each in islice(fires("0 0 29 2 *", begin), 2)]
    assert years == [2096, 2104]


@pytest.mark.parametrize("night", ["2026-03-29", "2026-10-25"])
def test_cron_on_the_nights_when_clocks_change_each_hour_comes_once(night: str) -> None:
    """In Berlin 02:30 does not come on the first of these nights and comes twice on the second."""
    begin = datetime.fromisoformat(night).replace(tzinfo=UTC)
    with freeze_time(begin):
        hours = list(islice(fires("30 * * * *", datetime.now(UTC)), 24))
    assert [each.hour for each in hours] == list(range(24))
    real = [datetime.fromisoformat(each.isoformat()) for each in hours]
    berlin = {each.astimezone(ZoneInfo("Europe/Berlin")).isoformat() for each in real}
    assert len(berlin) == 24
    with freeze_time(begin):
        daily = list(islice(fires("30 2 * * *", datetime.now(UTC)), 2))
    assert daily[1] - daily[0] == timedelta(days=1)


def test_trigger_after_a_pause_fires_once_and_not_for_each_missed_time() -> None:
    trigger = CronTrigger("*/5 * * * *")
    before = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
    later = datetime(2026, 11, 24, 12, 2, 30, tzinfo=UTC)
    assert trigger.get_next_fire_time(before, later) == datetime(2026, 11, 24, 12, 5, tzinfo=UTC)


_MINUTES = st.sampled_from(["*", "*/5", "0", "17", "1-10/3", "0,30"])
_HOURS = st.sampled_from(["*", "3", "*/6", "22-23"])


@given(
    _MINUTES,
    _HOURS,
    st.sampled_from(["*", "1", "31", "*/2"]),
    st.sampled_from(["*", "1-7", "12"]),
    st.sampled_from(["*", "0", "7", "1-5"]),
    st.datetimes(datetime(2024, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001  made UTC below
)
def test_next_fire_is_later_and_on_a_whole_minute(
    minute: str, hour: str, day: str, month: str, weekday: str, after: datetime
) -> None:
    fields = parse_cron(f"{minute} {hour} {day} {month} {weekday}")
    start = after.replace(tzinfo=UTC)
    found = next_fire(fields, start)
    assert found > start
    assert (found.second, found.microsecond, found.tzinfo) == (0, 0, UTC)
    assert next_fire(fields, found) > found
