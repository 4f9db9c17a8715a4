"""When the law wants an answer: one calendar month after receipt (GDPR Art. 12(3)).

Counted as Regulation 1182/71 Art. 3 counts months: the same day of the next month or, where that
month has no such day, its last. Pure.
"""

from __future__ import annotations

import calendar
from datetime import datetime, timedelta
from typing import Final

NEARLY_DUE: Final = timedelta(days=7)


def due_at(requested_at: datetime, *, months: int = 1) -> datetime:
    """The instant by which a request received at ``requested_at`` must be answered."""
    years, month_index = divmod(requested_at.month - 1 + months, 12)
    year, month = requested_at.year + years, month_index + 1
    day = min(requested_at.day, calendar.monthrange(year, month)[1])
    return requested_at.replace(year=year, month=month, day=day)


def urgency(due: datetime, now: datetime) -> str:
    """``overdue``, ``nearly due`` (within seven days) or ``in time``."""
    if due < now:
        return "overdue"
    return "nearly due" if due - now <= NEARLY_DUE else "in time"
