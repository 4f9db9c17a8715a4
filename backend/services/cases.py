"""The case around the export: what the law lets a controller do, and what it must record.

An extension, a hold while an identity is checked, the hand-over, a legal hold on the file. Every
verb is one short control transaction with the row locked and may be used while sweeps run; none
sends anything to anybody. A reason is what was said or written of the person, so it is part of
their export (GDPR Art. 15) and none is overwritten: each stands on a line of its own behind its
day. It never reaches a log.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from backend.errors import BusyError, UsageError, WrongState
from backend.models import DSARRequest
from backend.services.control import Controller
from backend.services.deadlines import MAX_EXTENSION_MONTHS, end_of_day
from backend.services.request_rows import REQUESTS, as_stored, instant_or_none, known
from backend.services.request_summaries import RequestSummary, receipt_and_deadline
from backend.services.requests import Requests, hold_ended, lock_request

_REASON_LENGTH: Final = 1000
# Of all together: MariaDB's TEXT holds 65,535 bytes.
_REASONS_LENGTH: Final = 16_000


class Cases:
    """The verbs on one control database. Deadlines are counted in ``zone``'s days.

    Each returns the request as it is afterwards, and raises ``RequestNotFound``, ``BusyError``
    where it is being exported and that matters, ``WrongState`` (the message names the remedy) or
    ``UsageError`` for a reason that is empty or longer than 1,000 characters.
    """

    def __init__(self, controller: Controller, *, zone: tzinfo = UTC) -> None:
        self._control = controller
        self._zone = zone
        self._requests = Requests(controller, zone=zone)

    def extend(
        self, reference_id: str, *, reason: str, months: int = MAX_EXTENSION_MONTHS
    ) -> RequestSummary:
        """Extend the deadline by one or two months, once, within the first month from receipt.

        Art. 12(3): where that is necessary for the complexity and number of the requests. The
        person must be told, with the reason, within that first month too; nothing is sent here.
        """
        reason = _checked(reason)
        if not 1 <= months <= MAX_EXTENSION_MONTHS:
            raise UsageError(f"an extension is of one month or two (GDPR Art. 12(3)), not {months}")

        def write(connection: Connection) -> None:
            row = self._lock(connection, reference_id)
            now = self._control.now(connection)
            self._check_extendable(connection, row, reference_id, now)
            _update(
                connection, row, extended_at=now, extension_months=months, extension_reason=reason
            )

        return self._after(write, reference_id)

    def _check_extendable(
        self, connection: Connection, row: RowMapping, reference_id: str, now: datetime
    ) -> None:
        if row["extended_at"] is not None:
            raise WrongState(
                f"{reference_id} was extended on {row['extended_at']:%Y-%m-%d}; GDPR Art. 12(3) "
                "allows one extension"
            )
        if row["status"] == DSARRequest.STATUS_CANCELLED:
            raise WrongState(f"{reference_id} is cancelled; open a new request")
        if row["delivered_at"] is not None:
            raise WrongState(f"{reference_id} was handed over; there is nothing to extend")
        if DSARRequest.STATUS_COMPLETED in (row["status"], row["claimed_from"]):
            raise WrongState(
                f"{reference_id} is completed; hand it over, then: dsar delivered {reference_id}"
            )
        query = sa.select(as_stored(REQUESTS.c.requested_at)).where(REQUESTS.c.id == row["id"])
        stored = connection.execute(query).scalar()
        _, last = receipt_and_deadline(stored, months=1, zone=self._zone)
        if last is None:
            raise WrongState(f"{reference_id} has no day of receipt; set its requested_at")
        if now > last:
            raise WrongState(
                f"the first month of {reference_id} ended on "
                f"{last.astimezone(self._zone):%Y-%m-%d}; only within it may the person be told "
                "of an extension (GDPR Art. 12(3)); export it as soon as possible"
            )

    def hold(self, reference_id: str, *, reason: str) -> RequestSummary:
        """Keep a pending or failed request from being claimed until ``resume``.

        For an identity check (Art. 12(6)). The deadline stays where it is: EDPB Guidelines
        01/2022 (para. 158) let the month be suspended only where the controller asked for what it
        needs without undue delay, which no program can know; ``due_if_suspended_at`` says what
        the deadline would be then. Repeated, it keeps the first moment and adds the reason.
        """
        reason = _checked(reason)

        def write(connection: Connection) -> None:
            row = self._lock(connection, reference_id)
            _refuse_busy(row, reference_id)
            if row["status"] not in (DSARRequest.STATUS_PENDING, DSARRequest.STATUS_FAILED):
                raise WrongState(
                    f"{reference_id} is {row['status']}; only what waits or failed can be held"
                )
            now = self._control.now(connection)
            _update(
                connection,
                row,
                status=DSARRequest.STATUS_PENDING,
                next_attempt_at=DSARRequest.HELD_UNTIL,
                held_at=known(row["held_at"]) or now,
                hold_reason=self._added(row["hold_reason"], reason, now, row["held_at"]),
            )

        return self._after(write, reference_id)

    def resume(self, reference_id: str) -> RequestSummary:
        """End a hold: the request is due at once, its attempts and crashes count from nought."""

        def write(connection: Connection) -> None:
            row = self._lock(connection, reference_id)
            if row["held_at"] is None:
                raise WrongState(f"{reference_id} is not held; see: dsar show {reference_id}")
            now = self._control.now(connection)
            _update(
                connection,
                row,
                next_attempt_at=now,
                attempts=0,
                crashes=0,
                interruptions=0,
                last_error=None,
                **hold_ended(row, now),
            )

        return self._after(write, reference_id)

    def delivered(self, reference_id: str, *, at: datetime | date | None = None) -> RequestSummary:
        """Record that a completed request's export was handed over; repeated, the first time stays.

        ``at``: an aware instant, or a day (then its end in ``zone``, or the present if that is
        earlier); None: now. Neither before the day of completion nor in the future.
        """

        def write(connection: Connection) -> None:
            row = self._lock(connection, reference_id)
            if row["status"] != DSARRequest.STATUS_COMPLETED:
                _refuse_busy(row, reference_id)
                raise WrongState(
                    f"{reference_id} is {row['status']}; only a completed request can have been "
                    "handed over"
                )
            now = self._control.now(connection)
            instant = self._instant(at, now)
            self._check_delivery(row, reference_id, instant, now)
            _update(connection, row, delivered_at=known(row["delivered_at"]) or instant)

        return self._after(write, reference_id)

    def _instant(self, at: datetime | date | None, now: datetime) -> datetime:
        if at is None:
            return now
        if isinstance(at, datetime):
            return at
        today = now.astimezone(self._zone).date()
        return now if at == today else end_of_day(at, self._zone)

    def _check_delivery(
        self, row: RowMapping, reference_id: str, at: datetime, now: datetime
    ) -> None:
        if at > now:
            raise WrongState(f"{at:%Y-%m-%d %H:%M} UTC lies in the future; say when it was handed")
        completed = instant_or_none(row["completed_at"])
        if completed and at.astimezone(self._zone).date() < completed.astimezone(self._zone).date():
            raise WrongState(
                f"{reference_id} was completed on {completed.astimezone(self._zone):%Y-%m-%d}; it "
                "cannot have been handed over before"
            )

    def legal_hold(self, reference_id: str, *, reason: str) -> RequestSummary:
        """Keep a request's file from retention, and from being replaced by another export.

        Repeated, it keeps the first moment and adds the reason.
        """
        reason = _checked(reason)

        def write(connection: Connection) -> None:
            row = self._lock(connection, reference_id)
            _refuse_busy(row, reference_id)
            if row["export_state"] == DSARRequest.EXPORT_PRUNED:
                raise WrongState(f"the file of {reference_id} is deleted; there is none to keep")
            if row["status"] == DSARRequest.STATUS_CANCELLED:
                raise WrongState(f"{reference_id} is cancelled; there is no file to keep")
            now = self._control.now(connection)
            _update(
                connection,
                row,
                legal_hold_at=known(row["legal_hold_at"]) or now,
                legal_hold_reason=self._added(
                    row["legal_hold_reason"], reason, now, row["legal_hold_at"]
                ),
            )

        return self._after(write, reference_id)

    def release_legal_hold(self, reference_id: str) -> RequestSummary:
        """End a legal hold; a file that is past its days goes with the next prune. Repeatable."""

        def write(connection: Connection) -> None:
            row = self._lock(connection, reference_id)
            _update(connection, row, legal_hold_at=None)

        return self._after(write, reference_id)

    def _added(
        self, earlier: str | None, reason: str, now: datetime, standing_since: datetime | None
    ) -> str:
        """The reasons on record with this one, unless it is a standing hold's last, said again."""
        reason = " ".join(reason.split())
        lines = earlier.split("\n") if earlier else []
        if standing_since and lines and lines[-1].partition(": ")[2] == reason:
            return "\n".join(lines)
        added = "\n".join([*lines, f"{now.astimezone(self._zone):%Y-%m-%d}: {reason}"])
        if len(added) > _REASONS_LENGTH:
            raise UsageError(
                f"the reasons on record would be longer than {_REASONS_LENGTH:,} characters; "
                "keep the details elsewhere, and name the place"
            )
        return added

    def _lock(self, connection: Connection, reference_id: str) -> RowMapping:
        return lock_request(connection, self._control, reference_id)

    def _after(self, write: Any, reference_id: str) -> RequestSummary:
        self._control.run(write)
        return self._requests.find(reference_id).request


def _update(connection: Connection, row: RowMapping, **values: Any) -> None:
    """Change a row that this transaction holds locked."""
    connection.execute(sa.update(REQUESTS).where(REQUESTS.c.id == row["id"]).values(**values))


def _refuse_busy(row: RowMapping, reference_id: str) -> None:
    if row["status"] == DSARRequest.STATUS_PROCESSING:
        raise BusyError(f"{reference_id} is being exported by a worker; try again later")


def _checked(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise UsageError("say the reason: it is recorded")
    if len(reason) > _REASON_LENGTH:
        raise UsageError(f"the reason is longer than {_REASON_LENGTH:,} characters; shorten it")
    return reason
