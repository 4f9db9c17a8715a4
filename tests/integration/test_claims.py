"""Every verb that changes a request, on every database: who may, and what it leaves behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from backend.errors import BusyError, KeyNotUsable, RequestNotFound, Superseded, WrongState
from backend.failures import Failure, Kind
from backend.services.assembly import Services
from backend.services.claims import MAX_INTERRUPTIONS, Claims
from backend.services.export_store import Version
from backend.services.outlook import Outlook, look
from backend.services.request_rows import Claim
from backend.services.requests import Requests
from tests.factories import START
from tests.harness import REQUESTS, World, wait_for

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


WIDER_COLUMN = {
    "postgresql": "ALTER TABLE dsar_requests ALTER COLUMN user_id TYPE text",
    "mysql": "ALTER TABLE dsar_requests MODIFY user_id BIGINT UNSIGNED",
}


@pytest.mark.parametrize("key", [2**63, 2**64 - 1])
def test_open_for_a_key_that_the_column_cannot_hold_says_what_to_do(world: World, key: int) -> None:
    with world.services() as services:
        requests = Requests(services.controller)
        with pytest.raises(KeyNotUsable, match=r"dsar_requests.user_id cannot hold") as raised:
            requests.open(key, reference_id="R")
        assert str(key) not in str(raised.value)
        with pytest.raises(RequestNotFound):
            requests.find("R")
        requests.open(2**63 - 1, reference_id="LARGEST")
        kind = world.engine.dialect.name
        if remedy := WIDER_COLUMN.get("mysql" if kind == "mariadb" else kind):
            with world.begin() as connection:
                connection.exec_driver_sql(remedy)
            requests.open(key, reference_id="R")
            assert str(world.row("R")["user_id"]) == str(key)


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


# -- guards that a single wrong condition would take away ----------------------------------------


def test_claim_due_row_due_at_the_very_cutoff_is_taken(world: World) -> None:
    world.request(1, "R")
    with world.services() as services:
        cutoff = now_of(services)
        world.update("R", next_attempt_at=cutoff)
        claim = services.claims.claim_due(cutoff, worker="w:1")
    assert claim is not None and claim.reference_id == "R"


def test_dispose_of_a_failed_request_that_fails_again_leaves_it_failed(world: World) -> None:
    """Somebody tried it by hand once more: that plans no retries."""
    world.request(1, "R", status="failed", last_error="earlier")
    with world.services() as services:
        claim = services.claims.claim_reference("R", worker="w:1")
        disposal = services.claims.dispose(claim, FAILURE, permanent=False)
    assert (disposal.outcome, disposal.retry_in_seconds) == ("failed", None)
    assert world.row("R")["status"] == "failed"


def test_dispose_counts_an_attempt_and_plans_the_next(world: World) -> None:
    request_id = world.request(1, "R")
    with world.services() as services:
        claim = take(services)
        disposal = services.claims.dispose(claim, FAILURE, permanent=False)
    assert disposal.outcome == "retried" and disposal.retry_in_seconds is not None
    row = world.row("R")
    assert (row["status"], row["attempts"]) == ("pending", 1)
    assert row["next_attempt_at"] >= claim.claimed_at + timedelta(seconds=1)
    assert world.attempts(request_id)[0]["outcome"] == "retried"


@pytest.mark.parametrize("status", ["failed", "completed"])
def test_release_interrupted_too_often_backs_off_only_what_waits(world: World, status: str) -> None:
    world.request(1, "R", status=status, interruptions=MAX_INTERRUPTIONS)
    before = world.row("R")["next_attempt_at"]
    with world.services() as services:
        claim = services.claims.claim_reference("R", worker="w:1")
        disposal = services.claims.release(claim, interrupted=True)
    row = world.row("R")
    assert disposal.retry_in_seconds is None
    assert (row["status"], row["next_attempt_at"]) == (status, before)


def test_reclaim_takes_the_longest_expired_first_and_no_more_than_its_limit(world: World) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    for number in (3, 1, 2):
        expired_at = past + timedelta(days=number)
        world.request(1, f"R-{number}", status="processing", lease_expires_at=expired_at)
    with world.services() as services:
        reclaimed = services.claims.reclaim_expired(limit=2, repair_link=nothing)
        assert len(reclaimed) == 2
        left = [row["gdpr_reference_id"] for row in world.rows() if row["status"] != "pending"]
        assert left == ["R-3"]
        assert len(services.claims.reclaim_expired(limit=2, repair_link=nothing)) == 1


def test_reclaim_last_attempt_of_a_reexport_is_no_failed_request(world: World) -> None:
    request_id = world.request(1, "R")
    with world.services(max_attempts=1) as services:
        record(services.claims, take(services))
        services.claims.claim_reference("R", worker="w:2")
        expire_lease(world, request_id)
        (reclaimed,) = services.claims.reclaim_expired(limit=10, repair_link=nothing)
    assert not reclaimed.failed
    assert world.row("R")["status"] == "completed"


@pytest.mark.parametrize("lease", [timedelta(seconds=1), timedelta(hours=1)])
def test_reclaim_lease_that_lives_is_left_to_its_worker(world: World, lease: timedelta) -> None:
    request_id = world.request(1, "R")
    with world.services() as services:
        claim = take(services)
        now = now_of(services)
        world.update("R", lease_expires_at=now + timedelta(minutes=1) + lease)
        assert services.claims.reclaim_expired(limit=10, repair_link=nothing) == []
        record(services.claims, claim)
    assert world.row("R")["status"] == "completed"
    assert [each["outcome"] for each in world.attempts(request_id)] == ["completed"]


def test_attempt_that_has_ended_is_not_ended_again(world: World) -> None:
    request_id = world.request(1, "R")
    with world.services() as services:
        claim = take(services)
        expire_lease(world, request_id)
        services.claims.reclaim_expired(limit=10, repair_link=nothing)
        (lost,) = world.attempts(request_id)
        services.claims.abandon(claim)
    assert world.attempts(request_id) == [lost]
    assert lost["outcome"] == "lost"


def test_claim_shows_neither_person_nor_reference(sqlite_world: World) -> None:
    sqlite_world.request("ada@example.org", "SECRET-REFERENCE")
    with sqlite_world.services() as services:
        shown = repr(take(services))
    assert "ada" not in shown and "SECRET" not in shown


def test_record_is_fenced_by_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the lock before it ever let a stale claim through, the record does not."""
    request_id = world.request(1, "R")
    with world.services() as services:
        claims = services.claims
        stale = take(services)
        expire_lease(world, request_id)
        claims.reclaim_expired(limit=10, repair_link=nothing)
        take(services, "w:2")
        before, now = world.rows(), now_of(services)
        unchanged = {"user_id": 1, "gdpr_reference_id": "R", "digest_key": None, "now": now}
        monkeypatch.setattr(claims, "_lock_current", lambda *_: unchanged)
        with pytest.raises(Superseded):
            record(claims, stale)
    assert world.rows() == before


