"""How a period's requests were answered: in numbers, without a reference, a person or a reason.

Everything is read in one snapshot of the control database. Requests are streamed and counted one
by one, because a deadline is a calendar's, which no two databases compute alike; what is kept
does not grow with their number: the counts of each week or month, and durations to three
significant figures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from backend.clock import Clock
from backend.engines import make_snapshot_engine
from backend.errors import UsageError
from backend.models import DSARAttempt, DSARRequest
from backend.services.deadlines import due_on, start_of_day, urgency
from backend.services.request_rows import ATTEMPTS, REQUESTS, as_stored, instant_or_none
from backend.services.snapshot import open_snapshot

_STATEMENT_SECONDS: Final = 3600.0
_CHUNK_ROWS: Final = 5000
# Longer periods are told by month.
_WEEKS_UP_TO_DAYS: Final = 100
DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Period:
    """The days from ``first`` to ``last``, both included, of the time zone ``zone``."""

    first: date
    last: date
    zone: tzinfo

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise UsageError(f"the period ends ({self.last}) before it begins ({self.first})")

    @property
    def begins_at(self) -> datetime:
        return start_of_day(self.first, self.zone)

    @property
    def ends_at(self) -> datetime:
        return start_of_day(self.last + timedelta(days=1), self.zone)

    @property
    def by_week(self) -> bool:
        return (self.last - self.first).days < _WEEKS_UP_TO_DAYS

    def bucket(self, day: date) -> date:
        """The first day of the week (from Monday) or month that a day is told under."""
        first = day - timedelta(days=day.weekday()) if self.by_week else day.replace(day=1)
        return max(first, self.first)

    def buckets(self) -> Iterator[date]:
        """The first day of each week or month of the period, in order."""
        day = self.first
        while day <= self.last:
            yield day
            if self.by_week:
                day += timedelta(days=7 - day.weekday())
            else:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)


@dataclass(slots=True)
class Durations:
    """A distribution in room that does not grow: whole units, to three significant figures."""

    counts: Counter[int] = field(default_factory=Counter)
    longest: int = 0

    def add(self, amount: int) -> None:
        amount = max(0, amount)
        self.longest = max(self.longest, amount)
        self.counts[round(amount, min(0, 3 - len(str(amount))))] += 1

    def quantile(self, part: float) -> int | None:
        """The smallest amount that at least ``part`` of all do not exceed; None without any."""
        rank = math.ceil(part * self.counts.total())
        for amount in sorted(self.counts):
            rank -= self.counts[amount]
            if rank <= 0:
                return min(amount, self.longest)
        return None

    def summary(self, unit: int) -> dict[str, float | int | None]:
        """Count, median, 90th percentile and maximum, in units of so many of the amounts."""

        def in_units(amount: int | None) -> float | None:
            return None if amount is None else round(amount / unit, 2)

        return {
            "count": self.counts.total(),
            "median": in_units(self.quantile(0.5)),
            "p90": in_units(self.quantile(0.9)),
            "max": in_units(self.longest if self.counts else None),
        }


@dataclass(slots=True)
class Figures:
    """The requests received in some days, as they stand at the snapshot.

    ``answered`` are those handed over where that is recorded, else completed; ``on_time`` and
    ``late`` tell when, by the deadline with its extension. ``overdue`` and ``nearly_due`` are
    among ``open``.
    """

    received: int = 0
    answered: int = 0
    on_time: int = 0
    late: int = 0
    open: int = 0
    nearly_due: int = 0
    overdue: int = 0
    cancelled: int = 0
    delivered: int = 0
    extended: int = 0
    held: int = 0
    to_completion: Durations = field(default_factory=Durations)
    to_delivery: Durations = field(default_factory=Durations)
    to_answer: Durations = field(default_factory=Durations)

    @property
    def on_time_rate(self) -> float | None:
        """Answered on time, of all whose answer is in or late; None while there is none."""
        decided = self.on_time + self.late + self.overdue
        return round(self.on_time / decided, 4) if decided else None

    def as_dict(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in COUNTS}
        return counts | {
            "on_time_rate": self.on_time_rate,
            "receipt_to_completion_days": self.to_completion.summary(DAY),
            "receipt_to_delivery_days": self.to_delivery.summary(DAY),
        }


COUNTS: Final = (
    "received",
    "answered",
    "on_time",
    "late",
    "open",
    "nearly_due",
    "overdue",
    "cancelled",
    "delivered",
    "extended",
    "held",
)


@dataclass(frozen=True, slots=True)
class Report:
    """One period's figures: ``total``, by week or month, and the attempts made in it."""

    period: Period
    taken_at: datetime
    total: Figures
    buckets: dict[date, Figures]
    outcomes: dict[str, int]
    failures: dict[str, int]
    export: Durations

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON would have it. Days are those of the period's time zone."""
        return {
            "from": self.period.first.isoformat(),
            "to": self.period.last.isoformat(),
            "time_zone": str(self.period.zone),
            "taken_at": self.taken_at.isoformat(),
            "requests": self.total.as_dict(),
            "by": "week" if self.period.by_week else "month",
            "buckets": [
                {"from": first.isoformat()} | figures.as_dict()
                for first, figures in self.buckets.items()
            ],
            "attempts": self.outcomes,
            "failures": self.failures,
            "export_seconds": self.export.summary(1000),
        }


