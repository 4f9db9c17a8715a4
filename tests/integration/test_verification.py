"""``verify`` looks at every export there is, and tells what has changed from what is damaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from backend.services import verification as verification_module
from backend.services.assembly import Services
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.verification import DIFFERS, GOOD, MISSING, PRUNED, Finding, Verification
from tests.harness import World
from tests.integration.test_retention import exported


def verification(services: Services, store: Any = None) -> Verification:
    return Verification(services.controller, services.claims, store or services.store)


def states(found: list[Finding]) -> dict[str | None, str]:
    return {each.reference_id: each.state for each in found}


def test_verify_all_looks_at_more_than_one_batch(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification_module, "_BATCH", 2)
    references = ("A", "B", "C", "D", "E")
    with exported(sqlite_world, *references) as services:
        found = list(verification(services).verify_all())
    assert [each.reference_id for each in found] == [*references]
    assert {each.state for each in found} == {GOOD}


class Meanwhile:
    """A store in which something happens just before it is first asked for a version."""

    def __init__(self, store: Any, act: Callable[[], object]) -> None:
        self._store, self._act, self._acted = store, act, False

    def has_version(self, *version: int) -> bool:
        if not self._acted:
            self._acted = True
            self._act()
        return bool(self._store.has_version(*version))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_verify_of_what_was_exported_anew_meanwhile_is_good(sqlite_world: World) -> None:
    """The version that was read of a moment ago is deleted by then."""
    with exported(sqlite_world, "R") as services:
        store = Meanwhile(services.store, lambda: persist_dsar_export("R"))
        assert verification(services, store).verify("R").state == GOOD
    assert sqlite_world.row("R")["export_claim_token"] == 2


def test_verify_of_what_is_not_there_says_so(sqlite_world: World) -> None:
    world = sqlite_world
    with exported(world, "R") as services:
        row = world.row("R")
        store = Meanwhile(services.store, lambda: services.store.delete(row["id"], 1))
        assert verification(services, store).verify("R").state == MISSING


def test_verify_of_a_pruned_export_takes_its_link_away(sqlite_world: World) -> None:
    """An interrupted prune leaves one; the person's data would still be there to be fetched."""
    world = sqlite_world
    with exported(world, "R") as services:
        world.update("R", export_state="pruned")
        found = list(verification(services).verify_all())
    assert states(found) == {"R": PRUNED} and found[0].link_repaired
    assert not world.public("R").exists()


def test_verify_of_another_file_than_the_recorded_one_says_so(sqlite_world: World) -> None:
    """It opens, and would be handed over."""
    world = sqlite_world
    with exported(world, "R", "OTHER") as services:
        folder = world.exports / ".versions"
        mine, others = (folder / name for name in world.versions())
        mine.write_bytes(others.read_bytes())
        assert states(list(verification(services).verify_all())) == {"R": DIFFERS, "OTHER": GOOD}
