"""The protocol as a model: whatever order the steps come in, the invariants hold.

The claims code is the real one, on a real SQLite; time is a fake clock, the store a dictionary.
First a Hypothesis state machine over many workers and requests, then every interleaving of two
workers' steps at their transaction boundaries.
"""

from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from backend.errors import BusyError, Superseded, WrongState
from backend.failures import Failure, Kind
from backend.services.claiming import Following
from backend.services.claims import Claims
from backend.services.control import Controller
from backend.services.export_store import Version
from backend.services.request_rows import Claim
from backend.services.requests import Requests
from backend.services.retry_policy import RetryPolicy
from tests.harness import REQUESTS, World

LEASE = 60.0
FAILURE = Failure(code="query_failed", kind=Kind.TRANSIENT, error_class="X", error_at="m:f:1")


class FakeClock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.instant = datetime(2026, 11, 24, tzinfo=UTC)

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return self.instant.timestamp()

    def pass_seconds(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)


@dataclass
class FakeStore:
    """Versions and links, as the export store keeps them on disk."""

    versions: set[tuple[int, int]] = field(default_factory=set)
    links: dict[str, tuple[int, int]] = field(default_factory=dict)

    def publish(self, claim: Claim) -> str:
        assert claim.reference_id is not None
        self.links[claim.reference_id] = (claim.request_id, claim.token)
        return f"/{claim.reference_id}.zip"

    def repair_link(self, reference: str, request_id: int, token: int | None) -> bool:
        if token is not None and (request_id, token) in self.versions:
            self.links[reference] = (request_id, token)
        else:
            self.links.pop(reference, None)
        return True


class System:
    """Requests, claims, clock and store, and what must be true of them between any two steps."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.store = FakeStore()
        self.world = World(f"sqlite:///{folder / 'dsar.sqlite3'}", folder).migrate()
        controller = Controller(self.world.engine, self.clock)
        policy = RetryPolicy(
            max_attempts=3, base_seconds=30, cap_seconds=600, random=random.Random(7)
        )
        self.claims = Claims(controller, lease_seconds=LEASE, policy=policy)
        self.requests = Requests(controller)
        self.tokens: dict[int, int] = {}
        self.good: dict[int, int] = {}

    def close(self) -> None:
        self.world.close()

    # -- a worker's steps --------------------------------------------------------------------

    def claim(self, worker: str) -> Claim | None:
        return self.claims.claim_due(self.clock.now(), worker=worker)

    def stage(self, claim: Claim) -> None:
        self.store.versions.add((claim.request_id, claim.token))

    def record(self, claim: Claim, following: Following | None = None) -> bool:
        """Publish and record; tidy up afterwards as the exporter does. Whether it was recorded."""
        version = Version(claim.request_id, claim.token, 10, "ab" * 32)
        try:
            self.claims.record(
                claim,
                version,
                1,
                lambda: self.store.publish(claim),
                patience=lambda: None,
                following=following,
            )
        except Superseded:
            self.store.versions.discard((claim.request_id, claim.token))
            self.claims.relink(claim.request_id, self.store.repair_link)
            return False
        self.store.versions -= {
            each for each in self.store.versions if each[0] == claim.request_id
        } - {(claim.request_id, claim.token)}
        self.good[claim.request_id] = claim.token
        return True

    def reclaim(self) -> None:
        """Reclaim, as a sweep does. No lease that runs on is taken, and no expired one is left."""
        held = {row["id"]: row for row in self.world.rows(REQUESTS.c.status == "processing")}
        live = {n for n, row in held.items() if row["lease_expires_at"] >= self.clock.now()}
        self._reclaim()
        after = {row["id"]: row for row in self.world.rows(REQUESTS.c.id.in_(held))}
        assert {n for n in held if held[n] == after[n]} == live

    def _reclaim(self) -> None:
        for each in self.claims.reclaim_expired(limit=100, repair_link=self.store.repair_link):
            self.store.versions.discard((each.request_id, each.token))

    # -- the invariants ----------------------------------------------------------------------

    def check(self) -> None:
        for row in self.world.rows():
            request_id, token = row["id"], row["claim_token"]
            assert token >= self.tokens.get(request_id, 0), "claim tokens only grow"
            self.tokens[request_id] = token
            assert (row["status"] == "processing") == (row["lease_expires_at"] is not None)
            assert row["attempts"] >= 0
            if row["export_state"] == "recorded":
                recorded = (request_id, row["export_claim_token"])
                assert recorded in self.store.versions, "completed means: the version is there"
                assert row["export_claim_token"] == self.good[request_id]
                if row["status"] != "processing":
                    assert self.store.links[row["gdpr_reference_id"]] == recorded
            assert request_id not in self.good or row["export_state"] == "recorded", (
                "a good export is never lost"
            )


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    made = System(tmp_path)
    yield made
    made.close()


class Protocol(RuleBasedStateMachine):
    """Any number of workers, each doing its next step whenever; time passes; operators meddle."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="dsar-model-")
        self.system = System(Path(self._folder.name))
        self.count = 0

    def teardown(self) -> None:
        self.system.close()
        self._folder.cleanup()

    def reference(self, number: int) -> str | None:
        return f"R-{number % self.count}" if self.count else None

    @rule()
    def a_request_arrives(self) -> None:
        self.system.world.request(7, f"R-{self.count}")
        self.count += 1

    @rule(target=held, worker=st.sampled_from("abc"))
    def claim_due(self, worker: str) -> Any:
        return self.system.claim(worker)

    @rule(target=held, number=st.integers(0, 9))
    def claim_by_reference(self, number: int) -> Any:
        reference = self.reference(number)
        if reference is None:
            return None
        try:
            return self.system.claims.claim_reference(reference, worker="operator")
        except (BusyError, WrongState):
            return None

    @rule(claim=held)
    def renew(self, claim: Claim | None) -> None:
        if claim is not None and not self.is_current(claim):
            with pytest.raises(Superseded):
                self.system.claims.renew(claim)
        elif claim is not None:
            self.system.claims.renew(claim)

    @rule(claim=consumes(held))
    def finish(self, claim: Claim | None) -> None:
        if claim is not None:
            current = self.is_current(claim)
            self.system.stage(claim)
            assert self.system.record(claim) is current

    @rule(target=held, claim=consumes(held), worker=st.sampled_from("abc"))
    def finish_and_claim_the_next(self, claim: Claim | None, worker: str) -> Any:
        if claim is None:
            return None
        following = Following(self.system.clock.now(), worker, None, wanted=lambda: True)
        current = self.is_current(claim)
        self.system.stage(claim)
        assert self.system.record(claim, following) is current
        assert following.looked is current
        return following.claim

    @rule(claim=consumes(held), permanent=st.booleans())
    def fail(self, claim: Claim | None, permanent: bool) -> None:
        self.end(claim, lambda c: self.system.claims.dispose(c, FAILURE, permanent=permanent))

    @rule(claim=consumes(held), interrupted=st.booleans())
    def release(self, claim: Claim | None, interrupted: bool) -> None:
        self.end(claim, lambda c: self.system.claims.release(c, interrupted=interrupted))

    def end(self, claim: Claim | None, how: Callable[[Claim], Any]) -> None:
        if claim is None:
            return
        if self.is_current(claim):
            how(claim)
        else:
            before = self.system.world.rows()
            with pytest.raises(Superseded):
                how(claim)
            assert self.system.world.rows() == before

    @rule(seconds=st.sampled_from([1, 20, 61, 700]))
    def time_passes(self, seconds: int) -> None:
        self.system.clock.pass_seconds(seconds)

    @rule()
    def reclaim(self) -> None:
        self.system.reclaim()

    @rule(number=st.integers(0, 9), verb=st.sampled_from(["retry", "cancel"]))
    def an_operator_meddles(self, number: int, verb: str) -> None:
        if (reference := self.reference(number)) is None:
            return
        try:
            getattr(self.system.requests, verb)(reference)
        except (BusyError, WrongState):
            return

    def is_current(self, claim: Claim) -> bool:
        query = sa.select(REQUESTS.c.id).where(
            REQUESTS.c.id == claim.request_id,
            REQUESTS.c.status == "processing",
            REQUESTS.c.claim_token == claim.token,
        )
        with self.system.world.engine.connect() as connection:
            return connection.execute(query).first() is not None

    @invariant()
    def everything_holds(self) -> None:
        self.system.check()


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


