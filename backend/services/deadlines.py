"""When the law wants an answer: one calendar month after receipt (GDPR Art. 12(3)). Pure.

Counted as Regulation 1182/71 Art. 3 counts months, and EDPB Guidelines 01/2022 (para. 157 to 163)
apply it: until the end of the day that bears the same number in the next month or, where that
month has no such day, of its last. Days are those of the controller's time zone
(``DSAR_TIME_ZONE``). Where the last day is a Saturday, a Sunday or a public holiday, Art. 3(4) of
that Regulation gives until the next working day; holidays differ by country, so that grace is not
counted here: what is on time here is on time.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

NEARLY_DUE: Final = timedelta(days=7)
# Art. 12(3): "extended by two further months where necessary".
MAX_EXTENSION_MONTHS: Final = 2


def due_at(requested_at: datetime, *, months: int = 1, zone: tzinfo = UTC) -> datetime:
    """The last second in which a request received at ``requested_at`` (aware) may be answered.

    ``months`` is one, and those of an extension. In UTC; never decreases as ``requested_at`` grows.
    """
    return due_on(requested_at.astimezone(zone).date(), months=months, zone=zone)


def due_on(received: date, *, months: int = 1, zone: tzinfo = UTC) -> datetime:
    """``due_at`` of whatever was received on that day of ``zone``."""
    return end_of_day(_last_day(received, months), zone)


def end_of_day(day: date, zone: tzinfo) -> datetime:
    """The last second of a day, in UTC. A day may have 23 or 25 hours."""
    return start_of_day(day + timedelta(days=1), zone) - timedelta(seconds=1)


def start_of_day(day: date, zone: tzinfo) -> datetime:
    """The first instant of a day, in UTC, also where the clocks jump over midnight."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def first_receipt_due_from(at: datetime, *, months: int = 1, zone: tzinfo = UTC) -> datetime:
    """The first instant of receipt whose deadline is ``at`` or later: ``due_at`` turned around.

    What was received before it was due before ``at``, so a database can tell what is overdue by
    comparing ``requested_at``, which its index holds.
    """
    # No month has more than 31 days: whatever was received before this day was due before ``at``.
    day = at.astimezone(zone).date() - timedelta(days=31 * months)
    while end_of_day(_last_day(day, months), zone) < at:
        day += timedelta(days=1)
    return start_of_day(day, zone)


def urgency(due: datetime, now: datetime) -> str:
    """``overdue``, ``nearly due`` (within seven days) or ``in time``."""
    if due < now:
        return "overdue"
    return "nearly due" if due - now <= NEARLY_DUE else "in time"


def _last_day(received: date, months: int) -> date:
    years, month_index = divmod(received.month - 1 + months, 12)
    year, month = received.year + years, month_index + 1
    return date(year, month, min(received.day, calendar.monthrange(year, month)[1]))
