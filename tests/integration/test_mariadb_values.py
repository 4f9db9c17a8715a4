"""MariaDB's values as a stranger's schema has them: FLOAT, JSON in text, unsigned keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from backend.migrations.runner import migrate
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.reflection import inspecting, reflect
from backend.services.schema_graph import read_schema
from backend.services.section_binding import key_type_of
from backend.services.sections import Exported, Withheld
from tests.harness import World, members
from tests.integration.test_values import PERSON, exported, runtime_of
from tests.worlds import SERVERS, database

pytestmark = pytest.mark.skipif("mariadb" not in SERVERS, reason="MariaDB is not installed")


@pytest.fixture
def maria(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with database("mariadb", request, tmp_path) as url:
        world = World(url, tmp_path)
        yield world
        world.close()


def table_of(world: World, name: str) -> sa.Table:
    with runtime_of(world) as runtime:
        found = reflect(runtime.source, [(None, name)], person=(None, name)).find((None, name))
    assert found is not None
    return found


FLOATS = {
    "float": [16777216.0, 1234567.75, 0.1, 3.4e38, -1.5, 1.1754944e-38, 0.0, 4194304.5],
    "float(7,3)": [1234.567, 1.1, -0.001],
    "float unsigned zerofill": [1.5, 0.1],
    "float(12)": [16777217 - 1.0],
    "float(53)": [0.10000000149011612, 16777217.0],
    "double": [0.1, 1e300, 0.10000000149011612],
    "real": [0.10000000149011612],
    "double(20,2)": [1234567890.12],
}


@pytest.mark.parametrize("kind", FLOATS)
def test_float_is_exported_with_all_its_digits(maria: World, kind: str) -> None:
    values = FLOATS[kind]
    with maria.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE f (id int PRIMARY KEY, owner int, v {kind})")
        for number, value in enumerate([*values, None]):
            connection.exec_driver_sql("INSERT INTO f VALUES (%s, %s, %s)", (number, PERSON, value))
    table = table_of(maria, "f")
    with runtime_of(maria) as runtime:
        assert [row["v"] for row in exported(runtime, table)] == [*values, None]


class Halved(sa.types.TypeDecorator[Any]):
    impl = sa.Float
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value / 2


def test_float_of_a_model_keeps_its_digits_below_a_decorator(maria: World) -> None:
    table = sa.Table(
        "f",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("owner", sa.Integer),
        sa.Column("plain", sa.Float),
        sa.Column("halved", Halved),
        sa.Column("exact", sa.Float(asdecimal=True)),
        sa.Column("wide", sa.Double),
    )
    table.create(maria.engine)
    with maria.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO f VALUES (1, %s, 1234567.75, 16777216, 0.1, 0.1)", (PERSON,)
        )
    with runtime_of(maria) as runtime:
        (row,) = exported(runtime, table)
    assert row == {
        "id": 1,
        "owner": PERSON,
        "plain": 1234567.75,
        "halved": 8388608.0,
        "exact": 0.1,
        "wide": 0.1,
    }


JSON_COLUMNS = {
    "inline json": "x json",
    "not null": "x json NOT NULL",
    "of text": "x longtext CHECK (json_valid(x))",
    "named": "x longtext, CONSTRAINT c CHECK (json_valid(x))",
    "or null": "x longtext, CHECK (x IS NULL OR json_valid(x))",
    "with others": "x longtext CHECK (json_valid(x) AND char_length(x) BETWEEN 1 AND 90)",
    "in parentheses": "x text, CHECK ((id > 0) AND ((json_valid(x))))",
    "by capitals": "X longtext CHECK (JSON_VALID(X))",
}
NO_JSON_COLUMNS = {
    "text": "x longtext",
    "refused": "x longtext CHECK (NOT json_valid(x) OR id > 0)",
    "either": "x longtext CHECK (json_valid(x) OR id > 0)",
    "a part": "x longtext CHECK (json_valid(concat('[', x, ']')) OR x <> '')",
    "in a text": "x longtext CHECK (x <> 'json_valid(x)')",
    "another": "x longtext, y json",
}


@pytest.mark.parametrize("declared", JSON_COLUMNS.values(), ids=list(JSON_COLUMNS))
def test_text_that_is_checked_to_be_json_is_exported_as_json(maria: World, declared: str) -> None:
    with maria.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE j (id int PRIMARY KEY, owner int, {declared})")
        text = '{"theme": "dark", "size": 1.10}'
        connection.exec_driver_sql("INSERT INTO j VALUES (1, %s, %s)", (PERSON, text))
    table = table_of(maria, "j")
    with runtime_of(maria) as runtime:
        (row,) = exported(runtime, table)
        shape = read_schema(runtime.source).tables[None, "j"]
    assert list(row.values())[2] == {"theme": "dark", "size": 1.1}
    assert isinstance(list(shape.columns.values())[2].type, sa.JSON)


@pytest.mark.parametrize("declared", NO_JSON_COLUMNS.values(), ids=list(NO_JSON_COLUMNS))
def test_text_that_may_be_no_json_is_exported_as_text(maria: World, declared: str) -> None:
    with maria.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE j (id int PRIMARY KEY, owner int, {declared})")
        connection.exec_driver_sql("INSERT INTO j (id, owner, x) VALUES (1, %s, '12')", (PERSON,))
    table = table_of(maria, "j")
    with runtime_of(maria) as runtime:
        (row,) = exported(runtime, table)
    assert row["x"] == "12"


def test_json_of_a_name_with_a_backtick_is_found(maria: World) -> None:
    with maria.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE `a``b` (`id` int PRIMARY KEY, `c``d(` json)")
    with runtime_of(maria) as runtime, inspecting(runtime.source) as inspector:
        assert [each["name"] for each in inspector.get_columns("a`b")] == ["id", "c`d("]
    assert isinstance(table_of(maria, "a`b").c["c`d("].type, sa.JSON)


def test_json_that_only_mariadb_takes_for_it_breaks_no_file(maria: World) -> None:
    texts = ['{"a": 1.}', '[1., {"secret": 2.}]', '{"a": 1, "a": 2}', " [1e400, -0] ", "[1e5]"]
    with maria.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE j (id int PRIMARY KEY, owner int, x json, y json)")
        for number, text in enumerate(texts):
            connection.exec_driver_sql(
                "INSERT INTO j VALUES (%s, %s, %s, %s)", (number, PERSON, text, text)
            )
    table = table_of(maria, "j")
    with runtime_of(maria) as runtime:
        hidden = Exported(paths={"secret": Withheld("r")})
        rows = exported(runtime, table, columns={"y": hidden})
    assert [row["x"] for row in rows] == [*texts[:2], {"a": 2}, [float("inf"), 0], [1e5]]
    assert "secret" not in str(rows[1]["y"])


UNSIGNED = """
version = 1
[subject]
table = "people"
key = "id"
[facts]
purpose = "to test"
categories = "t"
recipients = "none"
retention = "t"
source = "t"
automated_decisions = "none"
transfers = "none"
[[section]]
name = "account"
table = "people"
exported = ["id", "name"]
[[section]]
name = "notes"
table = "notes"
owner = "person"
exported = ["id", "person", "body"]
"""


def test_unsigned_keys_reach_as_far_as_the_column(maria: World, tmp_path: Path) -> None:
    people = {2**64 - 1: "Ida", 2**63: "Otto", 2**63 - 1: "Ada"}
    with maria.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE people (id bigint unsigned PRIMARY KEY, name varchar(40))"
        )
        connection.exec_driver_sql(
            "CREATE TABLE notes (id int PRIMARY KEY AUTO_INCREMENT, body varchar(40),"
            " person bigint unsigned, FOREIGN KEY (person) REFERENCES people (id))"
        )
        for key, name in people.items():
            connection.exec_driver_sql("INSERT INTO people VALUES (%s, %s)", (key, name))
            connection.exec_driver_sql(
                "INSERT INTO notes (body, person) VALUES (%s, %s)", (f"by {name}", key)
            )
    (tmp_path / "sections.toml").write_text(UNSIGNED)
    file = str(tmp_path / "sections.toml")
    world = World(maria.database_url, tmp_path, {"DSAR_SECTIONS_FILE": file})
    settings = world.settings()
    migrate(settings, key_type=key_type_of(settings))
    kind = sa.inspect(world.engine).get_columns("dsar_requests")
    column = next(each["type"] for each in kind if each["name"] == "user_id")
    assert isinstance(column, mysql.BIGINT)
    assert column.unsigned
    for number, (key, name) in enumerate(people.items()):
        world.request(key, f"R-{number}")
        with world.services():
            result = persist_dsar_export(f"R-{number}")
        assert result["ok"], result
        found = members(world.public(f"R-{number}"))
        assert found["account.json"] == {"id": key, "name": name}
        assert [row["body"] for row in found["notes.json"]] == [f"by {name}"]
    world.close()
