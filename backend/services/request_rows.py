"""The rows of a request and its attempts, as the statements that change them see them.

What ``claims``, ``requests``, ``retention`` and ``verification`` share: the tables, what a claim
reads, and the conditions that more than one statement has. Executes nothing but ``end_attempt``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from backend.failures import Failure
from backend.models import DSARAttempt, DSARRequest
from backend.services.control import Controller, aware
from backend.services.export_store import ADOPTED_TOKEN

REQUESTS: Final[sa.Table] = DSARRequest.__table__  # type: ignore[assignment]
ATTEMPTS: Final[sa.Table] = DSARAttempt.__table__  # type: ignore[assignment]
_PROCESSING: Final = DSARRequest.STATUS_PROCESSING

# Before it nobody asked: what is no date, and PostgreSQL's -infinity.
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)

# A row by its columns' names, read by SQLAlchemy or by ``together``.
ReadRow = RowMapping | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """Proof of the right to export one request, until the lease ends.

    Its repr shows neither the person nor the reference.
    """

    request_id: int
    token: int
    attempt: int
    worker: str
    claimed_from: str
    claimed_at: datetime
    user_id: Any = field(repr=False)
    reference_id: str | None = field(repr=False)
    sweep_id: str | None = None
    recorded_token: int | None = None
    interruptions: int = 0


def current(claim: Claim) -> sa.ColumnElement[bool]:
    """The condition that a claim is still the row's current one. Every later write has it."""
    r = REQUESTS.c
    return sa.and_(
        r.id == claim.request_id,
        r.status == DSARRequest.STATUS_PROCESSING,
        r.claim_token == claim.token,
    )


# The same for a statement that is built once and told at each execution: see ``key_of``. What it
# costs SQLAlchemy to build a statement anew is several times what it costs to run it (0.25 ms
# against 0.06 ms), and a small person's export has little else.
IS_CURRENT: Final = sa.and_(
    REQUESTS.c.id == sa.bindparam("of_request"),
    REQUESTS.c.status == _PROCESSING,
    REQUESTS.c.claim_token == sa.bindparam("of_token"),
)


def key_of(claim: Claim) -> dict[str, int]:
    """The parameters that name a claim in ``IS_CURRENT`` and its like."""
    return {"of_request": claim.request_id, "of_token": claim.token}


def same_subject(claim: Claim, row: ReadRow) -> bool:
    """Whether a locked row still names the person and the reference that it was claimed for.

    Compared here and not by the database, whose collation may take two for one; of another type it
    is another value.
    """
    return _is_same(row["user_id"], claim.user_id) and _is_same(
        row["gdpr_reference_id"], claim.reference_id
    )


def _is_same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right)


def expired(now: Any) -> sa.ColumnElement[bool]:
    """Processing, and nobody renews it. Without a lease it was put so by another program."""
    r = REQUESTS.c
    return sa.and_(
        r.status == DSARRequest.STATUS_PROCESSING,
        sa.or_(r.lease_expires_at < now, r.lease_expires_at.is_(None)),
    )


def reference_is(
    control: Controller, reference_id: str | sa.BindParameter[str]
) -> sa.ColumnElement[bool]:
    """The condition on the reference, without regard to case, such that its index serves it.

    Of a statement that is built once it is a parameter, to be given what ``as_indexed`` says.
    """
    column = REQUESTS.c.gdpr_reference_id
    wanted = as_indexed(control, reference_id) if isinstance(reference_id, str) else reference_id
    return (sa.func.lower(column) if _by_lower(control) else column) == wanted


def is_reference(found: str | None, wanted: str) -> bool:
    """Whether a row that ``reference_is`` found goes by that reference.

    To be asked of each: MariaDB's collation may take other letters for one, too, and blanks.
    """
    return found is not None and found.lower() == wanted.lower()


def as_indexed(control: Controller, reference_id: str) -> str:
    """The reference as its index has it."""
    return reference_id.lower() if _by_lower(control) else reference_id


def _by_lower(control: Controller) -> bool:
    return control.engine.dialect.name in ("sqlite", "postgresql")


def retention_order(control: Controller) -> list[sa.Column[Any]]:
    """The oldest export first, of those without a legal hold, such that its index gives it sorted.

    ``legal_hold_at`` is NULL in all of them; only PostgreSQL wants it named, MariaDB then sorts.
    """
    if control.engine.dialect.name == "postgresql":
        return [REQUESTS.c.legal_hold_at, REQUESTS.c.exported_at]
    return [REQUESTS.c.exported_at]


def expired_before(before: datetime) -> sa.ColumnElement[bool]:
    """The condition that an export was made before that instant; never of one without a date."""
    return REQUESTS.c.exported_at.between(EARLIEST, before - timedelta(microseconds=1))


def oldest(statuses: Iterable[str], limit: int) -> sa.Subquery:
    """The ids of the ``limit`` oldest requests of each of these statuses, to be joined with.

    One walk of the claim's index for each: over several statuses at once the index gives no
    order, and a million pending requests were sorted for the first fifty.
    """
    r = REQUESTS.c
    walks = (
        sa.select(r.id)
        .where(r.status == status)
        .order_by(r.requested_at, r.id)
        .limit(limit)
        .subquery()
        for status in statuses
    )
    return sa.union_all(*(sa.select(walk.c.id) for walk in walks)).subquery("oldest")


