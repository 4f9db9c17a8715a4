"""Every verb that changes a request, on every database: who may, and what it leaves behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from backend.errors import BusyError, RequestNotFound, Superseded, WrongState
from backend.failures import Failure, Kind
from backend.services.assembly import Services
from backend.services.claims import MAX_INTERRUPTIONS, Claims
from backend.services.export_store import Version
from backend.services.outlook import Outlook, look
from backend.services.request_rows import Claim
from backend.services.requests import Requests
from tests.factories import START
from tests.harness import REQUESTS, World

FAILURE = Failure(code="query_failed", kind=Kind.TRANSIENT, error_class="X", error_at="m:f:1")


def nothing(*_: Any) -> bool:
    return False


def now_of(services: Services) -> datetime:
    with services.controller.begin() as connection:
        return services.controller.now(connection)


def take(services: Services, worker: str = "w:1") -> Claim:
    claim = services.claims.claim_due(now_of(services), worker=worker)
    assert claim is not None
    return claim


def look_at(services: Services) -> Outlook:
    return look(services.controller, prune_before=None)


def expire_lease(world: World, request_id: int) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    with world.begin() as connection:
        connection.execute(
            sa.update(REQUESTS).where(REQUESTS.c.id == request_id).values(lease_expires_at=past)
        )


def record(claims: Claims, claim: Claim, publish: Callable[[], str] = lambda: "/x.zip") -> str:
    version = Version(claim.request_id, claim.token, 10, "ab" * 32)
    return claims.record(claim, version, 3, publish, patience=lambda: None)


def test_look_empty_database_sees_nothing(world: World) -> None:
    with world.services() as services:
        outlook = look_at(services)
    assert (outlook.due, outlook.expired, outlook.prunable) == (False, False, False)
    assert abs(outlook.now - datetime.now(UTC)) < timedelta(minutes=5)


def test_claim_due_takes_the_oldest_first_and_each_once(world: World) -> None:
    world.request(1, "LATER", requested_at=START + timedelta(days=1))
    world.request(1, "FIRST", requested_at=START)
    with world.services() as services:
        taken = [take(services).reference_id, take(services).reference_id]
        assert services.claims.claim_due(now_of(services), worker="w:1") is None
    assert taken == ["FIRST", "LATER"]


def test_claim_due_marks_row_and_opens_attempt(world: World) -> None:
    request_id = world.request(1, "R")
    with world.services(lease_seconds=60) as services:
        claim = take(services)
    row = world.row("R")
    assert row["status"] == "processing" and row["claimed_by"] == "w:1"
    assert (row["claim_token"], row["attempts"]) == (1, 1) == (claim.token, claim.attempt)
    assert row["lease_expires_at"] == claim.claimed_at + timedelta(seconds=60)
    (attempt,) = world.attempts(request_id)
    assert attempt["outcome"] == "running" and attempt["finished_at"] is None


def test_claim_due_row_due_after_the_cutoff_waits(world: World) -> None:
    world.request(1, "R")
    with world.services() as services:
        cutoff = now_of(services)
        world.update("R", next_attempt_at=cutoff + timedelta(seconds=5))
        assert services.claims.claim_due(cutoff, worker="w:1") is None


def test_claim_due_row_locked_by_another_is_passed_over(server_world: World) -> None:
    world = server_world
    world.request(1, "LOCKED")
    world.request(1, "FREE", requested_at=START + timedelta(days=1))
    with world.services() as services, services.controller.begin() as connection:
        query = sa.select(REQUESTS.c.id).where(REQUESTS.c.gdpr_reference_id == "LOCKED")
        connection.execute(query.with_for_update()).all()
        assert take(services).reference_id == "FREE"


def test_claim_due_from_many_threads_gives_each_row_to_one(world: World) -> None:
    for number in range(40):
        world.request(1, f"R-{number}")
    taken: list[str | None] = []

    def work(name: str) -> None:
        with world.services() as services:
            cutoff = now_of(services)
            while claim := services.claims.claim_due(cutoff, worker=name):
                taken.append(claim.reference_id)

    threads = [threading.Thread(target=work, args=(f"w:{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A row that another thread held locked at that moment is left to that thread.
    assert sorted(taken, key=str) == sorted((f"R-{n}" for n in range(40)), key=str)


def test_claim_due_garbage_in_a_row_blocks_nobody(sqlite_world: World) -> None:
    world = sqlite_world
    with world.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO dsar_requests (user_id, gdpr_reference_id, status, requested_at) "
            "VALUES ('no number', 'BAD', 'pending', 'yesterday')"
        )
    with world.services() as services:
        assert take(services).reference_id == "BAD"


def test_claim_reference_states_decide(world: World) -> None:
    for status in ("pending", "failed", "completed", "cancelled", "processing"):
        world.request(1, status.upper(), status=status)
    with world.services() as services:
        claims = services.claims
        for status in ("pending", "failed", "completed"):
            claim = claims.claim_reference(status.upper(), worker="w:1")
            assert claim.claimed_from == status
        with pytest.raises(WrongState, match="cancelled"):
            claims.claim_reference("CANCELLED", worker="w:1")
        with pytest.raises(BusyError):
            claims.claim_reference("PROCESSING", worker="w:1")
        with pytest.raises(RequestNotFound):
            claims.claim_reference("NONE", worker="w:1")


def test_renew_current_claim_extends_the_lease(world: World) -> None:
    request_id = world.request(1, "R")
    with world.services() as services:
        claim = take(services)
        expire_lease(world, request_id)
        services.claims.renew(claim)
    assert world.row("R")["lease_expires_at"] > claim.claimed_at


@pytest.mark.parametrize("change", ["cancelled", "deleted", "taken over"])
def test_every_write_of_a_stale_claim_changes_nothing(world: World, change: str) -> None:
    request_id = world.request(1, "R")
    with world.services() as services:
        claim = take(services)
        if change == "cancelled":
            Requests(services.controller).cancel("R")
        elif change == "deleted":
            with world.begin() as connection:
                connection.execute(sa.delete(REQUESTS))
        else:
            expire_lease(world, request_id)
            services.claims.reclaim_expired(limit=10, repair_link=nothing)
            assert take(services, "w:2").token == 2
        before = world.rows()
        published: list[int] = []

        with pytest.raises(Superseded):
            services.claims.renew(claim)
        with pytest.raises(Superseded):
            record(services.claims, claim, lambda: published.append(1) or "/x")  # type: ignore[func-returns-value]
        with pytest.raises(Superseded):
            services.claims.dispose(claim, FAILURE, permanent=False)
        with pytest.raises(Superseded):
            services.claims.release(claim)
    assert world.rows() == before
    assert not published


def test_record_writes_everything_at_once(world: World) -> None:
    request_id = world.request(1, "R", last_error="query_failed X")
    with world.services() as services:
        claim = take(services)
        assert record(services.claims, claim) == "/x.zip"
    row = world.row("R")
    assert row["status"] == "completed" and row["export_state"] == "recorded"
    assert (row["export_bytes_size"], row["export_sha256"]) == (10, "ab" * 32)
    assert row["export_claim_token"] == claim.token and row["last_error"] is None
    assert row["completed_at"] == row["exported_at"] is not None
    assert row["lease_expires_at"] is row["claimed_by"] is row["claimed_from"] is None
    (attempt,) = world.attempts(request_id)
    assert (attempt["outcome"], attempt["rows"], attempt["bytes"]) == ("completed", 3, 10)


def test_record_publication_that_fails_records_nothing(world: World) -> None:
    world.request(1, "R")

    def publish() -> str:
        raise OSError("no")

    with world.services() as services:
        claim = take(services)
        with pytest.raises(OSError, match="no"):
            record(services.claims, claim, publish)
    row = world.row("R")
    assert row["status"] == "processing" and row["export_state"] is None


def test_release_gives_the_attempt_back(world: World) -> None:
    request_id = world.request(1, "R")
    with world.services() as services:
        services.claims.release(take(services), interrupted=True)
        assert look_at(services).due
    row = world.row("R")
    assert (row["status"], row["attempts"], row["interruptions"]) == ("pending", 0, 1)
    assert world.attempts(request_id)[0]["outcome"] == "released"


def test_release_interrupted_too_often_backs_off(world: World) -> None:
    world.request(1, "R")
    with world.services() as services:
        for _ in range(MAX_INTERRUPTIONS):
            services.claims.release(take(services), interrupted=True)
        disposal = services.claims.release(take(services), interrupted=True)
        assert disposal.retry_in_seconds is not None and disposal.retry_in_seconds >= 1
        assert services.claims.claim_due(now_of(services), worker="w:1") is None


def test_reclaim_first_crash_is_due_at_once_later_ones_back_off(world: World) -> None:
    request_id = world.request(1, "R")
    with world.services() as services:
        for crash in (1, 2):
            take(services)
            expire_lease(world, request_id)
            (reclaimed,) = services.claims.reclaim_expired(limit=10, repair_link=nothing)
            assert not reclaimed.failed
            row = world.row("R")
            assert (row["status"], row["crashes"]) == ("pending", crash)
            assert look_at(services).due is (crash == 1)
            assert row["last_error"] == "worker_lost"
    assert [a["outcome"] for a in world.attempts(request_id)] == ["lost", "lost"]


def test_reclaim_last_attempt_fails_as_worker_lost(world: World) -> None:
    request_id = world.request(1, "R")
    with world.services(max_attempts=1) as services:
        take(services)
        expire_lease(world, request_id)
        (reclaimed,) = services.claims.reclaim_expired(limit=10, repair_link=nothing)
    assert reclaimed.failed
    row = world.row("R")
    assert (row["status"], row["last_error"]) == ("failed", "worker_lost")


def test_reclaim_live_lease_is_left_alone(world: World) -> None:
    world.request(1, "R")
    with world.services() as services:
        take(services)
        assert services.claims.reclaim_expired(limit=10, repair_link=nothing) == []
        assert not look_at(services).expired


def test_reclaim_processing_without_a_lease_is_taken(world: World) -> None:
    world.request(1, "R", status="processing")
    with world.services() as services:
        assert look_at(services).expired
        assert len(services.claims.reclaim_expired(limit=10, repair_link=nothing)) == 1
    assert world.row("R")["status"] == "pending"


def test_reclaim_reexport_of_completed_goes_back_to_completed(world: World) -> None:
    request_id = world.request(1, "R")
    with world.services() as services:
        record(services.claims, take(services))
        before = world.row("R")
        services.claims.claim_reference("R", worker="w:2")
        expire_lease(world, request_id)
        repaired: list[Any] = []
        services.claims.reclaim_expired(
            limit=10, repair_link=lambda *arguments: repaired.append(arguments)
        )
    row = world.row("R")
    assert repaired == [("R", request_id, 1)]
    assert {k for k in row if row[k] != before[k]} == {"claim_token", "crashes"}


def test_reclaim_row_locked_by_a_frozen_worker_is_passed_over(server_world: World) -> None:
    world = server_world
    for name in ("FROZEN", "DEAD"):
        world.request(1, name, status="processing")
    with world.services() as services, services.controller.begin() as connection:
        query = sa.select(REQUESTS.c.id).where(REQUESTS.c.gdpr_reference_id == "FROZEN")
        connection.execute(query.with_for_update()).all()
        assert len(services.claims.reclaim_expired(limit=10, repair_link=nothing)) == 1
    assert world.row("DEAD")["status"] == "pending"
    assert world.row("FROZEN")["status"] == "processing"


def test_retry_and_cancel_obey_the_state(world: World) -> None:
    for status in ("pending", "failed", "completed", "cancelled", "processing"):
        world.request(1, status.upper(), status=status, attempts=3)
    with world.services() as services:
        requests = Requests(services.controller)
        assert requests.retry("FAILED").status == "pending"
        assert requests.retry("PENDING").attempts == 0
        for name, error in (
            ("COMPLETED", WrongState),
            ("CANCELLED", WrongState),
            ("PROCESSING", BusyError),
            ("NONE", RequestNotFound),
        ):
            with pytest.raises(error):
                requests.retry(name)
        assert requests.cancel("PROCESSING").status == "cancelled"
        assert requests.cancel("PENDING").status == "cancelled"
        assert requests.cancel("CANCELLED").status == "cancelled"
        with pytest.raises(WrongState):
            requests.cancel("COMPLETED")


def test_cancel_reexport_goes_back_to_completed(world: World) -> None:
    world.request(1, "R")
    with world.services() as services:
        record(services.claims, take(services))
        services.claims.claim_reference("R", worker="w:2")
        assert Requests(services.controller).cancel("R").status == "completed"
    assert world.row("R")["export_state"] == "recorded"
