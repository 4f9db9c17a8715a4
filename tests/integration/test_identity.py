"""Whose data it is: a claim's person and reference are compared under every later lock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backend.errors import EXIT_FAILED, Drained, WrongSubject
from backend.failures import Failure, Kind
from backend.services.claims import Claims
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.lease import Watch
from backend.services.request_rows import Claim
from backend.services.subject_digest import names_another, subject_digest
from tests.factories import Person
from tests.harness import REQUESTS, World, members
from tests.integration.test_claims import record, take

ANN, BOB = 7, 8
FAILURE = Failure(code="query_failed", kind=Kind.TRANSIENT, error_class="X", error_at="m:f:1")


def swap(world: World) -> None:
    world.update("ANN", user_id=BOB)
    world.update("BOB", user_id=ANN)


CHANGES: dict[str, Callable[[World], object]] = {
    "another person": lambda world: world.update("ANN", user_id=BOB),
    "nobody": lambda world: world.update("ANN", user_id=None),
    "two rows swapped": swap,
    "another reference": lambda world: world.update("ANN", gdpr_reference_id="ANN-2"),
    "other capitals": lambda world: world.update("ANN", gdpr_reference_id="Ann"),
    "no reference": lambda world: world.update("ANN", gdpr_reference_id=None),
}
WRITES: dict[str, Callable[[Claims, Claim], object]] = {
    "renew": lambda claims, claim: claims.renew(claim),
    "record": record,
    "retry": lambda claims, claim: claims.dispose(claim, FAILURE, permanent=False),
    "fail": lambda claims, claim: claims.dispose(claim, FAILURE, permanent=True),
    "release": lambda claims, claim: claims.release(claim),
    "drain": lambda claims, claim: claims.release(claim, interrupted=True),
}


@pytest.fixture
def both(world: World) -> World:
    """Ann and Bob with a request each, Ann's the older one."""
    world.people(Person(ANN, runs=2), Person(BOB, runs=2))
    world.request(ANN, "ANN")
    world.request(BOB, "BOB")
    return world


def row_of(world: World, request_id: int) -> dict[str, Any]:
    return world.rows(REQUESTS.c.id == request_id)[0]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("write", WRITES)
def test_claim_of_a_row_that_names_another_ends_as_wrong_subject(
    both: World, write: str, change: str
) -> None:
    with both.services() as services:
        claim = take(services)
        CHANGES[change](both)
        try:
            WRITES[write](services.claims, claim)
        except WrongSubject:
            assert write in ("renew", "record")
            services.claims.dispose(claim, FAILURE, permanent=False)
    row = row_of(both, claim.request_id)
    assert (row["status"], row["export_state"], row["claimed_by"]) == ("failed", None, None)
    assert row["last_error"].startswith("wrong_subject ")
    assert both.attempts(claim.request_id)[0]["error_code"] == "wrong_subject"


def test_renewal_of_a_row_that_names_another_stops_the_work(sqlite_world: World) -> None:
    sqlite_world.request(ANN, "ANN")
    with sqlite_world.services() as services:
        claim = take(services)
        services.claims.renew(claim)
        sqlite_world.update("ANN", user_id=BOB)
        with pytest.raises(WrongSubject):
            services.claims.renew(claim)


def test_claim_of_a_row_changed_and_changed_back_is_recorded(both: World) -> None:
    with both.services() as services:
        claim = take(services)
        both.update("ANN", user_id=BOB)
        both.update("ANN", user_id=ANN)
        record(services.claims, claim)
    assert both.row("ANN")["status"] == "completed"