def as_stored(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """A column of instants as the driver has it; for ``instant_or_none``.

    An application may have put into SQLite what is no date, and one such row must not keep all
    others from being read.
    """
    return sa.type_coerce(column, sa.types.NullType()).label(column.name)


def instant_or_none(value: Any) -> datetime | None:
    """What ``as_stored`` gave, as an aware instant in UTC; None for what is no date."""
    try:
        return None if value is None else aware(value)
    except (AttributeError, OverflowError, TypeError, ValueError):
        return None


# Stands for a time that is there and is no date: ``infinity``, 0000-00-00, a year past 9999.
NO_DATE: Final = datetime.min.replace(tzinfo=UTC)


class _AnyInstant(sa.types.TypeDecorator[datetime]):
    """An aware instant in UTC, or ``NO_DATE``."""

    impl = sa.types.NullType
    cache_ok = True

    def process_result_value(self, value: Any, dialect: sa.engine.Dialect) -> datetime | None:
        return None if value is None else instant_or_none(value) or NO_DATE


def readable(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """A column of instants such that no value of it keeps a row from being read.

    It gives ``NO_DATE`` for what is no date: whether there is a value may decide something.
    """
    return sa.type_coerce(column, _AnyInstant()).label(column.name)


def known(instant: datetime | None) -> datetime | None:
    """What ``readable`` gave; None for what is no date."""
    return None if instant == NO_DATE else instant


UNCLAIMED: Final[dict[str, Any]] = {
    "claimed_from": None,
    "claimed_by": None,
    "claimed_at": None,
    "lease_expires_at": None,
}

# Never requested_at: on SQLite it may hold a text that is no date, and the conversion would raise
# here, where one bad row would block all others.
CLAIM_COLUMNS: Final = (
    REQUESTS.c.id,
    REQUESTS.c.user_id,
    REQUESTS.c.gdpr_reference_id,
    REQUESTS.c.status,
    REQUESTS.c.attempts,
    REQUESTS.c.interruptions,
    REQUESTS.c.claim_token,
    REQUESTS.c.claimed_from,
    REQUESTS.c.export_claim_token,
    REQUESTS.c.export_state,
)


def claim_of(row: ReadRow, *, token: int, worker: str, sweep_id: str | None) -> Claim:
    """The claim under a new token of a row read by ``CLAIM_COLUMNS`` and ``now``."""
    return Claim(
        request_id=row["id"],
        token=token,
        attempt=row["attempts"] + 1,
        worker=worker,
        claimed_from=row["status"],
        claimed_at=aware(row["now"]),
        user_id=row["user_id"],
        reference_id=row["gdpr_reference_id"],
        sweep_id=sweep_id,
        recorded_token=recorded_token(row),
        interruptions=row["interruptions"],
    )


def lost_claim(row: ReadRow, now: datetime) -> Claim:
    """The claim that an expired row was under. Without a ``claimed_from`` it came from pending."""
    return Claim(
        request_id=row["id"],
        token=row["claim_token"],
        attempt=row["attempts"],
        worker=row["claimed_by"] or "",
        claimed_from=row["claimed_from"] or DSARRequest.STATUS_PENDING,
        claimed_at=now,
        user_id=row["user_id"],
        reference_id=row["gdpr_reference_id"],
        recorded_token=recorded_token(row),
        interruptions=row["interruptions"],
    )


def recorded_token(row: ReadRow) -> int | None:
    """The token of the version on record; None without one, or once its file was pruned."""
    if row["export_state"] == DSARRequest.EXPORT_UNVERIFIED:
        return ADOPTED_TOKEN
    if row["export_state"] != DSARRequest.EXPORT_RECORDED:
        return None
    token: int | None = row["export_claim_token"]
    return token


def error_columns(failure: Failure) -> dict[str, str]:
    """What an attempt's row keeps of a failure: never its message."""
    return {
        "error_code": failure.code,
        "error_class": failure.error_class,
        "error_at": failure.error_at,
    }


def end_attempt(
    connection: Connection, claim: Claim, now: datetime, outcome: str, **values: Any
) -> None:
    """Close the attempt's row, if it is still open."""
    connection.execute(*ending_attempt(claim, now, outcome, **values))


def ending_attempt(
    claim: Claim, now: datetime, outcome: str, **values: Any
) -> tuple[sa.Update, dict[str, Any]]:
    """As ``end_attempt``, to be executed: the statement, and its parameters."""
    duration_ms = max(0, int((now - claim.claimed_at).total_seconds() * 1000))
    ended = {"outcome": outcome, "finished_at": now, "duration_ms": duration_ms}
    return _END_ATTEMPT, key_of(claim) | ended | values


# SET is what the parameters name beside the key.
_END_ATTEMPT: Final = sa.update(ATTEMPTS).where(
    ATTEMPTS.c.request_id == sa.bindparam("of_request"),
    ATTEMPTS.c.claim_token == sa.bindparam("of_token"),
    ATTEMPTS.c.outcome == sa.literal(DSARAttempt.OUTCOME_RUNNING),
)
