"""The JSON Schemas say what the declarations say. Real rows meet them in tests/integration."""

from __future__ import annotations

import enum
import json
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from sqlalchemy.dialects import mysql, postgresql

from backend.cli.dsar_commands import dsar
from backend.services.archive import SCHEMA_VERSION
from backend.services.dsar_collectors import ACCOUNT, AUDIT_LOGS, SECTIONS, WORKFLOWS
from backend.services.json_schemas import meta_schema, printed_schemas, schema_of, schemas_of
from backend.services.sections import (
    EXPORTED,
    Facts,
    FilesSection,
    FunctionSection,
    Masked,
    OwnerPath,
    Reason,
    TableSection,
)

FACTS = Facts(purpose="p", recipients="r", retention="t")


class Mood(enum.Enum):
    GOOD = 1


def column_schema(kind: Any, **options: Any) -> dict[str, Any]:
    """The schema of one value of a column of that type."""
    table = sa.Table("t", sa.MetaData(), sa.Column("c", kind, **options))
    section = TableSection(
        name="t", table=table, owner_paths=(OwnerPath("c"),), columns={"c": EXPORTED}, facts=FACTS
    )
    found: dict[str, Any] = schema_of(section, "1")["items"]["properties"]["c"]
    return found


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (sa.Integer(), [0, -5, 2**70], ["1", 1.5, True]),
        (sa.String(10), ["", "x"], [1]),
        (sa.Boolean(), [True, False], [1, "yes"]),
        (sa.Float(), [1, 1.5, "NaN", "-Infinity"], ["1.5"]),
        (sa.Numeric(10, 2), ["1.50"], [1.5]),
        (sa.DateTime(), ["2026-01-01T00:00:00", "infinity"], [5]),
        (sa.Date(), ["2026-01-01"], [5]),
        (sa.Time(), ["12:00:00"], [5]),
        (sa.Interval(), ["P1D"], [5]),
        (sa.Uuid(), ["123e4567-e89b-12d3-a456-426614174000"], [5]),
        (sa.LargeBinary(), ["AP8="], [5]),
        (sa.Enum(Mood), ["GOOD"], [1]),
        (sa.JSON(), [1, "x", {"a": []}, None], []),
        (sa.types.NullType(), [1, "x"], []),
        (sa.ARRAY(sa.Integer()), [[1, None], []], [1]),
        (postgresql.DOMAIN("email", sa.Text()), ["x"], [1]),
        (postgresql.INT4RANGE(), ["[1,5)"], []),
        (mysql.SET("a", "b"), [["a"]], ["a"]),
    ],
)
def test_schema_of_a_column_allows_its_type_alone(
    kind: Any, good: list[Any], bad: list[Any]
) -> None:
    for nullable in (True, False):
        schema = column_schema(kind, nullable=nullable)
        Draft202012Validator.check_schema(schema)
        validator = Draft202012Validator(schema)
        assert all(map(validator.is_valid, good))
        assert not any(map(validator.is_valid, bad))
        if bad:
            assert validator.is_valid(None) is nullable


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_schema_of_every_section_is_a_schema_and_names_every_exported_column(section: Any) -> None:
    schema = schema_of(section, SCHEMA_VERSION)
    Draft202012Validator.check_schema(schema)
    row = schema["anyOf"][0] if section.single else schema["items"]
    names = [column.name for column in section.read_columns()]
    assert row["required"] == list(row["properties"]) == names
    assert row["additionalProperties"] is False
    assert schema["title"] and schema["description"]


def test_schema_of_a_single_section_allows_none() -> None:
    validator = Draft202012Validator(schema_of(ACCOUNT, "1"))
    assert validator.is_valid({})
    assert not validator.is_valid({"id": 1})
    assert not validator.is_valid([])


def test_schema_of_a_masked_column_allows_its_note() -> None:
    validator = Draft202012Validator(
        schema_of(AUDIT_LOGS, "1")["items"]["properties"]["ip_address"]
    )
    note = Masked(Reason.OTHER_PERSON).note
    assert all(map(validator.is_valid, [note, "192.0.2.1", None]))
    owner = Draft202012Validator(schema_of(AUDIT_LOGS, "1")["items"]["properties"]["actor_user_id"])
    assert all(map(owner.is_valid, [note, 7, None]))
    assert not owner.is_valid("somebody")


def test_schema_of_a_column_with_withheld_paths_allows_anything() -> None:
    schema = schema_of(WORKFLOWS, "1")["items"]["properties"]["definition"]
    assert set(schema) == {"title"}


def test_schema_of_a_function_section_is_an_array_of_objects() -> None:
    section = FunctionSection(name="chat", rows=lambda subject: [], facts=FACTS)
    validator = Draft202012Validator(schema_of(section, "1"))
    assert validator.is_valid([{"any": 1}])
    assert not validator.is_valid([1])
    assert "description" not in schema_of(section, "1")


def test_schemas_of_files_are_those_of_their_lists() -> None:
    section = FilesSection(name="uploads", files=lambda subject: [], facts=FACTS)
    (schema,) = schemas_of(section, "1").values()
    validator = Draft202012Validator(schema)
    assert validator.is_valid([{"name": "a", "file": "uploads/a"}])
    assert validator.is_valid([{"name": "a", "file": None, "problem": "gone"}])
    assert not validator.is_valid([{"name": "a"}])
    named = schemas_of(replace(ACCOUNT, files={"name": "/srv"}), "1")
    assert list(named) == ["account", "account_files"]
    validator = Draft202012Validator(named["account_files"])
    row = {"column": "name", "name": "a", "file": None, "problem": "gone"}
    assert validator.is_valid([row, {**row, "file": "account_files/a"}])
    assert not validator.is_valid([{"name": "a", "file": None}])


def test_printed_schemas_are_the_schemas_and_are_printed_once() -> None:
    found = printed_schemas(ACCOUNT, SCHEMA_VERSION)
    assert json.loads(found["account"]) == schema_of(ACCOUNT, SCHEMA_VERSION)
    assert printed_schemas(ACCOUNT, SCHEMA_VERSION) is found


def test_schema_command_prints_one_or_all() -> None:
    run = CliRunner().invoke
    every = json.loads(run(dsar, ["schema"]).output)
    assert list(every) == [*(section.name for section in SECTIONS), "meta"]
    assert json.loads(run(dsar, ["schema", "meta"]).output) == every["meta"]
    wrong = run(dsar, ["schema", "nothing"])
    assert wrong.exit_code == 2
    assert "'nothing'" in wrong.output and "workflow_runs" in wrong.output


def test_meta_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(meta_schema(SCHEMA_VERSION))