def make_report(database_url: str, clock: Clock, period: Period) -> Report:
    """Read a period's figures: of the requests received in it, and of the attempts begun in it.

    Reads one snapshot, writes nothing and may be repeated. Raises ``DatabaseUnreachable`` or
    ``DatabaseBusy``.
    """
    engine = make_snapshot_engine(database_url, None)
    try:
        return _read(engine, clock, period)
    finally:
        engine.dispose()


def _read(engine: Engine, clock: Clock, period: Period) -> Report:
    with open_snapshot(engine, clock, statement_seconds=_STATEMENT_SECONDS) as snapshot:
        connection = snapshot.connection
        count = _Count(period, snapshot.taken_at)
        for row in _stream(connection, _requests_of(period)):
            count.add(*row)
        outcomes, failures = _count_attempts(connection, period)
        export = Durations()
        for (milliseconds,) in _stream(connection, _completed_of(period)):
            export.add(int(milliseconds))
        return Report(
            period=period,
            taken_at=snapshot.taken_at,
            total=count.total,
            buckets=count.buckets,
            outcomes=outcomes,
            failures=failures,
            export=export,
        )


class _Count:
    """Counts requests, each into the total and into its week or month."""

    def __init__(self, period: Period, now: datetime) -> None:
        self._period = period
        self._now = now
        self._due = lru_cache(maxsize=10_000)(due_on)
        self.total = Figures()
        self.buckets = {first: Figures() for first in period.buckets()}

    def add(
        self, requested: Any, status: str, completed: Any, delivered: Any, months: int, held: bool
    ) -> None:
        received_at = instant_or_none(requested)
        if received_at is None:
            return
        completed_at, delivered_at = instant_or_none(completed), instant_or_none(delivered)
        day = received_at.astimezone(self._period.zone).date()
        try:
            due = self._due(day, months=1 + months, zone=self._period.zone)
        except (OverflowError, ValueError):
            return  # no deadline in Python's calendar
        for figures in (self.total, self.buckets[self._period.bucket(day)]):
            figures.received += 1
            figures.extended += months > 0
            figures.held += held
            if status == DSARRequest.STATUS_CANCELLED:
                figures.cancelled += 1
            elif _is_answered(status, completed_at):
                _count_answered(figures, received_at, completed_at, delivered_at, due)
            else:
                figures.open += 1
                figures.overdue += (how := urgency(due, self._now)) == "overdue"
                figures.nearly_due += how == "nearly due"


def _is_answered(status: str, completed_at: datetime | None) -> bool:
    """Completed; one that is being exported again was completed before, and stays answered."""
    if status == DSARRequest.STATUS_PROCESSING:
        return completed_at is not None
    return status == DSARRequest.STATUS_COMPLETED


def _count_answered(
    figures: Figures,
    received_at: datetime,
    completed_at: datetime | None,
    delivered_at: datetime | None,
    due: datetime,
) -> None:
    figures.answered += 1
    if completed_at is not None:
        figures.to_completion.add(int((completed_at - received_at).total_seconds()))
    if delivered_at is not None:
        figures.delivered += 1
        figures.to_delivery.add(int((delivered_at - received_at).total_seconds()))
    answered_at = delivered_at or completed_at
    if answered_at is not None:  # an adopted row may lack the date
        figures.to_answer.add(int((answered_at - received_at).total_seconds()))
        figures.on_time += answered_at <= due
        figures.late += answered_at > due


def _requests_of(period: Period) -> sa.Select[Any]:
    r = REQUESTS.c

    return sa.select(
        as_stored(r.requested_at),
        r.status,
        as_stored(r.completed_at),
        as_stored(r.delivered_at),
        r.extension_months,
        sa.or_(r.held_at.is_not(None), r.held_seconds > 0),
    ).where(r.requested_at >= period.begins_at, r.requested_at < period.ends_at)


def _completed_of(period: Period) -> sa.Select[Any]:
    a = ATTEMPTS.c
    return sa.select(a.duration_ms).where(
        a.started_at >= period.begins_at,
        a.started_at < period.ends_at,
        a.outcome == DSARAttempt.OUTCOME_COMPLETED,
        a.duration_ms.is_not(None),
    )


def _count_attempts(
    connection: Connection, period: Period
) -> tuple[dict[str, int], dict[str, int]]:
    """How many attempts ended how, and those that failed, by error code, the most frequent first.

    A drain is nobody's failure: what was released stands among the outcomes only.
    """
    a = ATTEMPTS.c
    query = (
        sa.select(a.outcome, a.error_code, sa.func.count())
        .where(a.started_at >= period.begins_at, a.started_at < period.ends_at)
        .group_by(a.outcome, a.error_code)
    )
    outcomes: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    failed = (DSARAttempt.OUTCOME_RETRIED, DSARAttempt.OUTCOME_FAILED, DSARAttempt.OUTCOME_LOST)
    for outcome, code, count in connection.execute(query):
        outcomes[outcome] += count
        if outcome in failed:
            failures[code or "unknown"] += count
    return dict(sorted(outcomes.items())), dict(failures.most_common())


def _stream(connection: Connection, query: sa.Select[Any]) -> Iterator[Any]:
    return iter(connection.execute(query.execution_options(yield_per=_CHUNK_ROWS)))
