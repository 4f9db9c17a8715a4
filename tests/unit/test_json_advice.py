"""What coverage advises of JSON that a section exports whole."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from backend.services.dsar_collectors import EXEMPTIONS, SECTIONS
from backend.services.file_advice import advice_on_json
from backend.services.sections import (
    Exemption,
    Exported,
    Masked,
    OwnerPath,
    TableSection,
    Withheld,
)
from backend.services.sections_file import ExemptEntry
from tests.unit.test_path_columns import FACTS

STRUCTURED: list[Any] = [
    sa.JSON(), postgresql.JSONB(), postgresql.HSTORE(), sa.ARRAY(sa.JSON()),
]  # fmt: skip


def section(kind: Any, schema: str | None = None, **columns: Any) -> TableSection:
    given = {"id": Exported(), "data": Exported(), "More": Exported(), **columns}
    table = sa.Table(
        "notes", sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True), sa.Column("data", kind),
        sa.Column("More", kind), schema=schema,
    )  # fmt: skip
    return TableSection(
        name="notes", table=table, owner_paths=(OwnerPath("id"),), columns=given, facts=FACTS
    )


@pytest.mark.parametrize("kind", STRUCTURED, ids=repr)
@pytest.mark.parametrize("schema", [None, "shop"])
def test_advice_on_json_names_the_columns_of_a_section_once_and_how_to_answer(
    kind: Any, schema: str | None
) -> None:
    (advice,) = advice_on_json([section(kind, schema)], [])
    assert advice.startswith("section 'notes': data, More: JSON that is exported whole")
    assert "json.data.withheld" in advice
    answer = advice.partition("[[exempt]] ")[2].replace(", table", "\ntable")
    answer = answer.replace(", columns", "\ncolumns").replace(", reason", "\nreason")
    entry = ExemptEntry.model_validate(tomllib.loads(answer))
    exempt = Exemption(entry.table, "no secrets", entry.columns, entry.schema_)
    assert list(advice_on_json([section(kind, schema)], [exempt])) == []


def test_advice_on_json_is_of_what_is_exported_without_a_word_on_its_parts() -> None:
    answered: dict[str, Any] = {
        "data": Exported(paths={"a.b": Withheld("credential")}),
        "More": Masked("r"),
    }
    assert list(advice_on_json([section(sa.JSON(), **answered)], [])) == []
    (advice,) = advice_on_json([section(sa.JSON(), data=Withheld("credential"))], [])
    assert advice.startswith("section 'notes': More: ")
    exempt = Exemption("notes", "no secrets", ("More",))
    (advice,) = advice_on_json([section(sa.JSON())], [exempt])
    assert advice.startswith("section 'notes': data: ")
    # That a table needs no section is not a word on its columns.
    assert len(list(advice_on_json([section(sa.JSON())], [Exemption("notes", "r")]))) == 1


def test_advice_on_json_counts_a_text_that_is_declared_as_json_and_no_other() -> None:
    assert list(advice_on_json([section(sa.Text())], [])) == []
    (advice,) = advice_on_json([section(sa.Text(), data=Exported(as_json=True))], [])
    assert advice.startswith("section 'notes': data: ")


def test_advice_on_json_has_nothing_to_say_of_the_applications_own_sections() -> None:
    assert list(advice_on_json(SECTIONS, EXEMPTIONS)) == []
    assert len(list(advice_on_json(SECTIONS, []))) == 3
