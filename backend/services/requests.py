"""The operator's side of requests: open, list, look at, retry, cancel.

Beside ``claims`` and ``retention`` the only place that writes to ``dsar_requests``. Every write is
one short control transaction with the row locked, so all of it works while sweeps run.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.exc import IntegrityError

from backend.errors import BadReference, BusyError, RequestNotFound, WrongState
from backend.models import DSARRequest
from backend.references import is_usable_reference
from backend.services.control import Controller
from backend.services.deadlines import due_at, urgency
from backend.services.request_rows import ATTEMPTS, REQUESTS, reference_is

_OPEN: Final = (DSARRequest.STATUS_PENDING, DSARRequest.STATUS_PROCESSING)
# Without I, L, O, U, 0 and 1: a reference is read out over the telephone.
_ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class RequestSummary:
    """A request as an operator sees it. Times are aware UTC; ``due_at`` is the law's deadline.

    ``next_attempt_at`` is set while a pending request backs off.
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


@dataclass(frozen=True, slots=True)
class RequestDetails:
    """A request with its attempts, oldest first."""

    request: RequestSummary
    attempts: Sequence[dict[str, Any]] = field(default_factory=tuple)


class Requests:
    """The operator's verbs on one control database."""

    def __init__(self, controller: Controller) -> None:
        self._control = controller

    def open(
        self, user_id: Any, *, reference_id: str | None = None, received_at: datetime | None = None
    ) -> RequestSummary:
        """Insert a pending request and return it.

        Without a reference it gets a random one; without ``received_at`` (aware) the database's
        present counts as receipt. Raises ``BadReference`` when the reference is unusable or taken.
        Not to be repeated: each call opens a request.
        """
        reference = _new_reference() if reference_id is None else reference_id
        if not is_usable_reference(reference):
            raise BadReference(
                f"{reference!r} cannot be a reference: it starts with a letter or digit and holds "
                "up to 100 letters, digits, '.', '_' and '-'"
            )

        def insert(connection: Connection) -> None:
            at = received_at or self._control.now(connection)
            connection.execute(
                sa.insert(REQUESTS).values(
                    user_id=user_id,
                    gdpr_reference_id=reference,
                    status=DSARRequest.STATUS_PENDING,
                    requested_at=at,
                )
            )

        try:
            self._control.run(insert)
        except IntegrityError:
            raise BadReference(
                f"the reference {reference} is taken (capitals do not count); choose another"
            ) from None
        return self.find(reference).request

    def list(self, *, statuses: Sequence[str] | None, limit: int) -> list[RequestSummary]:
        """Requests, the oldest first. ``statuses`` None: everything still open, and failed."""
        wanted = statuses or (*_OPEN, DSARRequest.STATUS_FAILED)
        query = (
            sa.select(*_COLUMNS, self._control.instant().label("now"))
            .where(REQUESTS.c.status.in_(wanted))
            .order_by(REQUESTS.c.requested_at, REQUESTS.c.id)
            .limit(limit)
        )

        def read(connection: Connection) -> list[RequestSummary]:
            now = self._control.now(connection)
            return [_summary(row, now) for row in connection.execute(query).mappings()]

        return self._control.read(read)

    def counts(self) -> dict[str, int]:
        """How many requests are in each status."""
        query = sa.select(REQUESTS.c.status, sa.func.count()).group_by(REQUESTS.c.status)
        return self._control.read(lambda c: dict(c.execute(query).tuples().all()))

    def find(self, reference_id: str) -> RequestDetails:
        """One request with its attempts. Raises ``RequestNotFound``."""
        query = sa.select(*_COLUMNS).where(reference_is(self._control, reference_id))

        def read(connection: Connection) -> RequestDetails:
            now = self._control.now(connection)
            row = connection.execute(query).mappings().first()
            if row is None:
                raise _not_found(reference_id)
            attempts = connection.execute(
                sa.select(*ATTEMPTS.c)
                .where(ATTEMPTS.c.request_id == row["id"])
                .order_by(ATTEMPTS.c.claim_token)
            ).mappings()
            return RequestDetails(_summary(row, now), [dict(attempt) for attempt in attempts])

        return self._control.read(read)

    def retry(self, reference_id: str) -> RequestSummary:
        """Make a failed request (or one that backs off) pending and due at once.

        Its attempts and crashes count from nought again. May be repeated. Raises
        ``RequestNotFound``, ``BusyError`` while it is processing, ``WrongState`` otherwise.
        """

        def write(connection: Connection) -> None:
            row = self._lock(connection, reference_id)
            if row["status"] == DSARRequest.STATUS_PROCESSING:
                raise BusyError(f"{reference_id} is being exported; nothing to retry")
            if row["status"] == DSARRequest.STATUS_COMPLETED:
                raise WrongState(
                    f"{reference_id} is completed; to export it again: dsar export {reference_id}"
                )
            if row["status"] == DSARRequest.STATUS_CANCELLED:
                raise WrongState(f"{reference_id} is cancelled; open a new request")
            connection.execute(
                sa.update(REQUESTS)
                .where(REQUESTS.c.id == row["id"])
                .values(
                    status=DSARRequest.STATUS_PENDING,
                    next_attempt_at=self._control.now(connection),
                    attempts=0,
                    crashes=0,
                    interruptions=0,
                    last_error=None,
                )
            )

        self._control.run(write)
        return self.find(reference_id).request

    def cancel(self, reference_id: str) -> RequestSummary:
        """Cancel a request that is pending, failed or being exported; its worker stops.

        A request that was completed before, and is being exported again, goes back to completed
        with its earlier record. May be repeated. Raises ``RequestNotFound`` or ``WrongState``.
        """

        def write(connection: Connection) -> None:
            row = self._lock(connection, reference_id)
            status = DSARRequest.STATUS_CANCELLED
            if row["status"] == DSARRequest.STATUS_COMPLETED:
                raise WrongState(f"{reference_id} is completed; there is nothing to cancel")
            if row["claimed_from"] == DSARRequest.STATUS_COMPLETED:
                status = DSARRequest.STATUS_COMPLETED
            connection.execute(
                sa.update(REQUESTS)
                .where(REQUESTS.c.id == row["id"])
                .values(
                    status=status,
                    claimed_from=None,
                    claimed_by=None,
                    claimed_at=None,
                    lease_expires_at=None,
                )
            )

        self._control.run(write)
        return self.find(reference_id).request

    def _lock(self, connection: Connection, reference_id: str) -> RowMapping:
        query = (
            sa.select(REQUESTS.c.id, REQUESTS.c.status, REQUESTS.c.claimed_from)
            .where(reference_is(self._control, reference_id))
            .with_for_update()
        )
        row = connection.execute(query).mappings().first()
        if row is None:
            raise _not_found(reference_id)
        return row


