"""Keeping a claim: renewals, a lost lease, the deadline, a hang, a drain."""

from __future__ import annotations

import os
import threading
import time
import warnings
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from backend.clock import SYSTEM_CLOCK
from backend.errors import DeadlineExceeded, Drained, LeaseLost, Superseded
from backend.services.assembly import Services
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.lease import LeaseKeeper, Watch
from backend.services.request_rows import Claim
from backend.services.requests import Requests
from tests.factories import Person
from tests.harness import REQUESTS, World, wait_for
from tests.unit.test_pulse import FakeClock


def keeper(services: Services, claim: Claim, **options: Any) -> LeaseKeeper:
    given: dict[str, Any] = {"lease_seconds": 0.4, "timeout_seconds": 60, "watch": Watch()}
    given |= options
    watch, clock = given.pop("watch"), given.pop("clock", SYSTEM_CLOCK)
    return LeaseKeeper(services.claims, claim, clock, watch, **given)


def test_keeper_renews_while_work_goes_on(world: World) -> None:
    world.request(7, "R")
    with world.services(lease_seconds=30) as services:
        claim = services.claims.claim_reference("R", worker="w:1")
        first = world.row("R")["lease_expires_at"]
        with keeper(services, claim) as kept:
            wait_for(lambda: world.row("R")["lease_expires_at"] > first, "a renewal")
            kept.checkpoint()


def test_keepers_one_after_the_other_share_a_thread_and_are_renewed(world: World) -> None:
    world.request(7, "R")
    before = renewers()
    with world.services(lease_seconds=30) as services:
        claim = services.claims.claim_reference("R", worker="w:1")
        for lease_seconds in (60, 0.4, 60, 0.2):
            first = world.row("R")["lease_expires_at"]
            with keeper(services, claim, lease_seconds=lease_seconds) as kept:
                if lease_seconds < 1:
                    wait_for(partial(expires_after, world, first), "a renewal")
                kept.checkpoint()
        with keeper(services, claim) as one, keeper(services, claim) as other:
            one.checkpoint()
            other.checkpoint()
    assert len(renewers()) <= max(len(before), 2)


