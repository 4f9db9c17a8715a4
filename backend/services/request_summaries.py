"""A request as an operator sees it: its row with the law's deadline, read and never written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

from sqlalchemy.engine import RowMapping

from backend.models import DSARRequest
from backend.services.deadlines import due_at, end_of_day, urgency
from backend.services.request_rows import (
    REQUESTS,
    as_stored,
    instant_or_none,
    known,
    readable,
)

# Not answered yet, as the law counts: a failed request is as late as a pending one.
OPEN: Final = (
    DSARRequest.STATUS_PENDING,
    DSARRequest.STATUS_PROCESSING,
    DSARRequest.STATUS_FAILED,
)


@dataclass(frozen=True, slots=True)
class RequestSummary:
    """A request as an operator sees it. Times are aware UTC; ``due_at`` is the law's deadline.

    Where the database holds no date of receipt, or something that is none, ``requested_at`` and
    ``due_at`` are None.

    ``next_attempt_at`` is set while a pending request backs off; ``held_at`` while it is held.
    ``held_seconds`` is the length of all its holds that are over, and ``due_if_suspended_at``,
    set once it was held, what the deadline would be if these stopped the clock.
    """

    request_id: int
    reference_id: str | None
    status: str
    requested_at: datetime | None
    due_at: datetime | None
    urgency: str | None
    attempts: int
    next_attempt_at: datetime | None
    completed_at: datetime | None
    exported_at: datetime | None
    export_state: str | None
    bytes: int | None
    file_path: str | None
    last_error: str | None
    claimed_by: str | None
    lease_expires_at: datetime | None
    interruptions: int
    extended_at: datetime | None
    extension_months: int
    extension_reason: str | None
    held_at: datetime | None
    held_seconds: int
    hold_reason: str | None
    due_if_suspended_at: datetime | None
    delivered_at: datetime | None
    legal_hold_at: datetime | None
    legal_hold_reason: str | None


SUMMARY_COLUMNS: Final = (
    REQUESTS.c.id,
    REQUESTS.c.gdpr_reference_id,
    REQUESTS.c.status,
    as_stored(REQUESTS.c.requested_at),
    REQUESTS.c.attempts,
    readable(REQUESTS.c.next_attempt_at),
    as_stored(REQUESTS.c.completed_at),
    readable(REQUESTS.c.exported_at),
    REQUESTS.c.export_state,
    REQUESTS.c.export_bytes_size,
    REQUESTS.c.export_storage_path,
    REQUESTS.c.last_error,
    REQUESTS.c.claimed_by,
    readable(REQUESTS.c.lease_expires_at),
    REQUESTS.c.interruptions,
    readable(REQUESTS.c.extended_at),
    REQUESTS.c.extension_months,
    REQUESTS.c.extension_reason,
    readable(REQUESTS.c.held_at),
    REQUESTS.c.held_seconds,
    REQUESTS.c.hold_reason,
    readable(REQUESTS.c.delivered_at),
    readable(REQUESTS.c.legal_hold_at),
    REQUESTS.c.legal_hold_reason,
)


def summary_of(row: RowMapping, now: datetime, zone: tzinfo) -> RequestSummary:
    """What a row's ``SUMMARY_COLUMNS`` say at ``now``, deadlines counted in ``zone``'s days."""
    months = 1 + row["extension_months"]
    requested_at, due = receipt_and_deadline(row["requested_at"], months=months, zone=zone)
    answered = row["status"] not in OPEN
    return RequestSummary(
        request_id=row["id"],
        reference_id=row["gdpr_reference_id"],
        status=row["status"],
        requested_at=requested_at,
        due_at=due,
        urgency=None if due is None or answered else urgency(due, now),
        attempts=row["attempts"],
        next_attempt_at=_later(row, now),
        completed_at=instant_or_none(row["completed_at"]),
        exported_at=known(row["exported_at"]),
        export_state=row["export_state"],
        bytes=row["export_bytes_size"],
        file_path=row["export_storage_path"],
        last_error=row["last_error"],
        claimed_by=row["claimed_by"],
        lease_expires_at=known(row["lease_expires_at"]),
        interruptions=row["interruptions"],
        extended_at=known(row["extended_at"]),
        extension_months=row["extension_months"],
        extension_reason=row["extension_reason"],
        held_at=known(row["held_at"]),
        held_seconds=row["held_seconds"],
        hold_reason=row["hold_reason"],
        due_if_suspended_at=_suspended(due, row, now, zone),
        delivered_at=known(row["delivered_at"]),
        legal_hold_at=known(row["legal_hold_at"]),
        legal_hold_reason=row["legal_hold_reason"],
    )


def receipt_and_deadline(
    stored: Any, *, months: int, zone: tzinfo
) -> tuple[datetime, datetime] | tuple[None, None]:
    """When a request was received, as ``as_stored`` gave it, and its deadline.

    None for both where that is no date, or one without a deadline in Python's calendar.
    """
    received_at = instant_or_none(stored)
    if received_at is None:
        return None, None
    try:
        return received_at, due_at(received_at, months=months, zone=zone)
    except (OverflowError, ValueError):
        return None, None


def _later(row: RowMapping, now: datetime) -> datetime | None:
    """When a pending request that backs off is due; None for one that is due already."""
    at: datetime = row["next_attempt_at"]
    waits = row["status"] == DSARRequest.STATUS_PENDING and row["held_at"] is None
    return at if waits and at > now else None


def _suspended(
    due: datetime | None, row: RowMapping, now: datetime, zone: tzinfo
) -> datetime | None:
    """The deadline moved by the whole days that the request was held; None for one that never was.

    It ends with a day as well; what is left of a day is not counted, to be on the safe side.
    """
    held = timedelta(seconds=row["held_seconds"])
    if (held_at := known(row["held_at"])) is not None:
        held += max(timedelta(0), now - held_at)
    if due is None or not held:
        return None
    try:
        return end_of_day(due.astimezone(zone).date() + timedelta(days=held.days), zone)
    except (OverflowError, ValueError):
        return None
