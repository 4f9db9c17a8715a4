"""Claim, renew, release, record: every statement that changes a request.

What claims is in ``claiming``, what records in ``recording``, the others are here. Each verb is one
short control transaction. A claim is a lease with a fencing token: the token grows at each claim,
and every later write names id, status *and* token and checks that it changed one row, so a worker
that was frozen past its lease changes nothing.

What two workers compare is the database's time, read once per transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from backend.errors import WrongSubject
from backend.failures import Failure, failure_of
from backend.models import DSARAttempt, DSARRequest
from backend.services.recording import Recording, wrong_subject
from backend.services.request_rows import (
    CLAIM_COLUMNS,
    REQUESTS,
    UNCLAIMED,
    Claim,
    ReadRow,
    current,
    end_attempt,
    error_columns,
    expired,
    lost_claim,
    recorded_token,
    reference_is,
    same_subject,
)

_PENDING: Final = DSARRequest.STATUS_PENDING
_COMPLETED: Final = DSARRequest.STATUS_COMPLETED
_FAILED: Final = DSARRequest.STATUS_FAILED

WORKER_LOST: Final = "worker_lost"
# A drain is nobody's failure, but a request that is interrupted at every deployment is never
# answered: past this many interruptions it backs off and is reported.
MAX_INTERRUPTIONS: Final = 5


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """An expired claim that was taken away. ``failed``: it was the last one allowed."""

    request_id: int
    token: int
    failed: bool


@dataclass(frozen=True, slots=True)
class Disposal:
    """What became of a claim that did not complete.

    ``outcome`` is one of ``DSARAttempt.OUTCOME_*``; ``retry_in_seconds`` is None where nothing is
    planned (failed, released, or the earlier record stands). ``wrong_subject`` is set where the row
    names another person or reference by now: it failed for that, whatever else had happened.
    """

    outcome: str
    retry_in_seconds: float | None = None
    wrong_subject: WrongSubject | None = None


RepairLink = Callable[[str, int, int | None], object]


class Claims(Recording):
    """All verbs. ``lease_seconds`` is how long a claim lives without a renewal."""

    # -- holding -----------------------------------------------------------------------------

    def renew(self, claim: Claim) -> None:
        """Extend the lease from now.

        Raises ``Superseded`` when the claim is no longer current, ``WrongSubject`` when its row
        names another person or reference by now: the work is in vain.
        """

        def extend(connection: Connection) -> None:
            row = self._lock_current(connection, claim)
            if not same_subject(claim, row):
                raise wrong_subject(claim)
            connection.execute(
                sa.update(REQUESTS)
                .where(current(claim))
                .values(lease_expires_at=row["now"] + self._lease)
            )

        self._control.run(extend)

    # -- ending ------------------------------------------------------------------------------

    def dispose(self, claim: Claim, failure: Failure, *, permanent: bool) -> Disposal:
        """End a claim whose attempt failed: plan a retry, or fail for good.

        A request that was completed before stays so, its record untouched. Where its row names
        another person or reference by now, it fails for good as ``wrong_subject``. Raises
        ``Superseded`` when the claim is no longer current.
        """
        delay = None if permanent else self._policy.delay_seconds(claim.attempt)

        def write(connection: Connection) -> Disposal:
            row = self._lock_current(connection, claim)
            if not same_subject(claim, row):
                return self._fail_as_wrong(connection, claim, row["now"])
            return self._fail(connection, claim, failure, row["now"], delay)

        return self._control.run(write)

    def _fail(
        self,
        connection: Connection,
        claim: Claim,
        failure: Failure,
        now: datetime,
        delay: float | None,
    ) -> Disposal:
        disposal = self._after_failure(connection, claim, failure.summary(), now, delay)
        end_attempt(connection, claim, now, disposal.outcome, **error_columns(failure))
        return disposal

    def _fail_as_wrong(self, connection: Connection, claim: Claim, now: datetime) -> Disposal:
        """End a claim whose locked row names another person or reference than it was taken for."""
        error = wrong_subject(claim)
        return replace(
            self._fail(connection, claim, failure_of(error), now, None), wrong_subject=error
        )

    def _after_failure(
        self,
        connection: Connection,
        claim: Claim,
        summary: str,
        now: datetime,
        delay: float | None,
        **values: Any,
    ) -> Disposal:
        """Write what a failed (or lost) claim leaves behind, the row being locked."""
        if claim.claimed_from == _COMPLETED:
            values |= {"status": _COMPLETED, "attempts": REQUESTS.c.attempts - 1}
            disposal = Disposal(DSARAttempt.OUTCOME_FAILED)
        elif delay is None or claim.claimed_from == _FAILED:
            values |= {"status": _FAILED, "last_error": summary}
            disposal = Disposal(DSARAttempt.OUTCOME_FAILED)
        else:
            retry_at = now + timedelta(seconds=delay)
            values |= {"status": _PENDING, "last_error": summary, "next_attempt_at": retry_at}
            disposal = Disposal(DSARAttempt.OUTCOME_RETRIED, delay)
        connection.execute(sa.update(REQUESTS).where(current(claim)).values(**values, **UNCLAIMED))
        return disposal

    def release(
        self, claim: Claim, failure: Failure | None = None, *, interrupted: bool = False
    ) -> Disposal:
        """Give a claim back unused: the request is as it was, and the attempt does not count.

        ``interrupted`` says that a drain did it; past ``MAX_INTERRUPTIONS`` of these the request
        backs off. Where the row names another person or reference by now, the request fails as
        ``wrong_subject`` instead: whom to export is for an operator to say. Raises ``Superseded``
        when the claim is no longer current.
        """
        times = claim.interruptions + 1 if interrupted else 0

        def write(connection: Connection) -> Disposal:
            row = self._lock_current(connection, claim)
            now = row["now"]
            if not same_subject(claim, row):
                return self._fail_as_wrong(connection, claim, now)
            delay = None
            values: dict[str, Any] = {"status": claim.claimed_from}
            if interrupted:
                values["interruptions"] = REQUESTS.c.interruptions + 1
            if times > MAX_INTERRUPTIONS and claim.claimed_from == _PENDING:
                delay = self._policy.backoff_seconds(times - MAX_INTERRUPTIONS)
                values["next_attempt_at"] = now + timedelta(seconds=delay)
            connection.execute(
                sa.update(REQUESTS)
                .where(current(claim))
                .values(attempts=REQUESTS.c.attempts - 1, **values, **UNCLAIMED)
            )
            errors = {} if failure is None else error_columns(failure)
            end_attempt(connection, claim, now, DSARAttempt.OUTCOME_RELEASED, **errors)
            return Disposal(DSARAttempt.OUTCOME_RELEASED, delay)

        return self._control.run(write)

    def abandon(self, claim: Claim) -> None:
        """Note in the trail that a claim ended without effect: another one is current now."""

        def write(connection: Connection) -> None:
            now = self._control.now(connection)
            end_attempt(connection, claim, now, DSARAttempt.OUTCOME_SUPERSEDED)

        self._control.run(write)

    def relink(self, request_id: int, repair_link: RepairLink, *, wait: bool = True) -> bool | None:
        """Make the public link what the record says, with the row locked.

        For a publisher whose COMMIT failed, and for ``verify``. Returns what ``repair_link``
        says: whether the link had to be changed. A request that is gone has nothing to repair.
        Without ``wait`` None is returned, and nothing done, where another transaction holds the
        row locked (on SQLite ``DatabaseBusy`` is raised all the same).
        """

        def write(connection: Connection) -> bool | None:
            query = sa.select(*CLAIM_COLUMNS).where(REQUESTS.c.id == request_id)
            locking = query.with_for_update(skip_locked=not wait)
            row = connection.execute(locking).mappings().first()
            if row is None:
                return None if not wait and connection.execute(query).first() else False
            if row["gdpr_reference_id"] is None:
                return False
            return bool(repair_link(row["gdpr_reference_id"], request_id, recorded_token(row)))

        return self._control.run(write)

    def relink_reference(
        self, reference_id: str, version: tuple[int, int], repair_link: RepairLink
    ) -> None:
        """Make the link of a reference what the record of its request says, with the row locked.

        For a claim that had put its ``version`` (request id and token) there, and whose request
        goes by another reference now. Without a request of that reference the link goes.
        """

        def write(connection: Connection) -> None:
            query = sa.select(*CLAIM_COLUMNS).where(reference_is(self._control, reference_id))
            row = connection.execute(query.with_for_update()).mappings().first()
            if row is None:
                repair_link(reference_id, version[0], None)
            elif row["id"] != version[0]:
                repair_link(row["gdpr_reference_id"], row["id"], recorded_token(row))

        self._control.run(write)

    # -- reclaiming --------------------------------------------------------------------------

    def reclaim_expired(self, *, limit: int, repair_link: RepairLink) -> list[Reclaimed]:
        """Take away claims whose lease has run out; their workers are dead, frozen or cut off.

        The first crash leaves a request due at once, later ones back off; with the last attempt
        used up it fails as ``worker_lost``. A row that somebody holds locked is passed over: a
        frozen worker must not stop every sweeper. ``repair_link(reference, id, recorded token)``
        is called with the row locked.
        """

        def take(connection: Connection) -> list[Reclaimed]:
            now = self._control.now(connection)
            query = (
                sa.select(*CLAIM_COLUMNS, REQUESTS.c.crashes, REQUESTS.c.claimed_by)
                .where(expired(now))
                .order_by(REQUESTS.c.lease_expires_at)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            rows = connection.execute(query).mappings().all()
            return [self._reclaim(connection, row, now, repair_link) for row in rows]

        return self._control.run(take)

    def _reclaim(
        self, connection: Connection, row: ReadRow, now: datetime, repair_link: RepairLink
    ) -> Reclaimed:
        lost = lost_claim(row, now)
        crashes = row["crashes"] + 1
        delay: float | None = 0.0 if crashes == 1 else self._policy.backoff_seconds(crashes - 1)
        if lost.attempt >= self._policy.max_attempts:
            delay = None
        disposal = self._after_failure(
            connection, lost, WORKER_LOST, now, delay, crashes=REQUESTS.c.crashes + 1
        )
        end_attempt(connection, lost, now, DSARAttempt.OUTCOME_LOST, error_code=WORKER_LOST)
        if lost.reference_id is not None:
            repair_link(lost.reference_id, lost.request_id, lost.recorded_token)
        failed = disposal.outcome == DSARAttempt.OUTCOME_FAILED and lost.claimed_from != _COMPLETED
        return Reclaimed(lost.request_id, lost.token, failed)
