"""Retention deletes what is past its days, nothing earlier, and nothing that is still wanted."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
import sqlalchemy as sa

from backend.errors import RootNotOurs
from backend.models import DSARAttempt
from backend.services import retention as retention_module
from backend.services.assembly import Services
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.export_store import ADOPTED_TOKEN
from backend.services.retention import SWEEPS, TRAIL_DAYS, Retention
from tests.factories import Person
from tests.harness import ATTEMPTS, World
from tests.integration.test_claims import now_of

DAYS = 30
MOMENT = timedelta(minutes=5)


def retention_of(services: Services, **options: Any) -> Retention:
    given = {"retention_days": DAYS, **options}
    return Retention(services.controller, services.claims, services.store, **given)


@contextmanager
def exported(world: World, *references: str) -> Iterator[Services]:
    """Services of a world in which one person has an export of each reference."""
    world.people(Person(7, runs=1))
    for reference in references:
        world.request(7, reference)
    with world.services() as services:
        for reference in references:
            assert persist_dsar_export(reference)["ok"]
        yield services


def age(world: World, reference: str, services: Services, days: timedelta) -> None:
    world.update(reference, exported_at=now_of(services) - days)


def test_prune_takes_an_export_once_its_days_are_over_and_not_before(world: World) -> None:
    with exported(world, "OLD", "YOUNG") as services:
        age(world, "OLD", services, timedelta(days=DAYS) + MOMENT)
        age(world, "YOUNG", services, timedelta(days=DAYS) - MOMENT)
        assert retention_of(services).prune().pruned == 1
    old, young = world.row("OLD"), world.row("YOUNG")
    assert (old["export_state"], old["export_storage_path"]) == ("pruned", None)
    assert (young["export_state"], young["export_storage_path"]) == (
        "recorded",
        str(world.public("YOUNG")),
    )
    assert not world.public("OLD").exists() and world.public("YOUNG").exists()
    world.check_invariants()


def test_prune_of_nought_days_keeps_every_export(sqlite_world: World) -> None:
    world = sqlite_world
    with exported(world, "R") as services:
        age(world, "R", services, timedelta(days=5000))
        assert retention_of(services, retention_days=0).prune().pruned == 0
    world.check_invariants()


def test_prune_expired_stops_at_its_limit_and_when_told(sqlite_world: World) -> None:
    world = sqlite_world
    with exported(world, "A", "B", "C") as services:
        for reference in "ABC":
            age(world, reference, services, timedelta(days=DAYS + 1))
        assert retention_of(services, stop=lambda: True).prune_expired(limit=9) == 0
        assert retention_of(services).prune_expired(limit=2) == 2
        assert retention_of(services).prune_expired(limit=0) == 0
        assert retention_of(services).prune_expired(limit=9) == 1


@pytest.mark.parametrize("verb", ["prune", "prune_expired"])
def test_prune_of_another_databases_root_deletes_nothing(sqlite_world: World, verb: str) -> None:
    world = sqlite_world
    with exported(world, "R") as services:
        age(world, "R", services, timedelta(days=DAYS + 1))
        services.store.take("another", instead=True)
        prune = retention_of(services)
        with pytest.raises(RootNotOurs):
            prune.prune() if verb == "prune" else prune.prune_expired(limit=9)
    assert world.public("R").exists()
    assert world.row("R")["export_state"] == "recorded"


def test_prune_deletes_old_trails_and_keeps_young_and_running_ones(world: World) -> None:
    with world.services() as services:
        now = now_of(services)
        before = now - timedelta(days=TRAIL_DAYS) - MOMENT
        after = now - timedelta(days=TRAIL_DAYS) + MOMENT
        rows = (
            (1, before, DSARAttempt.OUTCOME_COMPLETED),
            (2, before, DSARAttempt.OUTCOME_RUNNING),
            (3, after, DSARAttempt.OUTCOME_COMPLETED),
            (4, before, DSARAttempt.OUTCOME_LOST),
        )
        request_id = world.request(7, "R")
        with world.begin() as connection:
            for token, started_at, outcome in rows:
                connection.execute(
                    sa.insert(ATTEMPTS).values(
                        request_id=request_id,
                        claim_token=token,
                        attempt=1,
                        worker="w:1",
                        started_at=started_at,
                        outcome=outcome,
                    )
                )
            for name, started_at in (("old", before), ("young", after)):
                connection.execute(sa.insert(SWEEPS).values(**a_sweep(name, started_at)))
        assert retention_of(services).prune().trail == 3
        assert [each["claim_token"] for each in world.attempts()] == [2, 3]
        with world.begin() as connection:
            assert connection.execute(sa.select(SWEEPS.c.sweep_id)).scalars().all() == ["young"]


def a_sweep(name: str, started_at: datetime) -> dict[str, Any]:
    counts = ("claimed", "completed", "retried", "failed", "released", "reclaimed", "duration_ms")
    fixed = {"sweep_id": name, "worker": "w:1", "started_at": started_at, "finished_at": started_at}
    return fixed | dict.fromkeys(counts, 0)


def put(services: Services, request_id: int, token: int) -> None:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("root/meta.json", "{}")
    with services.store.stage(request_id, token) as file:
        file.write(packed.getvalue())


def test_prune_deletes_leftovers_of_every_kind_and_keeps_what_is_wanted(world: World) -> None:
    with exported(world, "R", "RUNNING") as services:
        recorded, running = world.row("R"), world.row("RUNNING")
        folder = world.exports / ".versions"
        services.claims.claim_reference("RUNNING", worker="w:1")
        wanted = {f"{recorded['id']}.1.zip", f"{running['id']}.1.zip", f"{running['id']}.2.part"}
        (folder / f"{running['id']}.2.part").touch()  # of the claim that runs
        (folder / f"{recorded['id']}.1.part").touch()  # of the record's claim, but no version
        (folder / f".link-{recorded['id']}.1").touch()
        put(services, recorded["id"], 9)  # of a claim that never was
        put(services, 999, 1)  # of a request that is gone
        assert retention_of(services).prune().leftovers == 4
    assert set(world.versions()) == wanted


def test_prune_goes_through_leftovers_batch_by_batch(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_module, "_BATCH", 3)
    world = sqlite_world
    with exported(world, "R") as services:
        for number in range(100, 108):
            put(services, number, 1)
        assert retention_of(services).prune().leftovers == 8
    world.check_invariants()


def test_prune_told_to_stop_deletes_no_leftover(sqlite_world: World) -> None:
    world = sqlite_world
    with exported(world, "R") as services:
        put(services, 100, 1)
        assert retention_of(services, stop=lambda: True).prune().leftovers == 0
        assert retention_of(services).prune().leftovers == 1


def test_prune_makes_links_what_the_record_says(world: World) -> None:
    with exported(world, "RIGHT", "WRONG") as services:
        right, wrong = world.row("RIGHT"), world.row("WRONG")
        world.public("WRONG").rename(world.public("NOBODY"))
        world.public("RIGHT").rename(world.public("WRONG"))
        services.store.publish("RIGHT", right["id"], right["export_claim_token"])
        assert retention_of(services).prune().links == 2
        assert not world.public("NOBODY").exists()
        assert services.store.links_to("WRONG", (wrong["id"], wrong["export_claim_token"]))
    world.check_invariants()


def test_prune_takes_an_adopted_export_where_it_lies_and_no_others(sqlite_world: World) -> None:
    world = sqlite_world
    with world.services() as services:
        services.store.prepare()
        past = now_of(services) - timedelta(days=DAYS + 1)
        elsewhere = world.root / "elsewhere.zip"
        for reference, path in (("HERE", None), ("THERE", str(elsewhere))):
            values: dict[str, Any] = {"export_state": "unverified", "exported_at": past}
            world.request(7, reference, status="completed", **values, export_storage_path=path)
            world.public(reference).write_text("the old export")
        assert ADOPTED_TOKEN == 0
        assert retention_of(services).prune().pruned == 1
    assert not world.public("HERE").exists()
    assert world.row("HERE")["export_state"] == "pruned"
    there = world.row("THERE")
    assert (there["export_state"], there["export_storage_path"]) == ("unverified", str(elsewhere))


def test_prune_passes_over_a_row_that_somebody_holds_locked(server_world: World) -> None:
    world = server_world
    with exported(world, "LOCKED", "FREE") as services:
        for reference in ("LOCKED", "FREE"):
            age(world, reference, services, timedelta(days=DAYS + 1))
        with services.controller.begin() as connection:
            query = sa.text("SELECT id FROM dsar_requests WHERE gdpr_reference_id = 'LOCKED'")
            locked = sa.text(f"{query.text} FOR UPDATE")
            connection.execute(locked).all()
            assert retention_of(services).prune_expired(limit=9) == 1
        assert world.row("FREE")["export_state"] == "pruned"
        assert world.row("LOCKED")["export_state"] == "recorded"