def test_claim_of_a_text_key_in_other_capitals_or_with_a_blank_is_anothers(
    world: World,
) -> None:
    text = {"postgresql": "text", "sqlite": "text"}.get(world.engine.dialect.name, "varchar(40)")
    with world.begin() as connection:
        # SQLite cannot change a column's type; its own holds whatever is put there.
        if world.engine.dialect.name == "postgresql":
            connection.exec_driver_sql("ALTER TABLE dsar_requests ALTER user_id TYPE text")
        elif world.engine.dialect.name != "sqlite":
            connection.exec_driver_sql(f"ALTER TABLE dsar_requests MODIFY user_id {text}")
    for number, other in enumerate(("ANN", "ann ", "ánn")):
        world.request("ann", f"R-{number}")
        with world.services() as services:
            claim = take(services)
            world.update(f"R-{number}", user_id=other)
            with pytest.raises(WrongSubject):
                record(services.claims, claim)
            services.claims.dispose(claim, FAILURE, permanent=False)


def test_key_of_another_type_is_another_key(sqlite_world: World) -> None:
    with sqlite_world.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE dsar_requests RENAME COLUMN user_id TO was")
        connection.exec_driver_sql("ALTER TABLE dsar_requests ADD COLUMN user_id")
        connection.exec_driver_sql(
            "INSERT INTO dsar_requests (user_id, gdpr_reference_id, status) "
            "VALUES (7, 'R', 'pending')"
        )
    with sqlite_world.services() as services:
        claim = take(services)
        with sqlite_world.begin() as connection:
            connection.exec_driver_sql("UPDATE dsar_requests SET user_id = '7'")
        with pytest.raises(WrongSubject):
            record(services.claims, claim)


# -- a whole attempt ------------------------------------------------------------------------------


def export_while(
    world: World, reference: str, meanwhile: Callable[[], object], **settings: Any
) -> dict[str, Any]:
    """Export, and let ``meanwhile`` happen once, in the middle of the collection."""
    left = [meanwhile]

    def progress(section: str, rows: int) -> None:
        if left:
            left.pop()()

    with world.services(**settings):
        return persist_dsar_export(reference, watch=Watch(progress=progress))


@pytest.mark.parametrize("change", CHANGES)
def test_export_of_a_row_changed_in_mid_run_publishes_nothing(both: World, change: str) -> None:
    request_id = both.row("ANN")["id"]
    result = export_while(both, "ANN", lambda: CHANGES[change](both))
    assert (result["ok"], result["error_code"], result["outcome"]) == (
        False,
        "wrong_subject",
        "failed",
    )
    assert "nothing was published" in result["error"] and "retry" in result["error"]
    assert row_of(both, request_id)["last_error"].startswith("wrong_subject ")
    assert both.versions() == [] and list(both.exports.glob("levqor-dsar-*")) == []


def test_export_again_of_a_row_that_names_another_leaves_the_earlier_record(both: World) -> None:
    with both.services():
        assert persist_dsar_export("ANN")["ok"]
    before = both.row("ANN")
    result = export_while(both, "ANN", lambda: both.update("ANN", user_id=BOB))
    assert (result["error_code"], result["outcome"]) == ("wrong_subject", "failed")
    after = both.row("ANN")
    assert (after["status"], after["export_claim_token"]) == ("completed", 1)
    assert after["export_sha256"] == before["export_sha256"]
    assert both.versions() == [f"{before['id']}.1.zip"]


def test_export_whose_reference_is_anothers_by_now_leaves_their_file_alone(both: World) -> None:
    def rename() -> None:
        both.update("ANN", gdpr_reference_id="ANN-2")
        both.update("BOB", gdpr_reference_id="ANN")
        with both.services():
            assert persist_dsar_export("ANN")["ok"]

    result = export_while(both, "ANN", rename)
    assert result["error_code"] == "wrong_subject"
    assert members(both.public("ANN"))["account.json"]["id"] == BOB
    assert both.versions() == [f"{both.row('ANN')['id']}.1.zip"]
    both.check_invariants()