def test_forked_process_starts_a_thread_of_its_own(world: World) -> None:
    world.request(7, "R")
    with world.services() as services:
        claim = services.claims.claim_reference("R", worker="w:1")
        with keeper(services, claim, lease_seconds=60):
            pass
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that threads do not come along
        child = os.fork()
    if child == 0:
        with keeper(services, claim, lease_seconds=60):
            os._exit(len(renewers()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def expires_after(world: World, instant: Any) -> bool:
    return bool(world.row("R")["lease_expires_at"] > instant)


def renewers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dsar-lease"]


def test_keeper_whose_row_was_taken_stops_the_work(world: World) -> None:
    world.request(7, "R")
    with world.services() as services:
        claim = services.claims.claim_reference("R", worker="w:1")
        with keeper(services, claim) as kept:
            with world.begin() as connection:
                connection.execute(sa.update(REQUESTS).values(claim_token=99))
            wait_for(lambda: kept._lost is not None, "the loss")
            with pytest.raises(Superseded):
                kept.checkpoint()


def test_keeper_that_cannot_renew_in_time_stops_the_work(sqlite_world: World) -> None:
    sqlite_world.request(7, "R")
    clock = FakeClock()
    with sqlite_world.services() as services:
        claim = services.claims.claim_reference("R", worker="w:1")
        kept = keeper(services, claim, clock=clock, lease_seconds=60)
        kept.checkpoint()
        clock.seconds += 61
        with pytest.raises(LeaseLost, match="in time"):
            kept.checkpoint()


def test_keeper_past_the_deadline_stops_and_then_calls_for_help(sqlite_world: World) -> None:
    sqlite_world.request(7, "R")
    helped = threading.Event()
    clock = FakeClock()
    with sqlite_world.services(lease_seconds=30) as services:
        claim = services.claims.claim_reference("R", worker="w:1")
        watch = Watch(on_hang=helped.set)
        with keeper(services, claim, clock=clock, watch=watch, timeout_seconds=0.1) as kept:
            kept._renewed_at = clock.seconds = clock.seconds + 0.2
            with pytest.raises(DeadlineExceeded, match="DSAR_EXPORT_TIMEOUT_SECONDS"):
                kept.checkpoint()
            assert not helped.is_set()
            clock.seconds += 1
            assert helped.wait(30)


def test_keeper_asked_to_stop_does(sqlite_world: World) -> None:
    sqlite_world.request(7, "R")
    with sqlite_world.services() as services:
        claim = services.claims.claim_reference("R", worker="w:1")
        kept = keeper(services, claim, watch=Watch(must_stop=lambda: True))
        with pytest.raises(Drained):
            kept.checkpoint()


def test_keeper_database_away_for_a_moment_is_survived(sqlite_world: World) -> None:
    world = sqlite_world
    world.request(7, "R")
    with world.services(lease_seconds=30) as services:
        claim = services.claims.claim_reference("R", worker="w:1")
        with world.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE dsar_requests RENAME TO gone")
        with keeper(services, claim, lease_seconds=8) as kept:
            wait_for(lambda: True, "one turn")
            with world.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE gone RENAME TO dsar_requests")
            first = world.row("R")["lease_expires_at"]
            wait_for(lambda: world.row("R")["lease_expires_at"] > first, "a renewal")
            kept.checkpoint()


def test_persist_past_its_deadline_uses_an_attempt(world: World) -> None:
    world.people(Person(7, runs=300), times=100)
    world.request(7, "R")
    with world.services(export_timeout_seconds=1, lease_seconds=30) as services:
        claim = services.claims.claim_reference("R", worker="w:1")
        started = SYSTEM_CLOCK.monotonic()
        watch = Watch(progress=lambda section, rows: stall(started))
        result = persist_dsar_export("R", claim=claim, watch=watch)
    assert result["error_code"] == "deadline_exceeded"
    assert result["outcome"] == "retried"
    assert world.row("R")["attempts"] == 1
    assert world.versions() == []


def stall(started: float) -> None:
    """A slow export: by the first thousand rows its second is over."""
    wait_for(lambda: SYSTEM_CLOCK.monotonic() - started > 1.1, "the deadline")


def test_persist_of_what_is_cancelled_meanwhile_says_so(world: World) -> None:
    """Not that its lease was lost, which sounds like a slow database."""
    world.people(Person(7, runs=300), times=10)
    world.request(7, "R")
    cancelled_at: list[float] = []
    calls: list[int] = []

    def cancel(section: str, rows: int) -> None:
        calls.append(rows)
        if not cancelled_at:
            Requests(services.controller).cancel("R")
            cancelled_at.append(SYSTEM_CLOCK.monotonic())
        stall(cancelled_at[0])  # more than a renewal's time

    with world.services(lease_seconds=1) as services:
        claim = services.claims.claim_reference("R", worker="w:1")
        result = persist_dsar_export("R", claim=claim, watch=Watch(progress=cancel))
    assert (result["error_code"], result["outcome"]) == ("superseded", "superseded")
    assert "cancelled" in result["error"]
    assert len(calls) < 5  # it was stopped, long before the record would have been refused
    assert world.row("R")["status"] == "cancelled"
    assert world.versions() == []


def test_persist_interrupted_at_the_keyboard_gives_the_claim_back(world: World) -> None:
    world.people(Person(7, runs=3))
    world.request(7, "R")

    def interrupt(section: str, rows: int) -> None:
        raise KeyboardInterrupt

    with world.services() as services:
        claim = services.claims.claim_reference("R", worker="w:1")
        with pytest.raises(KeyboardInterrupt):
            persist_dsar_export("R", claim=claim, watch=Watch(progress=interrupt))
    row = world.row("R")
    assert (row["status"], row["attempts"]) == ("pending", 0)
    assert world.versions() == []


# -- one look at a time, without a thread ----------------------------------------------------------


class Renewals:
    """In place of ``Claims``: counts the renewals, each of which may take time or fail."""

    def __init__(self, clock: FakeClock, takes: float = 0, fails: Exception | None = None) -> None:
        self._clock, self._takes, self._fails = clock, takes, fails
        self.count = 0

    def renew(self, _: Claim) -> None:
        self.count += 1
        self._clock.seconds += self._takes
        if self._fails is not None:
            raise self._fails


def a_claim() -> Claim:
    return Claim(1, 1, 1, "w:1", "pending", FakeClock().now(), 7, "R")


def kept_by(renewals: Renewals, clock: FakeClock, **options: Any) -> LeaseKeeper:
    given: dict[str, Any] = {"lease_seconds": 60, "timeout_seconds": 600, **options}
    watch: Watch = given.pop("watch", Watch())
    return LeaseKeeper(renewals, a_claim(), clock, watch, **given)  # type: ignore[arg-type]


def test_keeper_renews_so_often_that_three_may_fail() -> None:
    clock = FakeClock()
    kept = kept_by(Renewals(clock), clock)
    before = time.monotonic()
    kept.look()
    assert 0 < kept.due_at - before <= 60 / 4 + 1


def test_keeper_counts_the_lease_from_before_the_renewal_was_asked_for() -> None:
    clock = FakeClock()
    kept = kept_by(Renewals(clock, takes=50), clock)
    kept.look()
    clock.seconds += 9
    kept.checkpoint()
    clock.seconds += 2
    with pytest.raises(LeaseLost):
        kept.checkpoint()


def test_keeper_whose_renewal_failed_goes_on_while_the_lease_lives() -> None:
    clock = FakeClock()
    renewals = Renewals(clock, fails=OSError("the network"))
    kept = kept_by(renewals, clock)
    for _ in range(3):
        clock.seconds += 15
        kept.look()
        kept.checkpoint()
    assert renewals.count == 3
    clock.seconds += 16
    with pytest.raises(LeaseLost):
        kept.checkpoint()


def test_keeper_that_was_superseded_asks_no_more() -> None:
    clock = FakeClock()
    renewals = Renewals(clock, fails=Superseded("taken over"))
    kept = kept_by(renewals, clock)
    kept.look()
    kept.look()
    assert renewals.count == 1
    with pytest.raises(Superseded):
        kept.checkpoint()


def test_keeper_past_the_deadline_renews_no_more_and_calls_for_help_after_the_grace() -> None:
    clock, helped = FakeClock(), list[int]()
    renewals = Renewals(clock)
    watch = Watch(on_hang=lambda: helped.append(1))
    kept = kept_by(renewals, clock, timeout_seconds=100, watch=watch)
    clock.seconds += 101
    kept.look()
    assert (renewals.count, helped) == (0, [])
    clock.seconds += 28  # the grace is 30 seconds
    kept.look()
    assert helped == []
    clock.seconds += 2
    kept.look()
    assert (renewals.count, helped) == (0, [1])


def test_keeper_that_has_left_is_renewed_no_more() -> None:
    clock = FakeClock()
    renewals = Renewals(clock)
    with kept_by(renewals, clock, lease_seconds=0.2) as kept:
        wait_for(lambda: renewals.count, "a renewal")
    count, past = renewals.count, time.monotonic() + 0.5
    wait_for(lambda: time.monotonic() > past, "several renewals' time")
    assert renewals.count == count
    assert kept.due_at < past
