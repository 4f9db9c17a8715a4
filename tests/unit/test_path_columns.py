"""Columns that look as if they named files, which no ``files`` names, are not left out silently."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from backend.services.file_advice import advice_on_paths
from backend.services.path_columns import looks_like_paths
from backend.services.sections import (
    Exemption,
    Exported,
    Facts,
    Masked,
    OwnerPath,
    TableSection,
    Withheld,
)

FACTS = Facts(
    purpose="p",
    categories="c",
    recipients="r",
    retention="r",
    source="s",
    automated_decisions="none",
    transfers="none",
)
NAMES_OF_FILES = [
    *("path", "file_path", "filePath", "FilePath", "filename", "file_name", "attachment"),
    *("attachments", "avatar_path", "avatar", "document_file", "upload", "storage_key"),
    *("object_key", "blob_key", "s3_key", "scan_pdf", "Dateipfad", "lebenslauf_datei"),
    *("piece_jointe", "archivo"),
]
OTHER_NAMES = [
    *("file_size", "file_type", "path_count", "url", "avatar_url", "file_url", "mime_type"),
    *("file_hash", "attachment_id", "request_path", "url_path", "json_path", "category_path"),
    *("api_key", "key", "name", "first_name", "note", "document_name", "profile"),
]


@pytest.mark.parametrize(
    "name",
    NAMES_OF_FILES,
)
@pytest.mark.parametrize(
    "kind",
    [sa.Text(), sa.String(255), sa.JSON(), postgresql.ARRAY(sa.Text()), postgresql.JSONB()],
)
def test_column_named_after_files_looks_like_paths(name: str, kind: Any) -> None:
    assert looks_like_paths(name, kind)


@pytest.mark.parametrize(
    "name",
    OTHER_NAMES,
)
def test_column_named_after_something_else_does_not(name: str) -> None:
    assert not looks_like_paths(name, sa.Text())


@pytest.mark.parametrize("kind", [sa.Integer(), sa.Boolean(), sa.DateTime(), sa.Enum("a", "b")])
def test_column_whose_type_holds_no_path_does_not(kind: Any) -> None:
    assert not looks_like_paths("file_path", kind)


def test_octets_are_a_path_only_where_the_name_says_path() -> None:
    for kind in (sa.LargeBinary(), mysql.VARBINARY(255)):
        assert looks_like_paths("file_path", kind)
        assert not looks_like_paths("photo", kind)


def section(name: str = "docs", schema: str | None = None, **options: Any) -> TableSection:
    texts = {"path": sa.Text(), "avatar": sa.Text()}
    kinds: dict[str, Any] = {"id": sa.Integer(), "person": sa.Integer(), **texts}
    columns: list[Any] = [sa.Column(n, kind, primary_key=n == "id") for n, kind in kinds.items()]
    given = {"columns": dict.fromkeys(kinds, Exported()), **options}
    table = sa.Table("docs", sa.MetaData(), *columns, schema=schema)
    return TableSection(
        name=name, table=table, owner_paths=(OwnerPath("person"),), facts=FACTS, **given
    )


def advised(*sections: TableSection, exempt: tuple[Exemption, ...] = ()) -> list[str]:
    return [each.split(" looks ")[0] for each in advice_on_paths(sections, exempt)]


def test_advice_names_each_column_and_both_remedies() -> None:
    path, avatar = advice_on_paths([section()], [])
    assert path.startswith("section 'docs': path looks") and 'files.path = "/FOLDER"' in path
    assert 'table = "docs", columns = ["avatar"]' in avatar


def test_advice_is_of_exported_columns_alone() -> None:
    hidden = {"path": Withheld("r"), "avatar": Masked("r")}
    columns = {"id": Exported(), "person": Exported(), **hidden}
    assert advised(section(columns=columns)) == []


def test_advice_ends_with_files_of_any_section_over_the_table() -> None:
    with_files = section("with_files", files={"path": "/srv/up"})
    assert advised(section(), with_files) == [
        "section 'docs': avatar",
        "section 'with_files': avatar",
    ]


@pytest.mark.parametrize("schema", [None, "shop"])
def test_advice_ends_with_an_exemption_of_the_column(schema: str | None) -> None:
    exempt = Exemption("docs", "in the mail already", ("path",), schema=schema)
    assert advised(section(schema=schema), exempt=(exempt,)) == ["section 'docs': avatar"]
    other = Exemption("letters", "in the mail already", ("path",))
    assert len(advised(section(schema=schema), exempt=(other,))) == 2
