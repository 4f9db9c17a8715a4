"""One bounded pass over what is due: reclaim, then claim and run, then report.

A sweep's cutoff is its start, so it meets a request at most once: one that failed is due again a
second later at the earliest. One request's failure never keeps another from its turn; trouble
that is not a request's own (database or disk out of reach) ends the sweep early.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from backend.errors import DatabaseUnreachable, DSARError, EnvironmentTrouble
from backend.extensions import Runtime
from backend.failures import failure_of
from backend.logs import get_logger
from backend.services.assembly import Services, worker_name
from backend.services.claiming import Following
from backend.services.lease import Watch
from backend.services.open_requests import DeadlineCounts, deadline_counts
from backend.services.outlook import look
from backend.services.ownership import require_own_root
from backend.services.request_rows import Claim
from backend.services.retention import SWEEPS, Retention

log = get_logger(__name__)

RECLAIM_LIMIT: Final = 100
# What one sweep prunes; the daily prune does the rest.
PRUNE_LIMIT: Final = 100


@dataclass(frozen=True, slots=True)
class Tally:
    """How many claims ended how."""

    claimed: int = 0
    completed: int = 0
    retried: int = 0
    failed: int = 0
    released: int = 0
    superseded: int = 0

    def plus(self, outcome: str | None) -> Tally:
        """One more claim; an ``outcome`` of None ended without one (its answer is unknown)."""
        counted = replace(self, claimed=self.claimed + 1)
        if outcome is None:
            return counted
        return replace(counted, **{outcome: getattr(counted, outcome) + 1})

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            *(
                mine + theirs
                for mine, theirs in zip(asdict(self).values(), asdict(other).values(), strict=True)
            )
        )


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is not a request's own fault and ends a sweep early.

    ``code`` is for logs and records; ``message`` explains it on a terminal: it may name a path or
    a database.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep did; ``trouble`` is what ended it early, or None.

    ``deadlines``: what is late, or nearly, after it; None where that could not be counted.
    """

    sweep_id: str
    tally: Tally = field(default_factory=Tally)
    reclaimed: int = 0
    pruned: int = 0
    duration_ms: int = 0
    trouble: Trouble | None = None
    failed_while_reclaiming: int = 0
    deadlines: DeadlineCounts | None = None

    @property
    def failed(self) -> int:
        """Requests that failed for good, those whose last worker was lost among them."""
        return self.tally.failed + self.failed_while_reclaiming

    def as_dict(self) -> dict[str, Any]:
        """What ``sweep --once`` prints."""
        return {
            "sweep_id": self.sweep_id,
            "claimed": self.tally.claimed,
            "completed": self.tally.completed,
            "retried": self.tally.retried,
            "failed": self.failed,
            "released": self.tally.released,
            "superseded": self.tally.superseded,
            "reclaimed": self.reclaimed,
            "pruned": self.pruned,
            "nearly_due": self.deadlines and self.deadlines.nearly_due,
            "overdue": self.deadlines and self.deadlines.overdue,
            "duration_ms": self.duration_ms,
            "error_code": None if self.trouble is None else self.trouble.code,
        }


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker needs to know to take part in a sweep; goes to other processes too."""

    sweep_id: str
    cutoff: datetime


@dataclass(frozen=True, slots=True)
class Slot:
    """One worker's way of running: how it is stopped, and whom it tells.

    ``draining`` says to claim nothing new. ``take_ticket`` is asked before each claim whether the
    sweep's limit allows another. ``started`` is told each claim, ``finished`` each result.
    ``beat`` is told, before each step, within how many seconds the next one is due.
    """

    watch: Watch
    draining: Callable[[], bool]
    take_ticket: Callable[[], bool] = lambda: True
    started: Callable[[Claim], None] = lambda claim: None
    finished: Callable[[Claim, dict[str, Any]], None] = lambda claim, result: None
    beat: Callable[[float], None] = lambda seconds: None


# Everything between two exports is short statements, each with a limit of its own.
STEP_SECONDS: Final = 300.0

RunSlots = Callable[[Task], tuple[Tally, Trouble | None]]


def run_sweep(runtime: Runtime, *, run_slots: RunSlots, prune: bool, slot: Slot) -> SweepResult:
    """Make one sweep and return what it did.

    ``run_slots`` claims and runs what is due at the task's cutoff, in this process or in others.
    Records a row in ``dsar_sweeps`` if anything was done. An empty sweep reads two statements and
    writes nothing. Raises ``ConfigurationError`` (the schema is not migrated, a section does not
    add up, the export root is another database's); database and store trouble does not raise but
    stands in ``trouble``. Safe beside any number of other sweeps.
    """
    started = runtime.clock.monotonic()
    result = SweepResult(sweep_id=str(uuid.uuid4()))
    try:
        slot.beat(STEP_SECONDS)
        result = _sweep(runtime, result, run_slots=run_slots, prune=prune, slot=slot)
    except (EnvironmentTrouble, DBAPIError) as error:
        result = replace(result, trouble=_trouble(error))
    return replace(result, duration_ms=int((runtime.clock.monotonic() - started) * 1000))


def _sweep(
    runtime: Runtime,
    result: SweepResult,
    *,
    run_slots: RunSlots,
    prune: bool,
    slot: Slot,
) -> SweepResult:
    services = Services.of(runtime)
    retention = Retention(
        services.controller,
        services.claims,
        services.store,
        retention_days=runtime.settings.retention_days,
    )
    outlook = look(services.controller, prune_before=retention.expires_before(runtime.clock.now()))
    cutoff = outlook.now
    if outlook.expired or outlook.due:
        require_own_root(services.controller, services.store)
    if outlook.expired:
        slot.beat(STEP_SECONDS)
        reclaimed, cutoff = _reclaim(services, cutoff)
        result = replace(
            result,
            reclaimed=len(reclaimed),
            failed_while_reclaiming=sum(1 for each in reclaimed if each),
        )
    trouble = None
    if (outlook.due or result.reclaimed) and not slot.draining():
        from backend.services.dsar_collectors import collection

        collection(runtime)  # what is wrong with the declaration is no request's failure
        tally, trouble = run_slots(Task(result.sweep_id, cutoff))
        result = replace(result, tally=tally)
    if prune and outlook.prunable and trouble is None and not slot.draining():
        slot.beat(STEP_SECONDS)
        try:
            result = replace(result, pruned=retention.prune_expired(limit=PRUNE_LIMIT))
        except (EnvironmentTrouble, DBAPIError) as error:
            trouble = _trouble(error)  # what was exported before stays told
    result = replace(result, trouble=trouble)
    if trouble is None:
        result = replace(result, deadlines=_count_deadlines(services))
    if result.tally.claimed or result.reclaimed:
        _record(services, result, outlook.now)
    return result


def _reclaim(services: Services, cutoff: datetime) -> tuple[list[bool], datetime]:
    """Reclaim once; return whether each failed for good, and a cutoff that includes the others."""
    reclaimed = services.claims.reclaim_expired(
        limit=RECLAIM_LIMIT, repair_link=services.store.repair_link
    )
    for each in reclaimed:
        log.warning("request_reclaimed", request_id=each.request_id, claim_token=each.token)
        # Its worker may be alive yet, and frozen; but it can record nothing any more.
        services.store.delete(each.request_id, each.token)
    now = services.controller.read(services.controller.now)
    return [each.failed for each in reclaimed], max(cutoff, now)


def run_slot(runtime: Runtime, task: Task, slot: Slot) -> tuple[Tally, Trouble | None]:
    """Claim and run what was due at the task's cutoff until nothing is, one after the other.

    Returns the tally, and the trouble that ended it, or None. Needs an application context.
    Raises nothing of a request's.
    """
    from backend.services.dsar_collectors import collection
    from backend.services.dsar_exporter import persist_dsar_export

    claims = Services.of(runtime).claims
    tally = Tally()
    worker = worker_name()
    export_seconds = runtime.settings.export_timeout_seconds + STEP_SECONDS
    claim: Claim | None = None
    may_claim = _Permission(slot)
    while claim is not None or may_claim():
        if claim is None:
            slot.beat(STEP_SECONDS)
            try:
                collection(runtime)
                claim = claims.claim_due(task.cutoff, worker=worker, sweep_id=task.sweep_id)
            except (DSARError, DBAPIError) as error:
                trouble = _trouble(error)
                log.warning("claim_failed", sweep_id=task.sweep_id, error_code=trouble.code)
                return tally, trouble
            if claim is None:
                break
        may_claim.use()
        slot.beat(export_seconds)
        slot.started(claim)
        following = Following(task.cutoff, worker, task.sweep_id, may_claim, after=claim)
        result = persist_dsar_export(
            claim.reference_id or "", claim=claim, watch=slot.watch, following=following
        )
        tally = tally.plus(result["outcome"])
        slot.finished(claim, result)
        claim = following.claim
        if claim is None and result.get("trouble"):
            return tally, Trouble(result["error_code"], result["error"])
        if claim is None and following.looked:
            break
    return tally, None


class _Permission:
    """Whether one more may be claimed. A ticket is taken once for each claim, used or not."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._held = False

    def __call__(self) -> bool:
        if self._slot.draining():
            return False
        self._held = self._held or self._slot.take_ticket()
        return self._held

    def use(self) -> None:
        self._held = False


def _count_deadlines(services: Services) -> DeadlineCounts | None:
    """That they cannot be counted takes nothing from what was done."""
    try:
        return deadline_counts(services.controller, zone=services.runtime.settings.zone)
    except (EnvironmentTrouble, DBAPIError) as error:
        log.warning("deadlines_not_counted", error_code=failure_of(error).code)
        return None


def tell_deadlines(counts: DeadlineCounts | None) -> None:
    """Log how many open requests are late, or will be within a week; nothing where none is."""
    if counts is None:
        return
    if counts.overdue:
        log.warning("requests_overdue", **counts._asdict())
    elif counts.nearly_due:
        log.info("requests_nearly_due", **counts._asdict())


def _trouble(error: Exception) -> Trouble:
    failure = failure_of(error)
    # A driver's own message may quote data; ours names what is to be mended.
    message = str(error) if isinstance(error, DSARError) else failure.summary()
    return Trouble(failure.code, message)


def _record(services: Services, result: SweepResult, started_at: datetime) -> None:
    """Write the sweep's row. That it cannot be written takes nothing from what was done."""
    try:
        services.controller.run(
            lambda connection: connection.execute(
                sa.insert(SWEEPS).values(
                    sweep_id=result.sweep_id,
                    worker=worker_name(),
                    started_at=started_at,
                    finished_at=(now := services.controller.now(connection)),
                    duration_ms=int((now - started_at).total_seconds() * 1000),
                    claimed=result.tally.claimed,
                    completed=result.tally.completed,
                    retried=result.tally.retried,
                    failed=result.failed,
                    released=result.tally.released,
                    reclaimed=result.reclaimed,
                    error_code=None if result.trouble is None else result.trouble.code,
                )
            )
        )
    except (DatabaseUnreachable, EnvironmentTrouble, DBAPIError) as error:
        log.warning("sweep_not_recorded", error_code=failure_of(error).code)
