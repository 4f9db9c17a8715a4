"""What is no plain table: views, foreign tables, inherited tables, partitions elsewhere."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from backend.services.coverage import check_coverage
from backend.services.drafting import draft, find_key, find_person
from backend.services.dsar_collectors import collection
from backend.services.findings import Problem, Report
from backend.services.packing import build_archive
from backend.services.proving import prove
from backend.services.relations import Inherited, Lineage
from backend.services.schema_graph import read_schema
from tests.harness import World
from tests.strangers import settled
from tests.worlds import POSTGRESQL, database

HEAD = """
version = 1
[subject]
table = "users"
key = "id"
[facts]
purpose = "p"
categories = "c"
recipients = "none"
retention = "r"
source = "s"
automated_decisions = "none"
transfers = "none"
[[section]]
name = "account"
table = "users"
exported = ["id"]
"""
PEOPLE = ["CREATE TABLE users (id INTEGER PRIMARY KEY)", "INSERT INTO users VALUES (1), (2)"]


def section(table: str, *columns: str, owner: str = "user_id", more: str = "") -> str:
    return (
        f'[[section]]\nname = "{table}"\ntable = "{table}"\nowner = "{owner}"\n'
        f"exported = {json.dumps(columns)}\n{more}\n"
    )


def exempt(table: str, *columns: str) -> str:
    return f'[[exempt]]\ntable = "{table}"\ncolumns = {json.dumps(columns)}\nreason = "r"\n'


def a_world(url: str, folder: Path, *statements: str) -> World:
    world = World(url, folder, {"DSAR_SECTIONS_FILE": str(folder / "sections.toml")})
    with world.begin() as connection:
        for statement in (*PEOPLE, *statements):
            connection.exec_driver_sql(statement)
    return world


@pytest.fixture
def postgresql_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(POSTGRESQL, request, tmp_path) as url:
        yield url


def covered(world: World, text: str) -> Report:
    (world.root / "sections.toml").write_text(text, "utf-8")
    with world.services() as services:
        return check_coverage(services.runtime)


def found(report: Report) -> set[tuple[Problem, str | None, tuple[str, ...]]]:
    return {(each.problem, each.table, tuple(each.columns)) for each in report.findings}


def exported(world: World, key: int = 1) -> dict[str, Any]:
    """Every section of that person's export; proven first."""
    with world.services() as services:
        declared = collection(services.runtime)
        assert prove(declared).findings == []
        content, _ = build_archive(declared, key, None)
    with zipfile.ZipFile(BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if name.endswith(".json")]
        return {name.rpartition("/")[2][:-5]: json.loads(archive.read(name)) for name in names}


def drafted(world: World, table: str = "users") -> str:
    with world.services() as services:
        schema = read_schema(services.runtime.source, {None}, [(None, table)])
        person = find_person(schema, table)
        return draft(schema, person, find_key(person, "id"))


def test_view_is_bound_proven_exported_and_covered(database_url: str, tmp_path: Path) -> None:
    world = a_world(
        database_url, tmp_path,
        "CREATE TABLE files (id INTEGER, record_kind VARCHAR(9), record INTEGER, name VARCHAR(9))",
        "INSERT INTO files VALUES (1, 'User', 1, 'mine'), (2, 'Product', 1, 'other')",
        "CREATE VIEW user_files AS SELECT id, record AS user_id, name FROM files"
        " WHERE record_kind = 'User'",
        "CREATE VIEW unnamed AS SELECT id, record AS user_id FROM files",
        "CREATE TABLE gone (id INTEGER)",
    )  # fmt: skip
    if not database_url.startswith("postgresql"):  # which keeps the tables of its views
        with world.begin() as connection:
            connection.exec_driver_sql("CREATE VIEW broken AS SELECT id AS user_id FROM gone")
            connection.exec_driver_sql("DROP TABLE gone")
    whole = HEAD + section("user_files", "id", "user_id", "name")
    assert found(covered(world, whole)) == set()
    assert exported(world)["user_files"] == [{"id": 1, "user_id": 1, "name": "mine"}]
    assert "user_files" not in drafted(world)
    # A view is looked at as a table is.
    partly = HEAD + section("user_files", "id", "user_id")
    assert (Problem.COLUMN_UNCOVERED, "user_files", ("name",)) in found(covered(world, partly))
    gone = HEAD + section("no_such_view", "id", owner="id")
    assert (Problem.TABLE_GONE, "no_such_view", ()) in found(covered(world, gone))
    if not database_url.startswith("postgresql"):
        broken = HEAD + section("broken", "user_id")
        assert (Problem.TABLE_GONE, "broken", ()) in found(covered(world, broken))
    assert found(covered(world, HEAD + exempt("unnamed"))) == set()
    world.close()


