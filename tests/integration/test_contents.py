"""What a table has beside its columns: large objects, and the history of its rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.errors import SectionError
from backend.services.dsar_collectors import collection
from backend.services.findings import Problem
from tests.integration.test_relations import (
    HEAD,
    a_world,
    covered,
    drafted,
    exempt,
    exported,
    found,
    section,
)
from tests.strangers import settled
from tests.worlds import MARIADB, POSTGRESQL, SERVERS, database


def test_columns_that_name_large_objects_are_found(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    columns = ("id", "user_id", "scan", "face", "pages", "kind")
    with database(POSTGRESQL, request, tmp_path) as url:
        world = a_world(
            url, tmp_path,
            "CREATE EXTENSION lo",
            "CREATE TABLE letters (id integer PRIMARY KEY, user_id integer REFERENCES users,"
            " scan oid, face lo, pages oid[], kind regclass)",
        )  # fmt: skip
        whole = HEAD + section("letters", *columns)
        names = (Problem.LARGE_OBJECT, "letters", ("scan", "face", "pages"))
        assert found(covered(world, whole)) == {names}
        part = whole + exempt("letters", "scan", "pages")
        assert found(covered(world, part)) == {(Problem.LARGE_OBJECT, "letters", ("face",))}
        hidden = HEAD + section("letters", "id", "user_id", "kind").rstrip()
        for name in ("scan", "face", "pages"):
            hidden += f'\nwithheld.{name} = "a trade secret"'
        assert found(covered(world, hidden)) == set()
        world.close()


HISTORY = (
    "CREATE TABLE addresses (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id),"
    " street VARCHAR(20), note VARCHAR(20) INVISIBLE DEFAULT 'seen',"
    " FOREIGN KEY (user_id) REFERENCES users (id)) WITH SYSTEM VERSIONING",
    "INSERT INTO addresses VALUES (1, 1, 'Old'), (2, 2, 'Other'), (3, 1, 'Gone')",
    "UPDATE addresses SET street = 'New' WHERE id = 1",
    "DELETE FROM addresses WHERE id = 3",
)


@pytest.mark.skipif(MARIADB not in SERVERS, reason="MariaDB is not installed")
def test_history_that_the_database_keeps_is_asked_for_and_exported(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with database(MARIADB, request, tmp_path) as url:
        world = a_world(url, tmp_path, *HISTORY)
        assert (Problem.TABLE_UNCOVERED, "addresses") in {
            each[:2] for each in found(covered(world, HEAD))
        }
        columns = ("id", "user_id", "street", "note")
        now = HEAD + section("addresses", *columns)
        assert found(covered(world, now)) == {(Problem.HISTORY, "addresses", ())}
        assert [row["street"] for row in exported(world)["addresses"]] == ["New"]
        reasoned = '[[exempt]]\ntable = "addresses"\nhistory = true\nreason = "r"\n'
        assert found(covered(world, now + reasoned)) == set()
        alone = found(covered(world, HEAD + reasoned))
        assert (Problem.TABLE_UNCOVERED, "addresses", columns) in alone

        ever = HEAD + section("addresses", *columns, more="history = true")
        assert found(covered(world, ever)) == set()
        rows = exported(world)["addresses"]
        assert sorted(row["street"] for row in rows) == ["Gone", "New", "Old"]
        assert {row["note"] for row in rows} == {"seen"}

        text = settled(drafted(world))
        assert "history = true" in text
        assert found(covered(world, text)) == set()
        world.close()


def test_history_that_no_database_keeps_is_refused(database_url: str, tmp_path: Path) -> None:
    world = a_world(database_url, tmp_path, "CREATE TABLE logins (id INTEGER, user_id INTEGER)")
    text = HEAD + section("logins", "id", "user_id", more="history = true")
    (problem, *_) = {each[0] for each in found(covered(world, text))}
    assert problem is Problem.SECTION_WRONG
    with world.services() as services, pytest.raises(SectionError, match=r"'logins'.*history"):
        collection(services.runtime)
    covered(world, HEAD + "history = true\n")
    with world.services() as services, pytest.raises(SectionError, match=r"account.*history"):
        collection(services.runtime)
    world.close()
