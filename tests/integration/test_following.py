"""The claim that follows: taken in the transaction that records the one before, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection

from backend.errors import DatabaseBusy, DatabaseUnreachable, OutcomeUnknown, Superseded
from backend.extensions import current_runtime
from backend.services.assembly import Services
from backend.services.claiming import Following
from backend.services.claims import Claims
from backend.services.control import Controller
from backend.services.export_store import Version
from backend.services.lease import Watch
from backend.services.outlook import look
from backend.services.request_rows import Claim
from scheduler.sweep import Slot, Task, run_slot
from scheduler.workers import counting_tickets
from tests.factories import START, Person
from tests.harness import ATTEMPTS, REQUESTS, World
from tests.integration.test_claims import now_of, take
from tests.lossy import a_lossy_proxy


def following(cutoff: datetime, *, wanted: bool = True) -> Following:
    return Following(cutoff, "w:1", "s", wanted=lambda: wanted)


def record(claims: Claims, claim: Claim, after: Following, **options: Any) -> str:
    version = Version(claim.request_id, claim.token, 10, "ab" * 32)
    given = {"patience": lambda: None} | options
    return claims.record(claim, version, 3, lambda: "/x.zip", following=after, **given)


def two(world: World) -> None:
    world.request(7, "FIRST", requested_at=START)
    world.request(7, "NEXT", requested_at=START + timedelta(days=1))


def test_record_with_a_following_claims_the_next_in_the_same_commit(world: World) -> None:
    two(world)
    with world.services(lease_seconds=60) as services:
        claim, after = take(services), following(now_of(services))
        seen: list[Any] = []
        event.listen(services.runtime.control, "commit", seen.append)
        record(services.claims, claim, after)
        assert len(seen) == 1
    assert world.row("FIRST")["status"] == "completed"
    row = world.row("NEXT")
    assert after.looked and after.claim is not None
    assert (row["status"], row["claim_token"], row["attempts"]) == ("processing", 1, 1)
    assert (after.claim.reference_id, after.claim.token) == ("NEXT", 1)
    assert row["lease_expires_at"] == after.claim.claimed_at + timedelta(seconds=60)
    outcomes = {each["request_id"]: each["outcome"] for each in world.attempts()}
    assert outcomes == {claim.request_id: "completed", after.claim.request_id: "running"}


def test_record_whose_following_is_not_wanted_claims_nothing(world: World) -> None:
    two(world)
    with world.services() as services:
        claim, after = take(services), following(now_of(services), wanted=False)
        record(services.claims, claim, after)
    assert (after.looked, after.claim) == (False, None)
    assert world.row("NEXT")["status"] == "pending"


def test_record_with_nothing_due_says_that_it_looked(world: World) -> None:
    world.request(7, "FIRST")
    with world.services() as services:
        claim, after = take(services), following(now_of(services))
        record(services.claims, claim, after)
    assert (after.looked, after.claim) == (True, None)


def test_record_superseded_claims_nothing_either(world: World) -> None:
    two(world)
    with world.services() as services:
        claim, after = take(services), following(now_of(services))
        world.update("FIRST", status="cancelled")
        with pytest.raises(Superseded):
            record(services.claims, claim, after)
    assert (after.looked, after.claim) == (False, None)
    assert world.row("NEXT")["status"] == "pending"


def test_record_stands_when_the_next_ones_number_was_anothers(world: World) -> None:
    two(world)
    with world.services() as services:
        cutoff, claim = now_of(services), take(services)
        number = world.row("NEXT")["id"]
        trail = {"attempt": 1, "worker": "w:0", "started_at": START, "outcome": "completed"}
        with world.begin() as connection:
            connection.execute(
                sa.insert(ATTEMPTS).values(request_id=number, claim_token=1, **trail)
            )
        after = following(cutoff)
        record(services.claims, claim, after)
        assert (after.looked, after.claim) == (False, None)
        assert world.row("FIRST")["status"] == "completed"
        again = services.claims.claim_due(cutoff, worker="w:1")
    assert again is not None and (again.reference_id, again.token) == ("NEXT", 2)


def test_record_that_lost_a_fight_is_tried_again_without_the_next(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    two(sqlite_world)
    with sqlite_world.services() as services:
        claim, after = take(services), following(now_of(services))

        def lose(*_: Any) -> None:
            raise DatabaseBusy("deadlock")

        monkeypatch.setattr(Claims, "_find_following", lose)
        record(services.claims, claim, after)
    assert (after.looked, after.claim) == (False, None)
    assert sqlite_world.row("FIRST")["status"] == "completed"


def test_following_goes_on_after_the_last_and_ends_with_the_oldest(world: World) -> None:
    for number in range(4):
        world.request(7, f"R-{number}", requested_at=START)
    world.request(7, "LATER", requested_at=START + timedelta(days=1))
    with world.services() as services:
        cutoff = now_of(services)
        claim: Claim | None = take(services)
        # Came in meanwhile, with an earlier day of receipt; and one whose day nobody knows.
        world.request(7, "EARLIER", requested_at=START - timedelta(days=1))
        world.request(7, "UNDATED", requested_at=None)
        order = []
        while claim is not None:
            order.append(claim.reference_id)
            after = following(cutoff)
            after.after = claim
            record(services.claims, claim, after)
            claim = after.claim
    assert order[:5] == ["R-0", "R-1", "R-2", "R-3", "LATER"]
    assert sorted(map(str, order[5:])) == ["EARLIER", "UNDATED"]


def test_following_a_row_that_is_gone_begins_at_the_oldest(world: World) -> None:
    two(world)
    with world.services() as services:
        cutoff, claim = now_of(services), take(services)
        gone = Claim(
            10**6, 1, 1, "w:1", "pending", claim.claimed_at, user_id=7, reference_id="GONE"
        )
        after = following(cutoff)
        after.after = gone
        record(services.claims, claim, after)
    assert after.claim is not None and after.claim.reference_id == "NEXT"


class Lossy:
    """A COMMIT whose answer is lost, the first time; see ``test_lost_commits`` for real ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lost = False
        original = Controller.begin

        @contextmanager
        def begin(controller: Controller, **options: Any) -> Iterator[Connection]:
            if self.lost:
                with original(controller, **options) as connection:
                    yield connection
                return
            try:
                with original(controller, **options) as connection:
                    yield connection
            finally:
                self.lost = True
            raise DatabaseUnreachable("cut before the answer arrived")

        monkeypatch.setattr(Controller, "begin", begin)


