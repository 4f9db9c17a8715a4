"""Sections whose members would be one file in the archive are refused at start."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from backend.errors import SectionError
from backend.services.section_paths import require_distinct
from backend.services.sections import (
    EXPORTED,
    Facts,
    FilesSection,
    FunctionSection,
    OwnerPath,
    Section,
    TableSection,
)

FACTS = Facts(purpose="p", recipients="r", retention="t")
TABLE = sa.Table("docs", sa.MetaData(), sa.Column("path", sa.Text, primary_key=True))
DOCS = TableSection(
    name="docs",
    table=TABLE,
    owner_paths=(OwnerPath("path"),),
    columns={"path": EXPORTED},
    facts=FACTS,
    files={"path": "/srv"},
)


def rows(name: str) -> FunctionSection:
    return FunctionSection(name=name, rows=lambda subject: (), facts=FACTS)


def files(name: str) -> FilesSection:
    return FilesSection(name=name, files=lambda subject: (), facts=FACTS)


@pytest.mark.parametrize(
    "sections",
    [
        [DOCS, rows("docs")],
        [DOCS, rows("DOCS")],
        [DOCS, rows("docs_files")],
        [files("docs_files"), DOCS],
        [rows("é"), rows("e\u0301")],
        [rows("x"), files("x.json")],
        [rows("meta")],
        [files("Schemas")],
        [rows("index")],
        [rows("con")],
        [rows("LPT1")],
        [rows("a/b")],
        [rows("a.")],
        [rows("")],
        [rows("../x")],
    ],
)
def test_sections_that_make_one_member_are_refused(sections: list[Section]) -> None:
    with pytest.raises(SectionError, match="rename"):
        require_distinct(sections)


def test_sections_with_members_of_their_own_are_taken() -> None:
    require_distinct([DOCS, rows("docs_file"), files("docs-files"), rows("Kontakte (privat)")])
    require_distinct([replace(DOCS, files={}), files("docs_files")])