def test_record_that_breaks_a_constraint_each_time_is_tried_twice(sqlite_world: World) -> None:
    sqlite_world.request(1, "R")
    tries: list[int] = []

    def publish() -> str:
        tries.append(1)
        if len(tries) > 5:
            raise OSError("it is tried for ever")
        raise sa.exc.IntegrityError("INSERT", {}, ValueError())

    with sqlite_world.services() as services, pytest.raises(sa.exc.IntegrityError):
        record(services.claims, take(services), publish)
    assert len(tries) == 2


def test_was_recorded_knows_this_claims_record_from_an_earlier_one(world: World) -> None:
    world.request(1, "R")
    with world.services() as services:
        claims = services.claims
        first = take(services)
        record(claims, first)
        assert claims.was_recorded(first, patience=lambda: None)
        second = claims.claim_reference("R", worker="w:2")
        assert not claims.was_recorded(second, patience=lambda: None)
        record(claims, second)
        assert claims.was_recorded(second, patience=lambda: None)
        with pytest.raises(Superseded):
            claims.was_recorded(first, patience=lambda: None)


# -- locks, which mean nothing on SQLite -----------------------------------------------------------


def waiting_for_locks(world: World) -> int:
    """How many transactions on this world's database wait for a lock."""
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        if world.engine.dialect.name == "postgresql"
        else "SELECT count(*) FROM information_schema.innodb_trx t "
        "JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id "
        "WHERE t.trx_state = 'LOCK WAIT' AND p.db = DATABASE()"
    )
    # Asked more often than that, MariaDB gives the same answer again.
    time.sleep(0.15)
    with world.engine.connect() as connection:
        return int(connection.exec_driver_sql(query).scalar_one())


@contextmanager
def row_locked(services: Services) -> Iterator[None]:
    with services.controller.begin() as connection:
        connection.execute(sa.select(REQUESTS.c.id).with_for_update()).all()
        yield


@pytest.mark.parametrize("verb", ["relink", "was_recorded", "record", "renew"])
def test_verb_waits_for_whoever_has_the_row_locked(server_world: World, verb: str) -> None:
    world = server_world
    request_id = world.request(1, "R")
    with world.services() as services:
        claims, claim = services.claims, take(services)
        acted: list[str] = []
        acts: dict[str, Callable[[], object]] = {
            "relink": lambda: claims.relink(request_id, lambda *_: acted.append("x")),
            "was_recorded": lambda: claims.was_recorded(claim, patience=lambda: None),
            "record": lambda: record(claims, claim, lambda: acted.append("x") or "/x"),  # type: ignore[func-returns-value]
            "renew": lambda: claims.renew(claim),
        }
        thread = threading.Thread(target=acts[verb])
        with row_locked(services):
            thread.start()
            wait_for(lambda: waiting_for_locks(world) or not thread.is_alive(), "a lock's waiter")
            assert thread.is_alive() and not acted
        thread.join()