def test_record_whose_answer_was_lost_knows_what_became_of_both(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    two(world)
    with world.services() as services:
        claim, after = take(services), following(now_of(services))
        Lossy(monkeypatch)
        record(services.claims, claim, after)
    assert world.row("FIRST")["status"] == "completed"
    assert after.looked and after.claim is not None
    assert world.row("NEXT")["status"] == "processing"


def test_record_whose_answer_stays_unknown_hands_no_claim_on(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    two(sqlite_world)

    def give_up() -> None:
        raise OutcomeUnknown("away")

    with sqlite_world.services() as services:
        claim, after = take(services), following(now_of(services))
        Lossy(monkeypatch)
        with pytest.raises(OutcomeUnknown):
            record(services.claims, claim, after, patience=give_up)
    assert (after.looked, after.claim) == (False, None)


# -- a slot's loop -----------------------------------------------------------------------------


def run(world: World, **slot: Any) -> tuple[Any, list[int]]:
    """One slot over what is due; its tally, and how many COMMITs the control engine made."""
    with world.app().app_context():
        runtime = current_runtime()
        seen: list[Any] = []
        event.listen(runtime.control, "commit", seen.append)
        cutoff = look(Services.of(runtime).controller, prune_before=None).now
        given: dict[str, Any] = {"watch": Watch(), "draining": lambda: False} | slot
        tally, trouble = run_slot(runtime, Task("s", cutoff), Slot(**given))
        runtime.disconnect()
    assert trouble is None
    return tally, seen


def some_requests(world: World, count: int) -> None:
    world.people(Person(7, runs=3))
    for number in range(count):
        world.request(7, f"R-{number}", requested_at=START + timedelta(seconds=number))


def trips_of_a_request(world: World) -> float:
    """How often one slot's next request asks the database and waits for what it says."""
    trips: list[int] = []
    with a_lossy_proxy(world.database_url) as proxy:
        through = World(proxy.url, world.root)
        for count in (3, 7):
            with world.begin() as connection:
                connection.execute(sa.delete(REQUESTS))
            for number in range(count):
                world.request(7, f"R-{count}-{number}")
            if not trips:
                world.people(Person(7, runs=3))
            before = proxy.trips
            tally, _ = run(through)
            assert tally.completed == count
            trips.append(proxy.trips - before)
    return (trips[1] - trips[0]) / 4


def test_slot_asks_nothing_that_it_could_do_without(server_world: World) -> None:
    """On PostgreSQL: the request's own row; BEGIN, rows, end of the snapshot; the lock, the record,
    the next. On MariaDB, whose driver sends one statement at a time: the own row and the end of
    that; the snapshot's BEGIN, instant and end; five sections and whether there is such a person;
    the lock, the record, its trail, the next, its claim, its trail and COMMIT.
    """
    expected = {"postgresql": 1 + 3 + 3, "mariadb": 2 + 3 + 6 + 7}
    assert trips_of_a_request(server_world) == expected[server_world.engine.dialect.name]


def test_slot_needs_one_commit_a_request_and_one_to_begin(world: World) -> None:
    some_requests(world, 5)
    started: list[str | None] = []
    tally, seen = run(world, started=lambda claim: started.append(claim.reference_id))
    assert (tally.claimed, tally.completed) == (5, 5)
    assert started == [f"R-{number}" for number in range(5)]
    assert len(seen) == 6
    world.check_invariants()


@pytest.mark.parametrize("limit", [1, 3])
def test_slot_with_a_limit_leaves_the_others_unclaimed(sqlite_world: World, limit: int) -> None:
    some_requests(sqlite_world, 5)
    tally, _ = run(sqlite_world, take_ticket=counting_tickets(limit))
    assert (tally.claimed, tally.completed) == (limit, limit)
    tokens = [row["claim_token"] for row in sqlite_world.rows()]
    assert tokens == [1] * limit + [0] * (5 - limit)


def test_slot_asked_to_drain_in_mid_export_claims_nothing_more(sqlite_world: World) -> None:
    some_requests(sqlite_world, 3)
    started: list[Claim] = []
    tally, _ = run(sqlite_world, started=started.append, draining=lambda: len(started) == 2)
    assert (tally.claimed, tally.completed) == (2, 2)
    assert [row["claim_token"] for row in sqlite_world.rows()] == [1, 1, 0]


def test_slot_failed_request_in_between_keeps_nobody_from_its_turn(world: World) -> None:
    some_requests(world, 3)
    world.update("R-1", user_id=None)
    tally, _ = run(world)
    assert (tally.claimed, tally.completed, tally.failed) == (3, 2, 1)
    assert {row["status"] for row in world.rows(REQUESTS.c.user_id.is_not(None))} == {"completed"}
