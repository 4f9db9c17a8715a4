"""The operator's side of requests: open, list, look at, retry, cancel.

Beside ``claims``, ``cases`` and ``retention`` the only place that writes to ``dsar_requests``.
Every write is one short control transaction with the row locked, so all of it works while sweeps
run.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from itertools import islice
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.exc import DataError, IntegrityError

from backend.errors import (
    BadReference,
    BusyError,
    KeyNotUsable,
    RequestNotFound,
    UsageError,
    WrongState,
)
from backend.models import DSARRequest
from backend.models.types import UtcDateTime
from backend.references import is_usable_reference
from backend.services.control import Controller
from backend.services.request_rows import (
    ATTEMPTS,
    NO_DATE,
    REQUESTS,
    as_stored,
    is_reference,
    known,
    oldest,
    readable,
    reference_is,
)
from backend.services.request_summaries import OPEN, SUMMARY_COLUMNS, RequestSummary, summary_of
from backend.services.subject_keys import same_key

# What a second request of the same person may join: a failed one would not be exported.
_ON_THEIR_WAY: Final = (DSARRequest.STATUS_PENDING, DSARRequest.STATUS_PROCESSING)
# Whoever has more open requests than this is told of as many.
_OTHERS: Final = 20
# What to do about a column that cannot hold a person's key. SQLite's integers end at 2^63, and
# what is larger it would round.
_ONE_OF_ITS_TYPE: Final = "give the column the type of the people's key, such as BIGINT UNSIGNED"
_WIDER_COLUMN: Final = {
    "sqlite": "let DSAR_DATABASE_URL name a MariaDB or PostgreSQL, and run dsar migrate there",
    "postgresql": "ALTER TABLE dsar_requests ALTER COLUMN user_id TYPE text; it holds any key",
    "mysql": _ONE_OF_ITS_TYPE,
    "mariadb": _ONE_OF_ITS_TYPE,
}
# Without I, L, O, U, 0 and 1: a reference is read out over the telephone.
_ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class Opened:
    """What ``Requests.open`` opened, or the open request that it ``joined``.

    ``other_open``: the references of the same person's other open requests, the oldest first.
    """

    request: RequestSummary
    joined: bool
    other_open: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RequestDetails:
    """A request with its attempts, oldest first."""

    request: RequestSummary
    attempts: Sequence[dict[str, Any]] = field(default_factory=tuple)


class Requests:
    """The operator's verbs on one control database. Deadlines are counted in ``zone``'s days."""

    def __init__(self, controller: Controller, *, zone: tzinfo = UTC) -> None:
        self._control = controller
        self._zone = zone

    def open(
        self,
        user_id: Any,
        *,
        reference_id: str | None = None,
        received_at: datetime | None = None,
        join: bool = False,
    ) -> Opened:
        """Insert a pending request, and tell of the same person's other open ones.

        Without a reference it gets a random one; without ``received_at`` (aware) the database's
        present counts as receipt; a sweep may take it from that present on. With ``join`` nothing
        is inserted where the person has a request that waits or is being exported: the oldest such
        is returned, whose deadline is the earlier one. Two calls at the same instant may open two
        all the same.

        Raises ``BadReference`` when the reference is unusable or taken, ``KeyNotUsable`` for a key
        that the table cannot hold, ``UsageError`` for a receipt in the future. Without ``join``
        not to be repeated: each call opens a request.
        """
        reference = _new_reference() if reference_id is None else _usable(reference_id)

        def insert(connection: Connection) -> tuple[str, list[str]]:
            others = self._open_of(connection, user_id)
            joined = next(
                (each for each, status in others.items() if status in _ON_THEIR_WAY), None
            )
            if join and joined is not None:
                return joined, [each for each in others if each != joined]
            now = self._control.now(connection)
            at = received_at or now
            if at > now:
                raise UsageError(f"{at:%Y-%m-%d %H:%M %Z} lies in the future; say when it came")
            connection.execute(
                sa.insert(REQUESTS).values(
                    user_id=user_id,
                    gdpr_reference_id=reference,
                    status=DSARRequest.STATUS_PENDING,
                    requested_at=at,
                    # Due since now, not since receipt: nobody could have swept it before.
                    next_attempt_at=now,
                )
            )
            return reference, list(others)

        try:
            opened, others = self._control.run(insert)
        except IntegrityError:
            raise BadReference(
                f"the reference {reference} is taken (capitals do not count); choose another"
            ) from None
        except (DataError, OverflowError) as error:
            raise self._key_not_held() from error
        return Opened(self.find(opened).request, opened != reference, tuple(others))

    def _key_not_held(self) -> KeyNotUsable:
        """Of a key past 2^63, which MariaDB's BIGINT UNSIGNED can have, or of another type."""
        remedy = _WIDER_COLUMN[self._control.engine.dialect.name]
        return KeyNotUsable(
            "dsar_requests.user_id cannot hold this person's key, so no request was opened; "
            f"{remedy}"
        )

    def _open_of(self, connection: Connection, user_id: Any) -> dict[str, str]:
        """The references and states of a person's open requests, the oldest first."""
        r = REQUESTS.c
        query = (
            sa.select(r.gdpr_reference_id, r.status, r.user_id)
            .where(r.user_id == user_id, r.status.in_(OPEN), r.gdpr_reference_id.is_not(None))
            .order_by(r.requested_at, r.id)
        )
        # The column's collation may take another person's key for this one.
        same = (row for row in connection.execute(query) if same_key(row.user_id, user_id))
        return {row.gdpr_reference_id: row.status for row in islice(same, _OTHERS)}

    def list(self, *, statuses: Sequence[str] | None, limit: int) -> list[RequestSummary]:
        """Requests, the oldest first. ``statuses`` None: everything still open, and failed."""
        wanted = statuses or OPEN
        found = oldest(wanted, limit)
        query = (
            sa.select(*SUMMARY_COLUMNS, self._control.instant().label("now"))
            .join(found, found.c.id == REQUESTS.c.id)
            .order_by(REQUESTS.c.requested_at, REQUESTS.c.id)
            .limit(limit)
        )

        def read(connection: Connection) -> list[RequestSummary]:
            now = self._control.now(connection)
            rows = connection.execute(query).mappings()
            return [summary_of(row, now, self._zone) for row in rows]

        return self._control.read(read)

    def counts(self) -> dict[str, int]:
        """How many requests are in each status."""
        query = sa.select(REQUESTS.c.status, sa.func.count()).group_by(REQUESTS.c.status)
        return self._control.read(lambda c: dict(c.execute(query).all()))

    def find(self, reference_id: str) -> RequestDetails:
        """One request with its attempts. Raises ``RequestNotFound``."""
        query = sa.select(*SUMMARY_COLUMNS).where(reference_is(self._control, reference_id))

        def read(connection: Connection) -> RequestDetails:
            now = self._control.now(connection)
            row = connection.execute(query).mappings().first()
            if row is None or not is_reference(row["gdpr_reference_id"], reference_id):
                raise not_found(reference_id)
            attempts = connection.execute(
                sa.select(*_ATTEMPT_COLUMNS)
                .where(ATTEMPTS.c.request_id == row["id"])
                .order_by(ATTEMPTS.c.claim_token)
            ).mappings()
            summary = summary_of(row, now, self._zone)
            return RequestDetails(summary, [_shown(attempt) for attempt in attempts])

        return self._control.read(read)

    def retry(self, reference_id: str) -> RequestSummary:
        """Make a failed request (or one that backs off) pending and due at once.

        Its attempts and crashes count from nought again. May be repeated. Raises
        ``RequestNotFound``, ``BusyError`` while it is processing, ``WrongState`` otherwise.
        """

        def write(connection: Connection) -> None:
            row = lock_request(connection, self._control, reference_id)
            if row["held_at"] is not None:
                raise WrongState(f"{reference_id} is held; to go on: dsar resume {reference_id}")
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
            row = lock_request(connection, self._control, reference_id)
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
                    **hold_ended(row, self._control.now(connection)),
                )
            )

        self._control.run(write)
        return self.find(reference_id).request


