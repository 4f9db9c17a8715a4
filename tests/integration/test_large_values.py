"""Values that a database does not hand over at once: named by section and column, tried once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from backend.driver_errors import is_too_large
from backend.errors import ValueTooLarge
from backend.failures import Kind, failure_of
from tests.harness import World
from tests.integration.test_values import PERSON, a_section, rendered, runtime_of


def test_value_past_the_databases_limit_fails_at_once_and_names_its_column(
    sqlite_world: World,
) -> None:
    table = sa.Table(
        "things",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("owner", sa.Integer),
        sa.Column("name", sa.Text),
        sa.Column("scan", sa.LargeBinary),
    )
    table.create(sqlite_world.engine)
    with sqlite_world.begin() as connection:
        rows = [(1, PERSON, "short", b"x" * 90_000), (2, 8, "long" * 50_000, b"")]
        names = table.c.keys()
        connection.execute(sa.insert(table), [dict(zip(names, row, strict=True)) for row in rows])
    with runtime_of(sqlite_world) as runtime:

        @sa.event.listens_for(runtime.source, "connect")
        def limit(connection: Any, _: object) -> None:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 50_000)

        with pytest.raises(ValueTooLarge) as raised:
            rendered(runtime, a_section(table))
    failure = failure_of(raised.value)
    assert failure.kind is Kind.PERMANENT
    assert failure.code == "value_too_large"
    assert "section things, column things.scan" in failure.summary()
    assert "octets" in failure.summary()


def test_postgresqls_limit_is_told_from_other_errors(postgresql_world: World) -> None:
    found = dict(errors_of(postgresql_world))
    assert found == {"SELECT repeat('xx', 1073741823)": True, "SELECT 1 / 0": False}


def errors_of(world: World) -> Iterator[tuple[str, bool]]:
    for statement in ("SELECT repeat('xx', 1073741823)", "SELECT 1 / 0"):
        with pytest.raises(DBAPIError) as raised, world.engine.connect() as connection:
            connection.exec_driver_sql(statement)
        yield statement, is_too_large(raised.value)


@pytest.mark.parametrize(
    ("state", "source", "expected"),
    [
        ("XX000", "mcxt.c", True),  # bytea past 512 MB
        ("53200", "stringinfo.c", True),  # a row past 1 GB, before PostgreSQL 17
        ("XX000", "heapam.c", False),
        ("53200", "aset.c", False),
    ],
)
def test_sizes_that_postgresql_cannot_print_are_known(
    state: str, source: str, expected: bool
) -> None:
    original = type("InternalError_", (Exception,), {"sqlstate": state})()
    original.diag = SimpleNamespace(source_file=source)
    assert is_too_large(DBAPIError("", None, original)) is expected


@pytest.mark.parametrize(("number", "expected"), [(1153, True), (1301, True), (1064, False)])
def test_packets_past_mariadbs_limit_are_known(number: int, expected: bool) -> None:
    assert is_too_large(DBAPIError("", None, Exception(number, "…"))) is expected
