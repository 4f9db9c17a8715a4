"""A section accounts for every column, and its query finds the person's rows, each once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from backend.errors import SectionError
from backend.services.dsar_collectors import SECTIONS
from backend.services.row_conditions import LeftOut
from backend.services.sections import (
    EXPORTED,
    Facts,
    Hop,
    Masked,
    OwnerPath,
    Reason,
    TableSection,
    Withheld,
    is_stated,
)

FACTS = Facts(purpose="p", recipients="r", retention="t")
META = sa.MetaData()
PEOPLE = sa.Table("people", META, sa.Column("id", sa.Integer, primary_key=True))
TEAMS = sa.Table(
    "teams",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("lead", sa.Integer),
)
PROJECTS = sa.Table(
    "projects",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("team", sa.Integer),
)
MESSAGES = sa.Table(
    "messages",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("sender", sa.Integer),
    sa.Column("recipient", sa.Integer),
    sa.Column("project", sa.Integer),
    sa.Column("hash", sa.String),
    sa.Column("deleted_at", sa.String),
)


def make(**changes: Any) -> TableSection:
    options: dict[str, Any] = {
        "name": "messages",
        "table": MESSAGES,
        "owner_paths": (OwnerPath("sender"),),
        "columns": dict.fromkeys(MESSAGES.columns.keys(), EXPORTED)
        | {"hash": Withheld(Reason.CREDENTIAL)},
        "facts": FACTS,
    }
    return TableSection(**(options | changes))


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = sa.create_engine("sqlite://")
    META.create_all(engine)
    with engine.connect() as connection:
        connection.execute(sa.insert(TEAMS), [{"id": 1, "lead": 7}, {"id": 2, "lead": 8}])
        connection.execute(sa.insert(PROJECTS), [{"id": 1, "team": 1}, {"id": 2, "team": 2}])
        connection.execute(
            sa.insert(MESSAGES),
            [
                {"id": 1, "sender": 7, "recipient": 8, "project": 2, "deleted_at": None},
                {"id": 2, "sender": 8, "recipient": 7, "project": 2, "deleted_at": "x"},
                {"id": 3, "sender": 7, "recipient": 7, "project": 1, "deleted_at": None},
                {"id": 4, "sender": 8, "recipient": 8, "project": 1, "deleted_at": None},
                {"id": 5, "sender": 8, "recipient": 8, "project": 2, "deleted_at": None},
            ],
        )
        yield connection
    engine.dispose()
    engine.dispose()


def ids(connection: Connection, section: TableSection, key: int = 7) -> list[int]:
    query = sa.select(MESSAGES.c.id).where(section.owned_by(key))
    return list(connection.execute(query.order_by(*section.ordering())).scalars())


VIA_PROJECT = OwnerPath("lead", hops=(Hop("project", PROJECTS.c.id), Hop("team", TEAMS.c.id)))


def test_owner_path_direct_finds_own_rows(connection: Connection) -> None:
    assert ids(connection, make()) == [1, 3]


def test_owner_paths_united_give_no_row_twice(connection: Connection) -> None:
    both = make(owner_paths=(OwnerPath("sender"), OwnerPath("recipient")))
    assert ids(connection, both) == [1, 2, 3]


def test_owner_path_through_joins_reaches_the_person(connection: Connection) -> None:
    assert ids(connection, make(owner_paths=(VIA_PROJECT,))) == [3, 4]
    everything = make(owner_paths=(OwnerPath("sender"), OwnerPath("recipient"), VIA_PROJECT))
    assert ids(connection, everything) == [1, 2, 3, 4]


def test_deleted_rows_are_in_unless_left_out(connection: Connection) -> None:
    both = (OwnerPath("sender"), OwnerPath("recipient"))
    left_out = make(owner_paths=both, leave_out_deleted=LeftOut("deleted_at", "r", "x"))
    assert ids(connection, left_out) == [1, 3]


def test_ordering_is_as_declared_else_by_primary_key(connection: Connection) -> None:
    assert [column.name for column in make().ordering()] == ["id"]
    assert [column.name for column in make(order_by=("sender", "id")).ordering()] == [
        "sender",
        "id",
    ]


def test_read_columns_never_holds_a_withheld_one() -> None:
    assert "hash" not in [column.name for column in make().read_columns()]


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"columns": {"id": EXPORTED}}, "sender"),
        ({"columns": dict.fromkeys([*MESSAGES.columns.keys(), "ghost"], EXPORTED)}, "ghost"),
        ({"owner_paths": (OwnerPath("nobody"),)}, "nobody"),
        ({"owner_paths": ()}, "owner path"),
        ({"order_by": ("size",)}, "size"),
        ({"leave_out_deleted": LeftOut("gone_at", "r")}, "gone_at"),
        ({"leave_out_deleted": LeftOut("deleted_at", "r")}, "deleted_when"),
        ({"leave_out_deleted": LeftOut("recipient", "r", "8")}, "recipient"),
        (
            {
                "columns": dict.fromkeys(MESSAGES.columns.keys(), EXPORTED)
                | {"hash": Masked(Reason.OTHER_PERSON, unless_own="whose")}
            },
            "whose",
        ),
    ],
)
def test_section_that_does_not_add_up_names_the_culprit(
    changes: dict[str, Any], culprit: str
) -> None:
    with pytest.raises(SectionError, match=culprit) as caught:
        make(**changes)
    assert "messages" in str(caught.value)


def test_sections_of_the_application_export_no_credential() -> None:
    for section in SECTIONS:
        assert isinstance(section, TableSection)
        for column in section.read_columns():
            for word in ("hash", "secret", "password"):
                assert word not in column.name, (section.name, column.name)


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("for sending invoices", True),
        ("", False),
        (" TODO: ask the lawyers", False),
        ({"en": "invoices", "de": "Rechnungen"}, True),
        ({"en": "invoices", "de": ""}, False),
        ({"en": "todo", "de": "Rechnungen"}, False),
        ({}, False),
    ],
)
def test_fact_is_stated_in_every_language_or_not_at_all(text: Any, stated: bool) -> None:
    assert is_stated(text) is stated


def test_files_of_a_column_that_is_not_shown_are_refused() -> None:
    with pytest.raises(SectionError, match="files: hash must be exported"):
        make(files={"hash": "/srv/uploads"})
