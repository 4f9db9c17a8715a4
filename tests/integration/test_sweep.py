"""One sweep, step by step: what it may do, in which order, and what ends it early."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from backend.errors import DiskFull, RootNotOurs, SectionError
from backend.services import dsar_collectors
from backend.services.assembly import Services
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.lease import Watch
from backend.services.ownership import require_own_root
from scheduler import sweep as sweep_module
from scheduler.job_process import WORKER_FAILED
from scheduler.sweep import Slot, SweepResult, Tally, Task, Trouble, run_slot, run_sweep
from scheduler.workers import Parked, _Pool, _Worker
from tests.factories import Person
from tests.harness import World
from tests.integration.test_claims import expire_lease, now_of, take
from tests.integration.test_retention import age

SECRET = "bob@example.org"
RunSlots = Callable[[Task], tuple[Tally, Trouble | None]]


def a_slot(**options: Any) -> Slot:
    return Slot(**{"watch": Watch(), "draining": lambda: False, **options})


def nothing_to_run(_: Task) -> tuple[Tally, Trouble | None]:
    return Tally(), None


def sweep(
    services: Services, run_slots: RunSlots = nothing_to_run, *, prune: bool = True, **slot: Any
) -> SweepResult:
    return run_sweep(services.runtime, run_slots=run_slots, prune=prune, slot=a_slot(**slot))


def broken_declaration(*_: Any) -> Any:
    raise SectionError("sections.toml: there is no such column")


def expired_export(world: World, services: Services) -> None:
    world.people(Person(7, runs=1))
    world.request(7, "OLD")
    assert persist_dsar_export("OLD")["ok"]
    age(world, "OLD", services, timedelta(days=5000))


def test_sweep_deletes_what_a_lost_worker_staged(world: World) -> None:
    request_id = world.request(7, "R")
    with world.services() as services:
        require_own_root(services.controller, services.store)
        claim = take(services)
        with services.store.stage(request_id, claim.token) as file:
            file.write(b"whole, but never recorded")
        (world.exports / ".versions" / f"{request_id}.{claim.token}.part").touch()
        expire_lease(world, request_id)
        assert sweep(services).reclaimed == 1
    assert world.versions() == []


def test_sweep_counts_who_failed_while_being_reclaimed(world: World) -> None:
    requests = [world.request(7, name) for name in ("FIRST", "SECOND")]
    with world.services(max_attempts=1) as services:
        for request_id in requests:
            take(services)
            expire_lease(world, request_id)
        result = sweep(services)
    assert (result.reclaimed, result.failed_while_reclaiming, result.failed) == (2, 2, 2)
    assert result.as_dict()["failed"] == 2


def test_sweep_runs_what_it_reclaimed(world: World) -> None:
    """Its cutoff comes after the reclaim, or a reclaimed request waits for the next sweep."""
    request_id = world.request(7, "R")
    with world.services() as services:
        take(services)
        expire_lease(world, request_id)
        seen: list[Any] = []

        def run(task: Task) -> tuple[Tally, Trouble | None]:
            seen.append(services.claims.claim_due(task.cutoff, worker="w:2"))
            return Tally(), None

        sweep(services, run)
    assert [claim.reference_id for claim in seen] == ["R"]


@pytest.mark.parametrize(
    ("options", "run"),
    [
        ({"prune": False}, nothing_to_run),
        ({"draining": lambda: True}, nothing_to_run),
        ({}, lambda task: (Tally(), Trouble("disk_full", "the disk is full"))),
    ],
)
def test_sweep_that_is_not_to_prune_does_not(
    sqlite_world: World, options: dict[str, Any], run: RunSlots
) -> None:
    world = sqlite_world
    with world.services(retention_days=30) as services:
        expired_export(world, services)
        world.request(7, "DUE")
        assert sweep(services, run, **options).pruned == 0
        assert world.public("OLD").exists()
        assert sweep(services).pruned == 1
    assert not world.public("OLD").exists()


def test_sweep_that_drains_runs_nothing(sqlite_world: World) -> None:
    sqlite_world.request(7, "R")
    ran: list[Task] = []

    def run(task: Task) -> tuple[Tally, Trouble | None]:
        ran.append(task)
        return Tally(), None

    with sqlite_world.services() as services:
        sweep(services, run, draining=lambda: True)
        assert ran == []
        sweep(services, run)
    assert len(ran) == 1


def test_sweep_with_a_broken_declaration_runs_nothing(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_world.request(7, "R")
    ran: list[Task] = []
    monkeypatch.setattr(dsar_collectors, "collection", broken_declaration)
    with sqlite_world.services() as services, pytest.raises(SectionError):
        sweep(services, lambda task: ran.append(task) or (Tally(), None))  # type: ignore[func-returns-value]
    assert ran == []
    assert sqlite_world.row("R")["attempts"] == 0


def test_slot_with_a_broken_declaration_claims_nothing(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was well when the sweep began; a deployment came in between."""
    sqlite_world.request(7, "R")
    monkeypatch.setattr(dsar_collectors, "collection", broken_declaration)
    with sqlite_world.services() as services:
        tally, trouble = run_slot(services.runtime, Task("s", now_of(services)), a_slot())
    assert trouble is not None and "no such column" in trouble.message
    assert tally.claimed == 0
    row = sqlite_world.row("R")
    assert (row["status"], row["claim_token"]) == ("pending", 0)