def test_view_that_stands_for_the_people_is_led_to(database_url: str, tmp_path: Path) -> None:
    world = a_world(
        database_url, tmp_path,
        "CREATE TABLE accounts (no INTEGER PRIMARY KEY, kind INTEGER)",
        "CREATE VIEW persons AS SELECT no AS id FROM accounts",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, account INTEGER,"
        " FOREIGN KEY (account) REFERENCES accounts (no))",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, person_id INTEGER)",
    )  # fmt: skip
    text = HEAD.replace('"users"', '"persons"')
    problems = found(covered(world, text))
    assert (Problem.TABLE_UNCOVERED, "orders", ("id", "account")) in problems
    assert (Problem.TABLE_UNCOVERED, "notes", ("id", "person_id")) in problems
    world.close()


def test_foreign_tables_and_materialized_views_are_read_and_asked_for(
    postgresql_url: str, tmp_path: Path
) -> None:
    (tmp_path / "invoices.csv").write_text("7,1,9\n8,2,9\n")
    (tmp_path / "invoices.csv").chmod(0o644)
    world = a_world(
        postgresql_url, tmp_path,
        "CREATE EXTENSION file_fdw", "CREATE SERVER f FOREIGN DATA WRAPPER file_fdw",
        "CREATE FOREIGN TABLE invoices (id integer, user_id integer, amount integer) SERVER f"
        " OPTIONS (program 'printf \"7,1,9\\n8,2,9\\n\"', format 'csv')",
        "CREATE TABLE logins (id integer, user_id integer REFERENCES users)",
        "INSERT INTO logins VALUES (5, 1), (6, 2)",
        "CREATE MATERIALIZED VIEW seen AS SELECT id, user_id FROM logins",
    )  # fmt: skip
    logins = section("logins", "id", "user_id")
    asked = found(covered(world, HEAD + logins))
    assert asked == {
        (Problem.TABLE_UNCOVERED, "invoices", ("id", "user_id", "amount")),
        (Problem.TABLE_UNCOVERED, "seen", ("id", "user_id")),
    }
    text = HEAD + logins + section("seen", "id", "user_id")
    text += section("invoices", "id", "user_id", "amount")
    assert found(covered(world, text)) == set()
    data = exported(world)
    assert data["invoices"] == [{"id": 7, "user_id": 1, "amount": 9}]
    assert data["seen"] == [{"id": 5, "user_id": 1}]
    assert found(covered(world, settled(drafted(world)))) == set()
    world.close()


FAMILY = (
    "CREATE SCHEMA far",
    "CREATE TABLE event (id integer PRIMARY KEY, user_id integer REFERENCES users, day date)",
    "CREATE TABLE purchase (card text, amount numeric(9, 2)) INHERITS (event)",
    "CREATE TABLE refund (why text) INHERITS (purchase)",
    "CREATE TABLE far.visit (place text) INHERITS (event)",
    "CREATE TABLE event_2020 () INHERITS (event)",
    "INSERT INTO event VALUES (1, 1, '2026-01-01')",
    "INSERT INTO purchase VALUES (2, 1, '2026-01-02', '4242', 12.50), (3, 2, NULL, 'no', 1)",
    "INSERT INTO refund VALUES (4, 1, NULL, '4343', 1, 'broken')",
    "INSERT INTO far.visit VALUES (5, 1, NULL, 'Rome')",
    "INSERT INTO event_2020 VALUES (6, 1, NULL)",
)


