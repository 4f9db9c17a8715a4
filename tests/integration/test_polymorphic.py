"""Pairs of columns that name rows of several tables: found, drafted, exported by a condition."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from backend.errors import SectionError
from backend.services.dsar_collectors import collection
from backend.services.findings import Problem
from backend.services.polymorphic import Pair, pairs_of
from backend.services.schema_graph import ForeignKey, Schema, TableShape
from backend.services.sections_file import read_sections_file
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

FILES = (
    "CREATE TABLE files (id INTEGER PRIMARY KEY, record_type VARCHAR(20), record_id INTEGER)",
    "INSERT INTO files VALUES (1, 'User', 1), (2, 'Product', 1), (3, 'user', 1), (4, 'User ', 1),"
    " (5, NULL, 1), (6, 'User', 2), (7, 'Staff', 1)",
)


def owner(where: str, column: str = "record_id", path: str = "") -> str:
    way = f"path = [{path}], " if path else ""
    return f"{{ {way}column = {column!r}, where = {where} }}"


def files(where: str | None, *, name: str = "files") -> str:
    text = section("files", "id", "record_type", "record_id", owner="record_id")
    text = text.replace('name = "files"', f'name = "{name}"')
    return text if where is None else text.replace('"record_id"\nexp', f"{owner(where)}\nexp", 1)


def test_pair_is_found_and_exported_by_its_type_alone(database_url: str, tmp_path: Path) -> None:
    world = a_world(database_url, tmp_path, *FILES)
    pair = (Problem.POLYMORPHIC, "files", ("record_type", "record_id"))
    assert found(covered(world, HEAD)) == {pair}
    assert found(covered(world, HEAD + exempt("files", "record_id"))) == set()
    # By the number alone another table's rows would be exported.
    assert found(covered(world, HEAD + files(None))) == {pair}

    assert found(covered(world, HEAD + files('{ record_type = "User" }'))) == set()
    assert [row["id"] for row in exported(world)["files"]] == [1]
    covered(world, HEAD + files('{ record_type = ["User", "Staff"] }'))
    assert [row["id"] for row in exported(world)["files"]] == [1, 7]

    text = drafted(world)
    assert 'where = { record_type = "..." } }' in text
    assert pair in found(covered(world, text.replace('table = "files"', 'table = "users"')))
    assert found(covered(world, settled(text))) == set()
    world.close()


def test_condition_on_the_way_to_the_person(database_url: str, tmp_path: Path) -> None:
    world = a_world(
        database_url, tmp_path, *FILES,
        "CREATE TABLE versions (id INTEGER PRIMARY KEY, file INTEGER, live BOOLEAN,"
        " FOREIGN KEY (file) REFERENCES files (id))",
        *(f"INSERT INTO versions VALUES ({n}, {n}, TRUE)" for n in range(1, 8)),
        "INSERT INTO versions VALUES (11, 1, FALSE), (12, 1, NULL)",
    )  # fmt: skip
    both = '{ live = true, files.record_type = "User" }'
    way = owner(both, path='"file = files.id"')
    versions = section("versions", "id", "file", "live").replace('"user_id"', way)
    whole = HEAD + files('{ record_type = "User" }') + versions
    assert found(covered(world, whole)) == set()
    assert [row["id"] for row in exported(world)["versions"]] == [1]
    # Quoted, and without the condition on the table that the path passes.
    quoted = whole.replace("files.record_type", '"files.record_type"')
    assert found(covered(world, quoted)) == set()
    loose = whole.replace(', files.record_type = "User"', "")
    assert found(covered(world, loose)) == {
        (Problem.POLYMORPHIC, "files", ("record_type", "record_id"))
    }
    world.close()


VERSIONS = (
    "CREATE TABLE versions (id INTEGER PRIMARY KEY, file INTEGER, record_type VARCHAR(20),"
    " FOREIGN KEY (file) REFERENCES files (id))"
)


def versions(where: str) -> str:
    way = owner(where, path='"file = files.id"')
    return section("versions", "id", "file", "record_type").replace('"user_id"', way)


def test_condition_on_one_table_says_nothing_of_anothers_pair(tmp_path: Path) -> None:
    world = a_world(f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path, *FILES, VERSIONS)
    whole = HEAD + files('{ record_type = "User" }')
    of_files = versions('{ files.record_type = "User" }')
    assert found(covered(world, whole + of_files)) == set()
    of_versions = versions('{ record_type = "User" }')
    assert found(covered(world, whole + of_versions)) == {
        (Problem.POLYMORPHIC, "files", ("record_type", "record_id"))
    }
    world.close()


def test_condition_on_the_way_that_cannot_hold_is_refused(tmp_path: Path) -> None:
    world = a_world(f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path, *FILES, VERSIONS)
    text = HEAD + versions("{ files.record_type = 7 }")
    (tmp_path / "sections.toml").write_text(text, "utf-8")
    words = r"section 'versions'.*as a text: \"7\""
    with world.services() as services, pytest.raises(SectionError, match=words):
        collection(services.runtime)
    world.close()


def test_djangos_content_types_are_such_pairs(database_url: str, tmp_path: Path) -> None:
    world = a_world(
        database_url, tmp_path,
        "CREATE TABLE django_content_type (id INTEGER PRIMARY KEY, model VARCHAR(100))",
        "INSERT INTO django_content_type VALUES (7, 'user'), (8, 'product')",
        "CREATE TABLE comments (id INTEGER PRIMARY KEY, content_type_id INTEGER,"
        " object_id VARCHAR(64),"
        " FOREIGN KEY (content_type_id) REFERENCES django_content_type (id))",
        "INSERT INTO comments VALUES (1, 7, '1'), (2, 8, '1'), (3, 7, '01'), (4, 7, '2')",
    )  # fmt: skip
    comments = section("comments", "id", "content_type_id", "object_id")
    assert found(covered(world, HEAD)) == {
        (Problem.POLYMORPHIC, "comments", ("content_type_id", "object_id"))
    }
    way = owner("{ content_type_id = 7 }", "object_id")
    assert found(covered(world, HEAD + comments.replace('"user_id"', way))) == set()
    assert [row["id"] for row in exported(world)["comments"]] == [1]
    world.close()


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ('{ record_typ = "User" }', "record_typ"),
        ("{ record_type = 7 }", 'as a text: "7"'),
        ('{ record_id = "7" }', "without quotation marks"),
        ('{ "orders.kind" = "x" }', "the path passes orders 0 times"),
        ('{ record_type = "a text of twenty-five letters" }', "of 20 characters"),
    ],
)
def test_condition_that_cannot_hold_is_refused_by_name(
    tmp_path: Path, where: str, words: str
) -> None:
    world = a_world(f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path, *FILES)
    (tmp_path / "sections.toml").write_text(HEAD + files(where), "utf-8")
    with world.services() as services, pytest.raises(SectionError) as caught:
        collection(services.runtime)
    assert "section 'files'" in str(caught.value)
    assert words in str(caught.value)
    world.close()


@pytest.mark.parametrize("where", ["3", "{ record_type = [] }", "{ record_type = 1.5 }"])
def test_condition_that_says_nothing_is_refused(tmp_path: Path, where: str) -> None:
    path = tmp_path / "sections.toml"
    path.write_text(HEAD + files(where), "utf-8")
    with pytest.raises(SectionError, match=r"section 'files'.*where"):
        read_sections_file(path)


PAIRS = [
    "record_type record_id", "commentable_type commentable_id", "recordType recordId",
    "owner_class owner_id", "content_type_id object_id", "content_type object_pk",
    "target_content_type_id target_object_id", "entity entity_id", "model_type model_id",
    "entity_type record_id", "table_name row_id", "table_name record_id", "objecttype objectid",
    "user_type user_id", "tokenable_type tokenable_id", "auditable_type auditable_uuid",
    "ref_table ref_id", "source_kind source_id", "model object_id",
]  # fmt: skip
NO_PAIRS = [
    "kind id", "payment_type_id payment_id", "order_type order_id", "country country_id",
    "type order_id", "record_type other_thing_id", "name record_id",
]  # fmt: skip


def shaped(names: Sequence[str], **more: ForeignKey) -> Schema:
    def table(name: str, columns: Sequence[str]) -> TableShape:
        kinds = {c: sa.Integer() if c.lower().endswith("id") else sa.String(20) for c in columns}
        made = {c: sa.Column(c, kind) for c, kind in kinds.items()}
        keys = tuple(more.values()) if name == "x" else ()
        return TableShape((None, name), made, ("id",), keys)

    tables = [table("x", ["id", *names]), table("users", ["id", "email"]), table("orders", ["id"])]
    return Schema(None, {each.name: each for each in tables}, people=(None, "users"))


@pytest.mark.parametrize("names", PAIRS)
def test_pair_is_known_by_its_names(names: str) -> None:
    schema = shaped(names.split())
    assert pairs_of(schema, schema.tables[None, "x"]) == [Pair(*names.split())]


@pytest.mark.parametrize("names", NO_PAIRS)
def test_columns_that_only_look_alike_are_no_pair(names: str) -> None:
    schema = shaped(names.split())
    assert pairs_of(schema, schema.tables[None, "x"]) == []


def test_pair_whose_key_is_declared_means_one_table() -> None:
    key = ForeignKey(("record_id",), (None, "orders"), ("id",))
    schema = shaped(["record_type", "record_id"], key=key)
    assert pairs_of(schema, schema.tables[None, "x"]) == []
