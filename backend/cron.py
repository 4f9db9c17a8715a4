"""Cron expressions, read as cron reads them (crontab(5)), in UTC.

The parser is cronsim, which follows Debian's cron: Sunday is 0 and 7, day-of-month *or*
day-of-week when both are restricted. APScheduler's own ``CronTrigger.from_crontab`` does neither.
What is added here: the five-field macros, and the refusal of what could never fire.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from cronsim import CronSim, CronSimError

MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

# Any date that exists at all comes round within eight years (29 February across 2100).
_PROBE_START: Final = datetime(2024, 1, 1, tzinfo=UTC)


def parse_cron(expression: str) -> str:
    """Check a cron expression and return its five fields.

    Takes five fields, or one of the macros of crontab(5) other than ``@reboot``. Raises
    ``ValueError`` with the reason when it is not one, or when no date would ever match it.
    """
    text = expression.strip()
    if text.startswith("@"):
        if text.lower() not in MACROS:
            known = ", ".join(sorted(MACROS))
            raise ValueError(f"{expression!r} is not a known macro (known: {known})")
        text = MACROS[text.lower()]
    fields = text.split()
    if len(fields) != 5:
        raise ValueError(f"{expression!r} has {len(fields)} fields; cron expressions have 5")
    try:
        next(CronSim(" ".join(fields), _PROBE_START))
    except CronSimError as error:
        raise ValueError(
            f"{expression!r} is not a cron expression, or names a date that never comes: {error}"
        ) from None
    except StopIteration:
        raise ValueError(f"{expression!r} never fires: no such date exists") from None
    return " ".join(fields)


def next_fire(fields: str, after: datetime) -> datetime:
    """The first instant later than ``after`` (aware) that the five fields match, in UTC."""
    return next(CronSim(fields, after.astimezone(UTC)))