def test_columns_of_inherited_tables_are_asked_for(postgresql_url: str, tmp_path: Path) -> None:
    world = a_world(postgresql_url, tmp_path, *FAMILY)
    event = section("event", "id", "user_id", "day")
    assert found(covered(world, HEAD + event)) == {
        (Problem.TABLE_UNCOVERED, "purchase", ("card", "amount")),
        (Problem.TABLE_UNCOVERED, "refund", ("card", "amount", "why")),
        (Problem.TABLE_UNCOVERED, "far.visit", ("place",)),
    }
    purchase = section("purchase", "id", "user_id", "day", "card", "amount")
    far = exempt("visit", "place").replace("columns", 'schema = "far"\ncolumns')
    text = HEAD + event + purchase + far
    assert found(covered(world, text)) == {(Problem.TABLE_UNCOVERED, "refund", ("why",))}
    # No row is lost, be it shown twice.
    assert found(covered(world, text + exempt("refund", "why"))) == set()
    data = exported(world)
    assert [row["id"] for row in data["event"]] == [1, 2, 4, 5, 6]
    assert sorted(row["card"] for row in data["purchase"]) == ["4242", "4343"]

    whole = settled(drafted(world))
    assert found(covered(world, whole)) == set()
    data = exported(world)
    assert set(data) >= {"event", "purchase", "refund", "visit"}
    assert "event_2020" not in data
    assert data["refund"] == [
        {"id": 4, "user_id": 1, "day": None, "card": "4343", "amount": "1.00", "why": "broken"}
    ]
    world.close()


def test_tables_that_inherit_the_peoples_are_theirs_by_the_key(
    postgresql_url: str, tmp_path: Path
) -> None:
    world = a_world(
        postgresql_url, tmp_path,
        "ALTER TABLE users ADD manager_id integer REFERENCES users",
        "CREATE TABLE members (nickname text) INHERITS (users)",
        "INSERT INTO members VALUES (3, 1, 'mo')",
    )  # fmt: skip
    text = HEAD.replace('exported = ["id"]', 'exported = ["id", "manager_id"]')
    (finding,) = found(covered(world, text + exempt("users", "manager_id")))
    assert finding == (Problem.TABLE_UNCOVERED, "members", ("nickname",))
    draft_text = drafted(world)
    assert 'name = "members"\ntable = "members"\nowner = "id"\n' in draft_text
    covered(world, settled(draft_text))
    assert exported(world, 3)["members"][0]["nickname"] == "mo"
    assert exported(world, 1)["members"] == []
    world.close()


def test_lineage_knows_the_parents_of_parents_nearest_first() -> None:
    a, b, c, d = ((None, name) for name in "abcd")
    lineage = Lineage([Inherited(a, b, True), Inherited(b, c, True), Inherited(b, d, False)])
    assert lineage.ancestors(a) == [b, c, d]
    assert lineage.ancestors(d) == []


def test_partitions_are_parts_of_a_parent_that_is_looked_at(
    postgresql_url: str, tmp_path: Path
) -> None:
    world = a_world(
        postgresql_url, tmp_path,
        "CREATE SCHEMA far",
        "CREATE TABLE log (id integer, user_id integer) PARTITION BY RANGE (id)",
        "CREATE TABLE far.log_1 PARTITION OF log FOR VALUES FROM (0) TO (9)"
        " PARTITION BY RANGE (id)",
        "CREATE TABLE log_1a PARTITION OF far.log_1 FOR VALUES FROM (0) TO (9)",
        "CREATE EXTENSION file_fdw", "CREATE SERVER f FOREIGN DATA WRAPPER file_fdw",
        "CREATE FOREIGN TABLE log_2 PARTITION OF log FOR VALUES FROM (9) TO (99) SERVER f"
        " OPTIONS (program 'echo 10,1', format 'csv')",
        "INSERT INTO log VALUES (1, 1), (2, 2)",
        # Of these the parent is seen by nobody.
        "CREATE TABLE far.old (id integer, user_id integer REFERENCES users)"
        " PARTITION BY RANGE (id)",
        "CREATE TABLE old_1 PARTITION OF far.old FOR VALUES FROM (0) TO (9)",
    )  # fmt: skip
    text = HEAD + section("log", "id", "user_id")
    assert found(covered(world, text)) == {(Problem.TABLE_UNCOVERED, "old_1", ("id", "user_id"))}
    covered(world, text + exempt("old_1"))
    assert sorted(row["id"] for row in exported(world)["log"]) == [1, 10]
    both = text.replace("[subject]", 'schemas = ["far"]\n[subject]')
    assert found(covered(world, both)) == {(Problem.TABLE_UNCOVERED, "far.old", ("id", "user_id"))}
    world.close()