def test_sweep_into_another_databases_root_claims_nothing(sqlite_world: World) -> None:
    sqlite_world.request(7, "R")
    with sqlite_world.services() as services:
        services.store.take("another", instead=True)
        with pytest.raises(RootNotOurs, match="another database's"):
            sweep(services)


def test_permission_takes_one_ticket_for_each_claim() -> None:
    tickets: list[int] = []
    may_claim = sweep_module._Permission(a_slot(take_ticket=lambda: tickets.append(1) or True))  # type: ignore[func-returns-value]
    assert may_claim() and may_claim() and len(tickets) == 1
    may_claim.use()
    assert may_claim() and len(tickets) == 2
    drained = sweep_module._Permission(a_slot(draining=lambda: True))
    assert not drained()


def test_trouble_quotes_nothing_that_a_driver_said() -> None:
    error = OperationalError("SELECT", {"email": SECRET}, Exception(f"row of {SECRET}"))
    trouble = sweep_module._trouble(error)
    assert SECRET not in trouble.message + trouble.code
    assert "make room" in sweep_module._trouble(DiskFull("/exports: full; make room")).message


# -- worker processes that die -----------------------------------------------------------------


def a_worker(**state: Any) -> _Worker:
    process = SimpleNamespace(join=lambda: None, pid=1, exitcode=-9)
    pipe = SimpleNamespace(close=lambda: None)
    return _Worker(process, pipe, **state)  # type: ignore[arg-type]


def a_pool(started: list[_Worker], *, draining: bool = False) -> _Pool:
    shutdown: Any = SimpleNamespace(requested=draining)
    settings: Any = None
    shared = Parked([], None, None)
    task: Any = None
    pool = _Pool(settings, shutdown, task, shared, lambda *_: None, lambda seconds: None)

    def start() -> _Worker:
        started.append(a_worker())
        return started[-1]

    vars(pool)["_start"] = start
    return pool


def test_pool_replaces_a_worker_that_died_at_work() -> None:
    started: list[_Worker] = []
    pool, dead = a_pool(started), a_worker(running=5, claimed=3)
    pool._live.append(dead)
    pool._end(dead)
    assert pool._live == started and len(started) == 1
    assert (pool._tally.claimed, pool._trouble) == (1, None)


def test_pool_counts_no_claim_of_a_worker_that_died_between_two() -> None:
    pool, dead = a_pool([]), a_worker(claimed=3)
    pool._live.append(dead)
    pool._end(dead)
    assert pool._tally.claimed == 0


def test_pool_replaces_no_worker_that_died_before_it_claimed_anything() -> None:
    """The next one would die as well, and the sweep would never end."""
    started: list[_Worker] = []
    pool, dead = a_pool(started), a_worker()
    pool._live.append(dead)
    pool._end(dead)
    assert pool._live == started == []
    assert pool._trouble is not None and pool._trouble.code == WORKER_FAILED


def test_pool_that_drains_replaces_nobody() -> None:
    started: list[_Worker] = []
    pool, dead = a_pool(started, draining=True), a_worker(running=5, claimed=3)
    pool._live.append(dead)
    pool._end(dead)
    assert pool._live == started == []
