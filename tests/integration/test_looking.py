"""dsar verify and dsar prune: everything that can be looked at, without a lock, links repaired."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from sqlalchemy import event

from backend.cli.dsar_commands import dsar
from backend.errors import EXIT_UNAVAILABLE, StoreUnavailable
from backend.extensions import current_runtime
from backend.services.disk_store import DiskStore
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.retention import Retention
from backend.services.verification import Finding, Verification
from tests.factories import Person
from tests.harness import REQUESTS, World

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def verification(services: Any) -> Verification:
    return Verification(services.controller, services.claims, services.store)


def three(world: World) -> list[int]:
    """Three exported requests; their ids."""
    world.people(Person(7, runs=1))
    ids = [world.request(7, f"R-{number}") for number in range(3)]
    with world.services():
        assert all(persist_dsar_export(f"R-{number}")["ok"] for number in range(3))
    return ids


def history(world: World, count: int) -> None:
    rows = [
        {
            "user_id": 7,
            "gdpr_reference_id": f"OLD-{number}",
            "status": "completed",
            "requested_at": LONG_AGO,
            "exported_at": LONG_AGO,
            "export_state": "pruned",
        }
        for number in range(count)
    ]
    with world.begin() as connection:
        connection.execute(sa.insert(REQUESTS), rows)


def test_verify_of_a_long_history_takes_a_statement_a_batch(world: World) -> None:
    three(world)
    history(world, 2500)
    asked: list[str] = []
    with world.services() as services:
        engine = current_runtime().control
        event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
        found = list(verification(services).verify_all())
    assert len(found) == 2503
    assert len(asked) < 15
    assert not any("FOR UPDATE" in each or each.startswith("UPDATE") for each in asked)


def test_verify_goes_on_after_an_id(world: World) -> None:
    ids = three(world)
    done = world.dsar("verify", "--after", str(ids[0]))
    assert (done.json["counts"], done.json["last_id"]) == ({"good": 2}, ids[2])
    done = world.dsar("verify", "--after", str(ids[2]))
    assert (done.json["counts"], done.json["last_id"]) == ({}, ids[2])
    assert world.dsar("verify", "R-1", "--after", "1").returncode == 2


@pytest.mark.parametrize("command", ["verify", "prune"])
def test_command_repairs_missing_and_wrong_links(world: World, command: str) -> None:
    three(world)
    world.public("R-0").unlink()
    world.public("R-1").unlink()
    os.link(world.public("R-2"), world.public("R-1"))
    done = world.dsar(command)
    assert done.returncode == 0
    assert done.json["links_repaired" if command == "verify" else "links"] == 2
    world.check_invariants()
    assert world.dsar(command).json["links_repaired" if command == "verify" else "links"] == 0


def test_verify_takes_a_link_from_a_reference_that_never_had_an_export(world: World) -> None:
    three(world)
    world.request(7, "NEW")
    os.link(world.public("R-2"), world.public("NEW"))
    assert world.dsar("verify").json["links_repaired"] == 1
    assert not world.public("NEW").exists()
    world.check_invariants()


def test_verify_passes_over_a_row_that_is_locked_and_says_so(server_world: World) -> None:
    world = server_world
    ids = three(world)
    world.public("R-1").unlink()
    with world.engine.begin() as connection:
        query = sa.select(REQUESTS.c.id).where(REQUESTS.c.id == ids[1]).with_for_update()
        connection.execute(query).all()
        done = world.dsar("verify")
        with world.services() as services:
            retention = Retention(
                services.controller, services.claims, services.store, retention_days=0
            )
            assert retention.prune().links == 0
    assert (done.returncode, done.json["rows_locked"], done.json["links_repaired"]) == (0, 1, 0)
    assert done.json["counts"] == {"good": 3}
    assert [each["request_id"] for each in done.json["findings"]] == [ids[1]]
    assert "the row is locked" in done.stderr
    assert world.dsar("verify").json["links_repaired"] == 1
    world.check_invariants()


def failing(monkeypatch: pytest.MonkeyPatch, *request_ids: int) -> None:
    """A store that does not give these requests' versions."""
    check = DiskStore.check

    def checked(store: DiskStore, request_id: int, token: int) -> Any:
        if request_id in request_ids:
            raise StoreUnavailable("the disk fails")
        return check(store, request_id, token)

    monkeypatch.setattr(DiskStore, "check", checked)


def commanded(world: World, *arguments: str) -> Any:
    return CliRunner().invoke(dsar, arguments, env=world.variables(), catch_exceptions=False)


def test_verify_looks_at_the_others_when_the_store_does_not_give_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = three(world)
    failing(monkeypatch, ids[0])
    done = commanded(world, "verify", "--json")
    result = json.loads(done.stdout)
    assert result["counts"] == {"unavailable": 1, "good": 2}
    assert (result["ok"], result["complete"]) == (False, True)
    assert (done.exit_code, "verify again" in done.stderr) == (EXIT_UNAVAILABLE, True)


def test_verify_ends_in_an_outage_of_the_store_and_says_where_to_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.people(Person(7, runs=1))
    ids = [world.request(7, f"R-{number}") for number in range(8)]
    with world.services():
        for number in range(8):
            assert persist_dsar_export(f"R-{number}")["ok"]
    failing(monkeypatch, *ids[1:])
    done = commanded(world, "verify", "--json")
    result = json.loads(done.stdout)
    assert result["counts"] == {"good": 1, "unavailable": 4}
    assert (result["complete"], result["last_id"]) == (False, ids[0])
    assert done.exit_code == EXIT_UNAVAILABLE
    assert f"dsar verify --after {ids[0]}" in done.stderr


def test_verify_stopped_says_where_to_go_on(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = three(sqlite_world)
    look = Verification.verify_all

    def until(self: Verification, after: int | None = None) -> Iterator[Finding]:
        yield next(look(self, after))
        raise KeyboardInterrupt

    monkeypatch.setattr(Verification, "verify_all", until)
    done = commanded(sqlite_world, "verify", "--json")
    assert done.exit_code == 130
    assert json.loads(done.stdout)["last_id"] == ids[0]
    assert f"dsar verify --after {ids[0]}" in done.stderr
