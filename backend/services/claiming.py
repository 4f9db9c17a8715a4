"""Taking requests: the next that is due, one by its reference, or the one after another's record.

Each is one short control transaction, or a part of one; see ``claims``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from backend.errors import BusyError, RequestNotFound, WrongState
from backend.models import DSARAttempt, DSARRequest
from backend.services.control import Controller
from backend.services.request_rows import (
    ATTEMPTS,
    CLAIM_COLUMNS,
    IS_CURRENT,
    REQUESTS,
    Claim,
    ReadRow,
    claim_of,
    is_reference,
    readable,
    recorded_token,
    reference_is,
)
from backend.services.retry_policy import RetryPolicy
from backend.services.subject_digest import digest_key
from backend.services.together import Step, together

_PENDING: Final = DSARRequest.STATUS_PENDING
_PROCESSING: Final = DSARRequest.STATUS_PROCESSING
_CANCELLED: Final = DSARRequest.STATUS_CANCELLED


# Built once; SET is what the parameters name beside the key. See ``IS_CURRENT``.
_TAKE: Final = (
    sa.update(REQUESTS)
    .where(REQUESTS.c.id == sa.bindparam("of_request"))
    .values(attempts=REQUESTS.c.attempts + 1)
)
_OPEN_ATTEMPT: Final = sa.insert(ATTEMPTS)


@dataclass(slots=True)
class Following:
    """The claim after this one, taken in the transaction that records this one.

    A COMMIT is a flush of the database's log; a request that has one for its record and for the
    next one's claim needs half as many. ``wanted`` is asked, just before the record is written,
    whether to look for a request that was due at ``cutoff``, from ``after`` on in the claim's order
    (and from the oldest, if there is none). Afterwards ``looked`` says whether that was
    done, and ``claim`` is what was found: to be run or released by whoever recorded.
    """

    cutoff: datetime
    worker: str
    sweep_id: str | None
    wanted: Callable[[], bool]
    after: Claim | None = None
    looked: bool = False
    claim: Claim | None = None


class Claiming:
    """The verbs that take a request. ``lease_seconds``: how long a claim lives unrenewed."""

    def __init__(
        self, controller: Controller, *, lease_seconds: float, policy: RetryPolicy
    ) -> None:
        self._control = controller
        self._lease = timedelta(seconds=lease_seconds)
        self._policy = policy
        r, now = REQUESTS.c, controller.instant().label("now")
        self._due = (
            sa.select(*CLAIM_COLUMNS, now)
            .where(r.status == _PENDING, r.next_attempt_at <= sa.bindparam("cutoff"))
            .order_by(r.requested_at, r.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        last = REQUESTS.alias("last")
        after = sa.bindparam("after", type_=r.id.type)
        # Its time never leaves the database, where it may be one that Python has no word for. The
        # first condition is for MariaDB, which finds no place in an index by the second.
        time = sa.select(last.c.requested_at).where(last.c.id == after).scalar_subquery()
        self._due_after = self._due.where(
            r.requested_at >= time, sa.tuple_(r.requested_at, r.id) > sa.tuple_(time, after)
        )
        # Who it is about, for ``same_subject``, and what the digest of that is keyed with: read by
        # the statement that every later write begins with.
        self._lock = (
            sa.select(r.id, now, r.user_id, r.gdpr_reference_id, digest_key.label("digest_key"))
            .where(IS_CURRENT)
            .with_for_update()
        )

    def claim_due(
        self, cutoff: datetime, *, worker: str, sweep_id: str | None = None
    ) -> Claim | None:
        """Take the oldest request that was due at ``cutoff``; None when none is to be had.

        Requests that another worker is looking at right now are passed over, not waited for.
        """

        def find(connection: Connection) -> ReadRow | None:
            return connection.execute(self._due, {"cutoff": cutoff}).mappings().first()

        return self._claim(find, worker=worker, sweep_id=sweep_id, check=None)

    def claim_reference(self, reference_id: str, *, worker: str) -> Claim:
        """Take one request by its reference: pending, failed, or completed (to export it again).

        Raises ``RequestNotFound``; ``BusyError`` when another worker is exporting it;
        ``WrongState`` when it is cancelled or held, or its file is under a legal hold.
        """
        r = REQUESTS.c
        now = self._control.instant().label("now")
        query = (
            sa.select(*CLAIM_COLUMNS, readable(r.held_at), readable(r.legal_hold_at), now)
            .where(reference_is(self._control, reference_id))
            .with_for_update()
        )

        def check(row: ReadRow) -> None:
            if row["status"] == _PROCESSING:
                raise BusyError(f"{reference_id} is being exported by another worker; try later")
            if row["status"] == _CANCELLED:
                raise WrongState(f"{reference_id} is cancelled; open a new request")
            if row["held_at"] is not None:
                raise WrongState(f"{reference_id} is held; to go on: dsar resume {reference_id}")
            if row["legal_hold_at"] is not None and recorded_token(row) is not None:
                raise WrongState(
                    f"the file of {reference_id} is under a legal hold, and a new export would "
                    f"replace it; to end the hold: dsar legal-hold {reference_id} --release"
                )

        def find(connection: Connection) -> ReadRow | None:
            row = connection.execute(query).mappings().first()
            known = row is not None and is_reference(row["gdpr_reference_id"], reference_id)
            return row if known else None

        claim = self._claim(find, worker=worker, sweep_id=None, check=check)
        if claim is None:
            raise RequestNotFound(f"there is no request with the reference {reference_id!r}")
        return claim

    def _claim(
        self,
        find: Callable[[Connection], ReadRow | None],
        *,
        worker: str,
        sweep_id: str | None,
        check: Callable[[ReadRow], None] | None,
    ) -> Claim | None:
        def take(connection: Connection, *, numbers_reused: bool = False) -> Claim | None:
            row = find(connection)
            if row is None:
                return None
            if check is not None:
                check(row)
            last = row["claim_token"]
            if numbers_reused:
                last = max(last, self._last_token(connection, row["id"]))
            return self._take(connection, row, last + 1, worker, sweep_id)

        try:
            return self._control.run(take)
        except IntegrityError:
            # The trail has this (id, token) already: the row was deleted, and its number given
            # to another. Tokens must still only grow.
            return self._control.run(lambda connection: take(connection, numbers_reused=True))

    def _find_following(
        self, connection: Connection, following: Following, row: ReadRow | None
    ) -> Claim | None:
        """The claim to be written next, by the row that was found after the last, if one was."""
        if row is None and following.after is not None:
            # Nothing after the last: perhaps something before it, released meanwhile.
            (oldest,) = together(connection, (self._due, {"cutoff": following.cutoff}))
            row = oldest.row
        if row is None:
            return None
        token = row["claim_token"] + 1
        return claim_of(row, token=token, worker=following.worker, sweep_id=following.sweep_id)

    def _next_due(self, following: Following) -> Step:
        """What finds the next one that is due: in the claim's order after the last, if any.

        Whoever starts at the oldest each time walks over what earlier claims left in the index,
        which PostgreSQL cannot clear while any snapshot is open: beside one, 60,000 claims made
        the next one 650 pages long, and the claims of ten thousand requests took two minutes.
        """
        cutoff: dict[str, Any] = {"cutoff": following.cutoff}
        if following.after is None:
            return self._due, cutoff
        return self._due_after, cutoff | {"after": following.after.request_id}

    def _take(
        self,
        connection: Connection,
        row: ReadRow,
        token: int,
        worker: str,
        sweep_id: str | None,
    ) -> Claim:
        claim = claim_of(row, token=token, worker=worker, sweep_id=sweep_id)
        self._write_claim(connection, claim)
        return claim

    def _last_token(self, connection: Connection, request_id: int) -> int:
        query = sa.select(sa.func.max(ATTEMPTS.c.claim_token)).where(
            ATTEMPTS.c.request_id == request_id
        )
        return int(connection.execute(query).scalar() or 0)

    def _write_claim(self, connection: Connection, claim: Claim, *, last: bool = False) -> None:
        """Write a claim whose row is locked; ``last``: see ``together``."""
        taken = {
            "of_request": claim.request_id,
            "status": _PROCESSING,
            "claim_token": claim.token,
            "claimed_from": claim.claimed_from,
            "claimed_by": claim.worker,
            "claimed_at": claim.claimed_at,
            "lease_expires_at": claim.claimed_at + self._lease,
        }
        attempt = {
            "request_id": claim.request_id,
            "claim_token": claim.token,
            "attempt": claim.attempt,
            "sweep_id": claim.sweep_id,
            "worker": claim.worker,
            "started_at": claim.claimed_at,
            "outcome": DSARAttempt.OUTCOME_RUNNING,
        }
        together(connection, (_TAKE, taken), (_OPEN_ATTEMPT, attempt), last=last)
