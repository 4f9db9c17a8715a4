"""Claim, renew, release, record: every statement that changes a request.

Each verb is one short control transaction. A claim is a lease with a fencing token: the token
grows at each claim, and every later write names id, status *and* token and checks that it changed
one row, so a worker that was frozen past its lease changes nothing.

What two workers compare is the database's time, read once per transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from backend.errors import (
    BusyError,
    DatabaseBusy,
    DatabaseUnreachable,
    LeaseLost,
    RequestNotFound,
    Superseded,
    WrongState,
)
from backend.failures import Failure
from backend.models import DSARAttempt, DSARRequest
from backend.services.control import Controller, aware
from backend.services.export_store import Version
from backend.services.request_rows import (
    ATTEMPTS,
    CLAIM_COLUMNS,
    IS_CURRENT,
    REQUESTS,
    UNCLAIMED,
    Claim,
    ReadRow,
    claim_of,
    current,
    end_attempt,
    ending_attempt,
    error_columns,
    expired,
    key_of,
    lost_claim,
    recorded_token,
    reference_is,
)
from backend.services.retry_policy import RetryPolicy
from backend.services.together import Answer, Step, together

_PENDING: Final = DSARRequest.STATUS_PENDING
_PROCESSING: Final = DSARRequest.STATUS_PROCESSING
_COMPLETED: Final = DSARRequest.STATUS_COMPLETED
_FAILED: Final = DSARRequest.STATUS_FAILED
_CANCELLED: Final = DSARRequest.STATUS_CANCELLED

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
    planned (failed, released, or the earlier record stands).
    """

    outcome: str
    retry_in_seconds: float | None = None


# Built once; SET is what the parameters name beside the key. See ``IS_CURRENT``.
_TAKE: Final = (
    sa.update(REQUESTS)
    .where(REQUESTS.c.id == sa.bindparam("of_request"))
    .values(attempts=REQUESTS.c.attempts + 1)
)
_OPEN_ATTEMPT: Final = sa.insert(ATTEMPTS)
_RECORD: Final = (
    sa.update(REQUESTS)
    .where(IS_CURRENT)
    .values(
        completed_at=sa.func.coalesce(
            REQUESTS.c.completed_at, sa.bindparam("at", type_=REQUESTS.c.completed_at.type)
        )
    )
)


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


RepairLink = Callable[[str, int, int | None], object]