# -- every interleaving of two workers ---------------------------------------------------------


class Worker:
    """One worker's attempt as the steps between which another may come."""

    def __init__(self, system: System, name: str) -> None:
        self._system = system
        self._name = name
        self._claim: Claim | None = None
        self.recorded = False

    def reclaim(self) -> None:
        self._system.reclaim()

    def claim(self) -> None:
        self._claim = self._system.claim(self._name)

    def stage(self) -> None:
        if self._claim is not None:
            self._system.stage(self._claim)

    def renew(self) -> None:
        if self._claim is not None:
            try:
                self._system.claims.renew(self._claim)
            except Superseded:
                self._system.store.versions.discard((self._claim.request_id, self._claim.token))
                self._claim = None

    def record(self) -> None:
        if self._claim is not None:
            self.recorded = self._system.record(self._claim)


STEPS = ("reclaim", "claim", "stage", "renew", "record")


def orders() -> Iterator[tuple[str, ...]]:
    """Every order of two workers' five steps, with the lease running out at any one point."""
    for places in itertools.combinations(range(10), 5):
        order = ["b"] * 10
        for place in places:
            order[place] = "a"
        for expiry in range(11):
            yield (*order[:expiry], "!", *order[expiry:])


def test_two_workers_in_every_order_record_a_request_at_most_once(system: System) -> None:
    for number, order in enumerate(orders()):
        reference = f"R-{number}"
        system.world.request(7, reference)
        workers = {name: Worker(system, name) for name in "ab"}
        steps = {name: iter(STEPS) for name in "ab"}
        for name in order:
            if name == "!":
                system.clock.pass_seconds(LEASE + 1)
            else:
                getattr(workers[name], next(steps[name]))()
        recorded = [name for name, worker in workers.items() if worker.recorded]
        assert len(recorded) <= 1, order
        row = system.world.row(reference)
        assert (row["status"] == "completed") == bool(recorded), order
        # Whatever is left is taken by the next sweep.
        if not recorded:
            system.clock.pass_seconds(LEASE + 1)
            last = Worker(system, "c")
            for step in STEPS:
                getattr(last, step)()
            assert last.recorded, order
        if number % 50 == 0:
            system.check()
    assert number == 252 * 11 - 1
    system.check()