def lock_request(connection: Connection, control: Controller, reference_id: str) -> RowMapping:
    """A request's row, locked until the transaction ends. Raises ``RequestNotFound``."""
    query = sa.select(*_LOCKED_COLUMNS).where(reference_is(control, reference_id))
    row = connection.execute(query.with_for_update()).mappings().first()
    if row is None or not is_reference(row["gdpr_reference_id"], reference_id):
        raise not_found(reference_id)
    return row


def hold_ended(row: RowMapping, now: datetime) -> dict[str, Any]:
    """What an UPDATE sets to end the hold of a locked row; nothing when there is none."""
    if row["held_at"] is None:
        return {}
    held_at = known(row["held_at"]) or now
    seconds = max(1, int((now - held_at).total_seconds()))
    return {"held_at": None, "held_seconds": row["held_seconds"] + seconds}


_ATTEMPT_COLUMNS: Final = [
    readable(column) if isinstance(column.type, UtcDateTime) else column for column in ATTEMPTS.c
]


def _shown(attempt: RowMapping) -> dict[str, Any]:
    """An attempt by its columns' names; None for a time that is no date."""
    return {name: None if value == NO_DATE else value for name, value in attempt.items()}


# Without requested_at, as in CLAIM_COLUMNS: what is no date must not stop a cancellation.
_LOCKED_COLUMNS: Final = (
    REQUESTS.c.id,
    REQUESTS.c.gdpr_reference_id,
    REQUESTS.c.status,
    REQUESTS.c.claimed_from,
    REQUESTS.c.export_state,
    as_stored(REQUESTS.c.completed_at),
    readable(REQUESTS.c.extended_at),
    readable(REQUESTS.c.held_at),
    REQUESTS.c.held_seconds,
    REQUESTS.c.hold_reason,
    readable(REQUESTS.c.delivered_at),
    readable(REQUESTS.c.legal_hold_at),
    REQUESTS.c.legal_hold_reason,
)


def not_found(reference_id: str) -> RequestNotFound:
    return RequestNotFound(
        f"there is no request with the reference {reference_id!r}; see: dsar list"
    )


def _usable(reference: str) -> str:
    if not is_usable_reference(reference):
        raise BadReference(
            f"{reference!r} cannot be a reference: it starts with a letter or digit and holds "
            "up to 100 letters, digits, '.', '_' and '-'"
        )
    return reference


def _new_reference() -> str:
    return "DSAR-" + "".join(secrets.choice(_ALPHABET) for _ in range(12))