class Claims:
    """The verbs. ``lease_seconds`` is how long a claim lives without a renewal."""

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
        self._lock = sa.select(r.id, now).where(IS_CURRENT).with_for_update()

    # -- claiming ----------------------------------------------------------------------------

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
            sa.select(*CLAIM_COLUMNS, r.held_at, r.legal_hold_at, now)
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
            return connection.execute(query).mappings().first()

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

    def _take_following(
        self, connection: Connection, following: Following, row: ReadRow | None
    ) -> Claim | None:
        if row is None and following.after is not None:
            # Nothing after the last: perhaps something before it, released meanwhile.
            (oldest,) = together(connection, (self._due, {"cutoff": following.cutoff}))
            row = oldest.row
        if row is None:
            return None
        token = row["claim_token"] + 1
        return self._take(connection, row, token, following.worker, following.sweep_id)

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

    def _write_claim(self, connection: Connection, claim: Claim) -> None:
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
        together(connection, (_TAKE, taken), (_OPEN_ATTEMPT, attempt))

    # -- holding -----------------------------------------------------------------------------

    def renew(self, claim: Claim) -> None:
        """Extend the lease from now. Raises ``LeaseLost`` when the claim is no longer current."""

        def extend(connection: Connection) -> int:
            expires = self._control.now(connection) + self._lease
            return connection.execute(
                sa.update(REQUESTS).where(current(claim)).values(lease_expires_at=expires)
            ).rowcount

        if self._control.run(extend) != 1:
            raise LeaseLost("the claim is no longer current: cancelled, deleted or taken over")

    # -- ending ------------------------------------------------------------------------------

    def record(
        self,
        claim: Claim,
        version: Version,
        rows: int,
        publish: Callable[[], str],
        *,
        patience: Callable[[], None],
        following: Following | None = None,
    ) -> str:
        """Publish a durable version and record it as the request's export: COMMIT decides.

        ``publish`` points the public link at the version and returns where it is; it is called
        with the row locked, and may be called again. ``following`` is the claim to take in the
        same transaction, so that COMMIT decides about both; its fields are set on return. Raises
        ``Superseded`` when the claim is no longer current (nothing was recorded);
        ``OutcomeUnknown`` when the answer to the COMMIT was lost and ``patience``, called before
        every further look, raised that: a claim that followed, if it took effect, is reclaimed.
        """
        path = ""
        tries = 0
        found: tuple[bool, Claim | None] = (False, None)

        def write(connection: Connection) -> None:
            nonlocal path, tries, found
            tries, found = tries + 1, (False, None)
            now = self._lock_current(connection, claim)["now"]
            path = publish()
            steps = [self._recording(claim, version, path, now)]
            steps.append(
                ending_attempt(
                    claim,
                    now,
                    DSARAttempt.OUTCOME_COMPLETED,
                    rows=rows,
                    bytes=version.size,
                    sha256=version.sha256,
                )
            )
            # Only at the first try: no record fails for the sake of the next claim.
            if following is not None and tries == 1 and following.wanted():
                *_, due = self._write_record(connection, *steps, self._next_due(following))
                found = True, self._take_following(connection, following, due.row)
            else:
                self._write_record(connection, *steps)

        while True:
            try:
                self._control.run(write)
                break
            except IntegrityError:
                if tries > 1:
                    raise
                # The next one's number was another's before; ``claim_due`` knows what to do.
            except DatabaseUnreachable:
                # The COMMIT may be on its way still. Only a read that waits for the row's lock
                # can tell; a plain one could show the row as it was.
                if self._was_recorded(claim, patience):
                    break
        if following is not None:
            following.looked, following.claim = found
        return path

    def _was_recorded(self, claim: Claim, patience: Callable[[], None]) -> bool:
        """Settle a lost COMMIT by a locking read. Raises ``Superseded`` if somebody else won."""
        while True:
            patience()
            try:
                with self._control.begin() as connection:
                    row = (
                        connection.execute(
                            sa.select(
                                REQUESTS.c.status,
                                REQUESTS.c.claim_token,
                                REQUESTS.c.export_claim_token,
                            )
                            .where(REQUESTS.c.id == claim.request_id)
                            .with_for_update()
                        )
                        .mappings()
                        .first()
                    )
            except (DatabaseUnreachable, DatabaseBusy):
                continue
            if row is not None and row["export_claim_token"] == claim.token:
                return True
            if row is None or row["status"] != _PROCESSING or row["claim_token"] != claim.token:
                raise Superseded("the claim was taken over while its record was in doubt")
            return False

    def _recording(self, claim: Claim, version: Version, path: str, now: datetime) -> Step:
        recorded = {
            "status": _COMPLETED,
            "exported_at": now,
            "export_bytes_size": version.size,
            "export_sha256": version.sha256,
            "export_storage_path": path,
            "export_claim_token": claim.token,
            "export_state": DSARRequest.EXPORT_RECORDED,
            "last_error": None,
            "at": now,
        }
        return _RECORD, key_of(claim) | UNCLAIMED | recorded

    def _write_record(self, connection: Connection, *steps: Step) -> list[Answer]:
        """Write the record, which is the first of the steps, and what goes with it."""
        answers = together(connection, *steps)
        if answers[0].changed != 1:
            raise Superseded("the claim is no longer current")
        return answers

    def dispose(self, claim: Claim, failure: Failure, *, permanent: bool) -> Disposal:
        """End a claim whose attempt failed: plan a retry, or fail for good.

        A request that was completed before stays so, its record untouched. Raises ``Superseded``
        when the claim is no longer current.
        """
        delay = None if permanent else self._policy.delay_seconds(claim.attempt)

        def write(connection: Connection) -> Disposal:
            now = self._lock_current(connection, claim)["now"]
            disposal = self._after_failure(connection, claim, failure.summary(), now, delay)
            end_attempt(connection, claim, now, disposal.outcome, **error_columns(failure))
            return disposal

        return self._control.run(write)

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
        backs off. Raises ``Superseded`` when the claim is no longer current.
        """
        times = claim.interruptions + 1 if interrupted else 0

        def write(connection: Connection) -> Disposal:
            now = self._lock_current(connection, claim)["now"]
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

    def relink(self, request_id: int, repair_link: RepairLink) -> bool:
        """Make the public link what the record says, with the row locked.

        For a publisher whose COMMIT failed, and for ``verify``. Returns what ``repair_link``
        says: whether the link had to be changed. A request that is gone has nothing to repair.
        """

        def write(connection: Connection) -> bool:
            query = sa.select(*CLAIM_COLUMNS).where(REQUESTS.c.id == request_id)
            row = connection.execute(query.with_for_update()).mappings().first()
            if row is None or row["gdpr_reference_id"] is None:
                return False
            return bool(repair_link(row["gdpr_reference_id"], request_id, recorded_token(row)))

        return self._control.run(write)

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

    def _lock_current(self, connection: Connection, claim: Claim) -> dict[str, Any]:
        """Lock the claim's row. Raises ``Superseded`` unless the claim is still current."""
        row = together(connection, (self._lock, key_of(claim)))[0].row
        if row is None:
            raise Superseded("the claim is no longer current: cancelled, deleted or taken over")
        return {"now": aware(row["now"])}