def test_publisher_that_was_late_gives_a_reference_back_to_whose_it_is(
    both: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen in its last transaction, it renames its link when the reference is Bob's already."""
    publish, moved = Claims.record, []

    def late(claims: Claims, claim: Claim, *args: Any, **options: Any) -> str:
        if claim.user_id != ANN:
            return publish(claims, claim, *args, **options)
        both.update("ANN", gdpr_reference_id="ANN-2")
        both.update("BOB", gdpr_reference_id="ANN")
        with both.services():
            moved.append(persist_dsar_export("ANN")["ok"])
        args[2]()  # the link, without the lock: its session was ended by the server
        raise WrongSubject("as the row says by now")

    monkeypatch.setattr(Claims, "record", late)
    with both.services():
        assert not persist_dsar_export("ANN")["ok"]
    assert moved == [True]
    assert members(both.public("ANN"))["account.json"]["id"] == BOB
    both.check_invariants()


def test_drain_of_a_row_that_names_another_is_no_release(both: World) -> None:
    def stop() -> None:
        both.update("ANN", user_id=BOB)
        raise Drained("the process was asked to stop")

    result = export_while(both, "ANN", stop)
    assert (result["error_code"], result["outcome"]) == ("wrong_subject", "failed")


# -- after it is recorded -------------------------------------------------------------------------


def exported(world: World) -> None:
    with world.services():
        assert persist_dsar_export("ANN")["ok"]


@pytest.mark.parametrize("user_id", [BOB, None])
def test_verify_reports_a_version_whose_row_names_another_by_now(
    both: World, user_id: int | None
) -> None:
    exported(both)
    assert both.dsar("verify").json["counts"] == {"good": 1}
    both.update("ANN", user_id=user_id)
    done = both.dsar("verify")
    assert done.returncode == EXIT_FAILED
    assert done.json["counts"] == {"wrong_subject": 1}
    assert "another person" in done.stderr and "RUNBOOK" in done.stderr
    key = both.dsar("decrypt", "ANN", "--identity", "/dev/null", "--output", "/dev/null")
    assert key.returncode == EXIT_FAILED and "another person" in key.stderr
    both.update("ANN", user_id=ANN)
    assert both.dsar("verify", "ANN").json["counts"] == {"good": 1}


def test_verify_of_a_version_exported_anew_for_another_is_good(both: World) -> None:
    exported(both)
    both.update("ANN", user_id=BOB)
    exported(both)
    assert members(both.public("ANN"))["account.json"]["id"] == BOB
    assert both.dsar("verify").json["counts"] == {"good": 1}


def test_verify_of_a_record_without_a_digest_does_not_know_whose_it_is(both: World) -> None:
    exported(both)
    both.update("ANN", user_id=BOB, export_subject_digest=None)
    assert both.dsar("verify").json["counts"] == {"good": 1}


def test_prune_deletes_the_digest_with_the_file(both: World) -> None:
    exported(both)
    assert len(both.row("ANN")["export_subject_digest"]) == 64
    both.update("ANN", exported_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert both.dsar("prune").json["pruned"] == 1
    assert both.row("ANN")["export_subject_digest"] is None


def test_digest_survives_a_move_to_another_database(
    both: World, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    exported(both)
    target = f"sqlite:///{tmp_path / 'moved.sqlite3'}"
    assert both.dsar("move-database", "--to", target).returncode == 0
    moved = World(target, both.root)
    try:
        settings = {"source_database_url": both.database_url}
        assert moved.dsar("verify", **settings).json["counts"] == {"good": 1}
        moved.update("ANN", user_id=BOB)
        assert moved.dsar("verify", **settings).json["counts"] == {"wrong_subject": 1}
    finally:
        moved.close()


def test_digest_of_the_same_person_differs_by_request_key_and_person() -> None:
    keys = ("a" * 64, "b" * 64)
    digests = {
        subject_digest(key, request_id, token, user_id)
        for key in keys
        for request_id in (1, 11)
        for token in (1, 2)
        for user_id in (7, 8, "ann", "ANN", "ann ")
    }
    assert len(digests) == 2 * 2 * 2 * 5 and None not in digests
    assert subject_digest(keys[0], 1, 1, 7) == subject_digest(keys[0], 1, 1, "7")
    assert not names_another(None, keys[0], 1, 1, 7)
    assert not names_another("x", None, 1, 1, 7)