_COLUMNS: Final = (
    REQUESTS.c.id,
    REQUESTS.c.gdpr_reference_id,
    REQUESTS.c.status,
    REQUESTS.c.requested_at,
    REQUESTS.c.attempts,
    REQUESTS.c.next_attempt_at,
    REQUESTS.c.completed_at,
    REQUESTS.c.exported_at,
    REQUESTS.c.export_state,
    REQUESTS.c.export_bytes_size,
    REQUESTS.c.export_storage_path,
    REQUESTS.c.last_error,
    REQUESTS.c.claimed_by,
    REQUESTS.c.lease_expires_at,
    REQUESTS.c.interruptions,
)


def _summary(row: RowMapping, now: datetime) -> RequestSummary:
    requested_at = row["requested_at"]
    due = None if requested_at is None else due_at(requested_at)
    answered = row["status"] not in (*_OPEN, DSARRequest.STATUS_FAILED)
    return RequestSummary(
        request_id=row["id"],
        reference_id=row["gdpr_reference_id"],
        status=row["status"],
        requested_at=requested_at,
        due_at=due,
        urgency=None if due is None or answered else urgency(due, now),
        attempts=row["attempts"],
        next_attempt_at=_later(row, now),
        completed_at=row["completed_at"],
        exported_at=row["exported_at"],
        export_state=row["export_state"],
        bytes=row["export_bytes_size"],
        file_path=row["export_storage_path"],
        last_error=row["last_error"],
        claimed_by=row["claimed_by"],
        lease_expires_at=row["lease_expires_at"],
        interruptions=row["interruptions"],
    )


def _later(row: RowMapping, now: datetime) -> datetime | None:
    """When a pending request that backs off is due; None for one that is due already."""
    at: datetime = row["next_attempt_at"]
    return at if row["status"] == DSARRequest.STATUS_PENDING and at > now else None


def _not_found(reference_id: str) -> RequestNotFound:
    return RequestNotFound(
        f"there is no request with the reference {reference_id!r}; see: dsar list"
    )


def _new_reference() -> str:
    return "DSAR-" + "".join(secrets.choice(_ALPHABET) for _ in range(12))
