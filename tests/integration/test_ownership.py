"""An export root bears the name of its database, and is refused to every other."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.errors import RootNotOurs
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.ownership import require_own_root
from tests.factories import Person
from tests.harness import World
from tests.servers import ObjectStoreServer
from tests.worlds import SQLITE, a_world, database


@pytest.fixture
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Another database, with a person and a request of its own, that was given no root yet."""
    folder = tmp_path / "other"
    folder.mkdir()
    with a_world(SQLITE, request, folder) as made:
        made.people(Person(8, runs=1))
        made.request(8, "R-8")
        yield made


@pytest.fixture
def swept(world: World) -> World:
    """A world with one export."""
    world.people(Person(7, runs=1))
    world.request(7, "R-7")
    assert world.sweep().returncode == 0
    return world


def mark(world: World) -> Path:
    return world.exports / ".versions" / ".database"


def test_another_database_deletes_and_writes_nothing(swept: World, other: World) -> None:
    root = str(swept.exports)
    for done in (
        other.dsar("prune", export_root=root),
        other.sweep(export_root=root),
        other.dsar("export", "R-8", export_root=root),
        other.dsar("verify", export_root=root),
        other.run("scheduler", "run", export_root=root),
    ):
        assert done.returncode == 78, done.stderr
        assert "another database's exports" in done.stderr
        assert "DSAR_EXPORT_ROOT" in done.stderr
    swept.check_invariants()
    assert other.row("R-8")["attempts"] == 0
    assert swept.dsar("prune").returncode == 0
    assert len(swept.versions()) == 1


def test_unmarked_root_of_an_earlier_release_is_marked_by_its_own_database_alone(
    swept: World, other: World
) -> None:
    mark(swept).unlink()
    # Of the same id and token, as of two databases that both count from 1.
    other.dsar("export", "R-8")
    assert other.versions() == swept.versions() == ["1.1.zip"]

    refused = other.dsar("prune", export_root=str(swept.exports))
    assert (refused.returncode, "records none" in refused.stderr) == (78, True), refused.stderr
    assert not mark(swept).exists()

    assert swept.dsar("prune").returncode == 0
    assert mark(swept).exists()
    swept.check_invariants()


def test_take_over_deletes_what_this_database_does_not_know(swept: World, other: World) -> None:
    root = str(swept.exports)
    taken = other.dsar("prune", "--take-over", export_root=root)

    assert (taken.returncode, taken.json["leftovers"]) == (0, 1), taken.stderr
    assert swept.versions() == []
    assert other.sweep(export_root=root).returncode == 0
    assert swept.dsar("prune").returncode == 78


def test_doctor_tells_and_takes_nothing(swept: World, other: World) -> None:
    found = other.dsar("doctor", "--json", export_root=str(swept.exports)).json["checks"]
    owner = next(each for each in found if each["name"] == "owner")
    assert (owner["state"], "another database" in owner["found"]) == ("bad", True)

    other.dsar("doctor")
    assert not other.exports.exists()


def test_two_at_once_take_a_new_root_for_one(sqlite_world: World, other: World) -> None:
    root = str(sqlite_world.exports)
    both = [
        each.start("backend.cli.dsar_commands", "prune", export_root=root)
        for each in (sqlite_world, other)
    ]
    codes = sorted(each.wait() for each in both)
    assert codes == [0, 78]
    assert [path.name for path in mark(sqlite_world).parent.iterdir()] == [".database"]


def test_moved_database_keeps_its_root(
    swept: World, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    with database(SQLITE, request, folder) as url:
        done = swept.dsar("move-database", "--to", url)
        assert done.returncode == 0, done.stderr
        new = World(url, swept.root)
        try:
            assert new.dsar("prune").returncode == 0
            new.check_invariants()
        finally:
            new.close()


def test_root_that_was_taken_over_is_refused_to_the_application_too(
    swept: World, other: World
) -> None:
    swept.request(7, "AGAIN")
    assert other.dsar("prune", "--take-over", export_root=str(swept.exports)).returncode == 0

    with swept.services() as services:
        assert persist_dsar_export("AGAIN")["error_code"] == "export_root_not_ours"
        with pytest.raises(RootNotOurs):
            require_own_root(services.controller, services.store)
    assert swept.row("AGAIN")["attempts"] == 0


@pytest.mark.parametrize("option", ["", " conditional_put=disabled"])
def test_object_store_is_marked_alike(
    postgresql_world: World, other: World, object_store: ObjectStoreServer, option: str
) -> None:
    """Also one that knows no conditional writes."""
    variables = object_store.variables(f"exports/{uuid.uuid4().hex[:8]}")
    variables["DSAR_STORE_OPTIONS"] += option
    postgresql_world.environment |= variables
    other.environment |= variables
    postgresql_world.people(Person(7, runs=1))
    postgresql_world.request(7, "R-7")
    assert postgresql_world.sweep().returncode == 0

    assert other.dsar("prune").returncode == other.sweep().returncode == 78
    assert postgresql_world.dsar("verify").returncode == 0
    assert other.dsar("prune", "--take-over").returncode == 0
    assert postgresql_world.dsar("verify").returncode == 78


def test_damaged_version_proves_nobody_the_owner_of_a_root(swept: World) -> None:
    """An unmarked root whose only export does not open may be anybody's."""
    mark(swept).unlink()
    (version,) = swept.versions()
    (swept.exports / ".versions" / version).write_bytes(b"damaged")
    with swept.services() as services, pytest.raises(RootNotOurs, match="records none"):
        require_own_root(services.controller, services.store)
    assert not mark(swept).exists()
