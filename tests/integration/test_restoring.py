"""A database that came back from a backup, beside files and workers from after it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from backend.errors import Superseded
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.export_store import Version
from backend.services.moving import MOVED
from backend.services.request_rows import Claim
from backend.services.restoring import LEAP, ExportedSince, after_restore
from tests.factories import Person
from tests.harness import World

Backup = dict[str, list[dict[str, Any]]]


def back_up(world: World) -> Backup:
    with world.engine.connect() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(sa.select(table)).mappings()]
            for table in MOVED
        }


def restore(world: World, backup: Backup) -> None:
    with world.begin() as connection:
        for table in MOVED:
            connection.execute(sa.delete(table))
            if backup[table.name]:
                connection.execute(sa.insert(table), backup[table.name])


def export(world: World, reference: str) -> None:
    with world.services():
        done = persist_dsar_export(reference)
    assert done["ok"], done


def claim(world: World, reference: str) -> Claim:
    with world.services() as services:
        return services.claims.claim_reference(reference, worker="w")


@pytest.fixture
def restored(sqlite_world: World) -> World:
    """PENDING and AGAIN were exported after the backup, and OPENED was opened and exported."""
    world = sqlite_world
    world.people(Person(7, runs=1))
    world.request(7, "PENDING")
    world.request(7, "AGAIN")
    world.request(7, "STILL")
    export(world, "AGAIN")
    backup = back_up(world)
    export(world, "PENDING")
    export(world, "AGAIN")
    world.request(7, "OPENED")
    export(world, "OPENED")
    restore(world, backup)
    return world


def test_restored_everything_from_after_the_backup_is_told_and_mended(restored: World) -> None:
    world = restored
    ids = {row["gdpr_reference_id"]: row["id"] for row in world.rows()}
    files = world.versions()

    done = world.dsar("after-restore")

    assert done.returncode == 0, done.stderr
    assert (done.json["raised"], done.json["released"]) == (3, 0)
    assert done.json["exported_since"] == [
        {
            "request_id": ids[name],
            "reference_id": name,
            "status": status,
            "published": True,
        }
        for name, status in (("PENDING", "pending"), ("AGAIN", "completed"))
    ]
    assert done.json["unknown_requests"] == [max(ids.values()) + 1]
    assert done.json["unknown_references"] == ["OPENED"]
    assert world.versions() == files
    assert [row["claim_token"] for row in world.rows()] == [LEAP, LEAP + 1, LEAP]

    assert world.sweep().json["completed"] == 2
    verified = world.dsar("verify")
    assert [each["reference_id"] for each in verified.json["findings"]] == ["AGAIN"]
    export(world, "AGAIN")
    world.dsar("prune")
    assert not world.public("OPENED").exists()
    world.check_invariants()


def test_restored_frozen_worker_of_before_changes_nothing(world: World) -> None:
    """Without the leap its token is the very one that the next claim gets."""
    world.people(Person(7, runs=1))
    world.request(7, "A")
    backup = back_up(world)
    frozen = claim(world, "A")
    restore(world, backup)

    with world.services() as services:
        after_restore(services.controller, _with_root(services.store))
    current = claim(world, "A")

    assert current.token > frozen.token
    version = Version(frozen.request_id, frozen.token, 1, "0" * 64)
    with world.services() as services:
        with pytest.raises(Superseded):
            services.claims.renew(frozen)
        with pytest.raises(Superseded):
            services.claims.record(frozen, version, 1, lambda: "x", patience=lambda: None)
        services.claims.renew(current)


def _with_root(store: Any) -> Any:
    store.prepare()
    return store


@pytest.mark.parametrize("status", ["pending", "completed"])
def test_restored_claim_of_the_backups_time_is_released(sqlite_world: World, status: str) -> None:
    world = sqlite_world
    world.people(Person(7, runs=1))
    world.request(7, "A")
    if status == "completed":
        export(world, "A")
    before = world.row("A")
    held = claim(world, "A")

    with world.services() as services:
        first = after_restore(services.controller, _with_root(services.store))
        second = after_restore(services.controller, services.store)

    assert (first.released, second.released) == (1, 0)
    row = world.row("A")
    assert (row["status"], row["attempts"]) == (status, before["attempts"])
    assert (row["claimed_by"], row["lease_expires_at"]) == (None, None)
    assert row["claim_token"] == held.token + 2 * LEAP
    assert row["export_claim_token"] == before["export_claim_token"]
    last = world.attempts()[-1]
    assert (last["outcome"], last["error_code"]) == ("lost", "worker_lost")
    assert last["finished_at"] is not None
    export(world, "A")
    world.check_invariants()


def test_restored_tokens_leap_over_every_file(sqlite_world: World) -> None:
    sqlite_world.request(7, "A", requested_at=datetime.now(UTC))
    versions = sqlite_world.exports / ".versions"
    versions.mkdir(parents=True)
    (versions / f"1.{5 * LEAP}.zip").touch()

    with sqlite_world.services() as services:
        done = after_restore(services.controller, services.store)

    assert done.exported_since == (ExportedSince(1, "A", "pending", published=False),)
    assert sqlite_world.row("A")["claim_token"] == 5 * LEAP
