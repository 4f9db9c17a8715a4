"""Rows printed by columns are, byte for byte, those printed as rows; on PostgreSQL alone there are
columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.extensions import Runtime
from backend.services.columns import ColumnarRows, Printed, Unprintable
from backend.services.sections import (
    EXPORTED,
    Disposition,
    Exported,
    Masked,
    OwnerPath,
    Reason,
    Subject,
    TableSection,
    Withheld,
)
from backend.services.snapshot import open_snapshot
from backend.services.table_rendering import table_renderer
from tests.harness import World
from tests.integration.test_values import FACTS, runtime_of

PERSON = 7
ROWS = 300
# A server may print everything otherwise than this program reads or writes it.
HOSTILE = {
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "bytea_output": "escape",
}

# type: SQL literals, and whether the server's own text is printed
TYPES: dict[str, tuple[bool, Sequence[str]]] = {
    "smallint": (True, ["0", "-32768", "32767"]),
    "integer": (True, ["0", "-1", "2147483647"]),
    "bigint": (True, ["0", "-9223372036854775808", "9223372036854775807"]),
    "boolean": (True, ["true", "false"]),
    "numeric": (
        True,
        ["0", "-1.50", "1e-6", "1e-7", "0.00000012", "10.0000001", "1e30", "0.0000000", "123.4500"],
    ),
    "numeric(12,6)": (True, ["0", "0.000001", "-0.000001", "999999.999999", "'NaN'"]),
    "numeric(20,8)": (True, ["0", "0.00000001", "-0.00000001", "-10.00000001", "0.1"]),
    "json": (True, ["'1'", "'null'", """'{"a":\n [1, "ü\\u0000"]}'""", "'[1.50, 1e400]'"]),
    "jsonb": (True, ["'1'", "'null'", """'{"a":[1,"ü"]}'""", "'[]'", """'"\\\\\\""'"""]),
    "uuid": (True, ["'123E4567-e89b-12d3-a456-426614174000'"]),
    "text": (
        False,
        [
            "''",
            "'null'",
            "','",
            r"""E'x",\n  '""",
            r"""E'",\n  "'""",
            r"E'\\ \x01 \t \x7f \u2028 ü 😀'",
            "chr(1114111)",
            "repeat('ab', 200)",
        ],
    ),
    "varchar(9)": (False, ["'a'", "' '"]),
    "char(9)": (False, ["'a'", "''"]),
    "name": (False, ["'a'"]),
    '"char"': (False, ["'a'", "''"]),
    "timestamptz": (
        True,
        [
            "'2025-11-28 17:14:34.123456Z'",
            "'2025-11-28 17:14:34.1234Z'",
            "'2025-11-28 17:14:34Z'",
            "'1850-01-01 00:00:00.000001Z'",
            "'0001-01-01 00:00:00Z'",
            "'9999-12-31 23:59:59.999999Z'",
        ],
    ),
    "timestamptz(0)": (True, ["'2025-11-28 17:14:34Z'", "'infinity'", "'0044-03-15 12:00Z BC'"]),
    "timestamptz(3)": (
        True,
        ["'2025-11-28 17:14:34.12Z'", "'10000-01-01 00:00:00.12345Z'", "'-infinity'"],
    ),
    "timestamptz(6)": (False, ["'0044-03-15 12:00:00.123Z BC'", "'2025-11-28 17:14:34.123456Z'"]),
    "timestamp": (
        True,
        [
            "'2025-11-28 17:14:34.123456'",
            "'2025-11-28 17:14:34.1'",
            "'2025-11-28 17:14:34'",
            "'0001-01-01'",
        ],
    ),
    "timestamp(3)": (False, ["'infinity'", "'12025-11-28 17:14:34.1'", "'0044-03-15 12:00 BC'"]),
    "date": (True, ["'2025-11-28'", "'0001-01-01'", "'9999-12-31'"]),
    "date[]": (False, ["'{2025-11-28,NULL}'", "'{}'"]),
    "time": (False, ["'00:00:00.01'", "'24:00'", "'23:59:59.999999'"]),
    "timetz": (False, ["'00:00:00.01+05:30'"]),
    "interval": (False, ["'1 day 30.5 s'", "'1 mon'", "'-1 day'"]),
    "real": (False, ["0.1", "'NaN'", "'-Infinity'", "1e-30"]),
    "double precision": (False, ["0.1", "'NaN'", "'Infinity'", "1e300", "-0.0"]),
    "bytea": (False, [r"'\x00ff'", "''"]),
    "inet": (False, ["'10.0.0.1'", "'::1/64'"]),
    "int4range": (False, ["'[1,5)'", "'empty'"]),
    "integer[]": (False, ["'{1,NULL}'", "'{}'", "'{{1},{2}}'"]),
    "jsonb[]": (False, ["""ARRAY['{"a": 1}'::jsonb, NULL]""", "'{}'"]),
    "whole": (True, ["1", "2"]),
    "moment": (True, ["'2025-11-28 17:14:34.5Z'"]),
    "fraction": (False, ["0.1", "'NaN'"]),
    "clock": (False, ["'00:00:00.01'"]),
    "mood": (False, ["'gl\"ad'", "'sad'"]),
    "numeric(4,2)[]": (False, ["'{1.50,NULL}'"]),
}
DOMAINS = (
    "CREATE DOMAIN whole AS integer",
    "CREATE DOMAIN moment AS timestamptz",
    "CREATE DOMAIN fraction AS float8",
    "CREATE DOMAIN clock AS time",
    """CREATE TYPE mood AS ENUM ('gl"ad', 'sad')""",
)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory, postgresql_server: str) -> Iterator[Runtime]:
    from tests.worlds import fresh_database

    with fresh_database(postgresql_server) as url:
        world = World(url, tmp_path_factory.mktemp("columns"))
        with world.begin() as connection:
            for statement in DOMAINS:
                connection.exec_driver_sql(statement)
            for name, value in HOSTILE.items():
                connection.exec_driver_sql(
                    f"ALTER DATABASE {world.engine.url.database} SET {name} = '{value}'"
                )
        world.close()
        with runtime_of(world) as made:
            yield made
        world.close()


def filled(runtime: Runtime, columns: dict[str, str], rows: str) -> sa.Table:
    """A new table of these columns and what a SELECT of them gives, reflected."""
    writer = sa.create_engine(runtime.control.url, poolclass=sa.NullPool)
    with writer.begin() as connection:
        connection.exec_driver_sql("SET TimeZone = 'UTC'")
        connection.exec_driver_sql("DROP TABLE IF EXISTS things")
        declared = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        connection.exec_driver_sql(f"CREATE TABLE things (owner integer, {declared})")
        connection.exec_driver_sql(rows)
    writer.dispose()
    return sa.Table("things", sa.MetaData(), autoload_with=runtime.source)


def cycled(kind: str, literals: Sequence[str], *, nulls: bool) -> str:
    """A statement that inserts the values again and again."""
    shown = [f"({literal})::{kind}" for literal in literals] + ["NULL"] * nulls
    cases = " ".join(f"WHEN {number} THEN {value}" for number, value in enumerate(shown))
    return (
        f"INSERT INTO things SELECT {PERSON}, n, CASE mod(n, {len(shown)}) {cases} END"
        f" FROM generate_series(1, {ROWS}) n"
    )


def both_ways(
    runtime: Runtime, table: sa.Table, columns: dict[str, Disposition] | None = None
) -> list[list[Any]]:
    """Require both ways' bytes to be the same; what each chunk's columns were, if it had some."""
    section = TableSection(
        name="things",
        table=table,
        owner_paths=(OwnerPath("owner"),),
        order_by=("id",),
        columns={c.name: EXPORTED for c in table.columns} | (columns or {}),
        facts=FACTS,
    )
    subject = Subject(PERSON, None)
    render = table_renderer(section, subject, any_type=False)
    found, count = [], 0
    with open_snapshot(runtime.source, runtime.clock, statement_seconds=60) as snapshot:
        size = snapshot.chunk_size()
        for chunk in snapshot.chunks(section, subject, size, lambda: None):
            size.told(len(chunk), 40 * len(chunk))
            count += len(chunk)
            by_rows = render(list(chunk))
            assert render(chunk) == by_rows
            json.loads(b"[" + by_rows.text + b"]")
            if isinstance(chunk, ColumnarRows):
                try:
                    kinds = [type(each) for each in chunk.columns(range(len(chunk[0])))]
                except Unprintable:
                    kinds = []
                found.append(kinds)
    assert count == ROWS
    assert found, "there are chunks of columns"
    return found


@pytest.mark.parametrize("nulls", [False, True], ids=["", "nulls"])
@pytest.mark.parametrize("kind", TYPES)
def test_columns_print_the_bytes_of_rows(runtime: Runtime, kind: str, nulls: bool) -> None:
    _, literals = TYPES[kind]
    table = filled(runtime, {"id": "integer", "v": kind}, cycled(kind, literals, nulls=nulls))
    both_ways(runtime, table)


@pytest.mark.parametrize("kind", [kind for kind, (own_text, _) in TYPES.items() if own_text])
def test_the_servers_own_text_is_printed(runtime: Runtime, kind: str) -> None:
    table = filled(
        runtime, {"id": "integer", "v": kind}, cycled(kind, TYPES[kind][1][:1], nulls=True)
    )
    assert all(each[2] is Printed for each in both_ways(runtime, table))


def test_every_value_null(runtime: Runtime) -> None:
    columns = {"id": "integer"} | {f"c{i}": kind for i, kind in enumerate(TYPES)}
    rows = f"INSERT INTO things (owner, id) SELECT {PERSON}, n FROM generate_series(1, {ROWS}) n"
    both_ways(runtime, filled(runtime, columns, rows))


OTHER = Masked(Reason.OTHER_PERSON, unless_own="actor")


@pytest.mark.parametrize(
    "columns",
    [
        {"tree": Exported(paths={"secret": Withheld(Reason.CREDENTIAL)})},
        {"tree": Exported(paths={"name": OTHER})},
        {"tree": OTHER, "actor": OTHER},
        {"tree": Masked(Reason.OTHER_PERSON)},
        {"tree": OTHER, "actor": Withheld(Reason.INTERNAL)},
        {"trees": Exported(paths={"secret": Withheld(Reason.CREDENTIAL)})},
        {"tree": Withheld(Reason.INTERNAL)},
        {"note": Exported(as_json=True)},
    ],
    ids=[
        "path",
        "path-unless-own",
        "unless-own",
        "masked",
        "by-withheld",
        "array",
        "withheld",
        "text",
    ],
)
def test_what_is_masked_or_withheld_stays_so(
    runtime: Runtime, columns: dict[str, Disposition]
) -> None:
    table = filled(
        runtime,
        {
            "id": "integer",
            "actor": "integer",
            "tree": "jsonb",
            "trees": "jsonb[]",
            "note": "text",
        },
        f"""INSERT INTO things SELECT {PERSON}, n, mod(n, 3) + 6, t, ARRAY[t, NULL], t::text
        FROM (SELECT n, CASE WHEN mod(n, 5) > 0 THEN jsonb_build_object(
            'secret', 'hush-' || n, 'name', 'Bob', 'n', n) END t
            FROM generate_series(1, {ROWS}) n) x""",
    )
    both_ways(runtime, table, columns)


# PostgreSQL holds every text but the character NUL.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(st.none() | TEXTS | st.text('",\\\n '), min_size=1, max_size=40),
    numbers=st.lists(st.none() | st.decimals(-(10**9), 10**9, places=9), min_size=1, max_size=40),
    moments=st.lists(
        st.none() | st.datetimes(timezones=st.just(UTC)),
        min_size=1,
        max_size=40,
    ),
)
def test_any_values_are_printed_alike(
    runtime: Runtime, texts: list[Any], numbers: list[Any], moments: list[Any]
) -> None:
    columns = {"id": "integer", "a": "text", "b": "numeric", "c": "timestamptz", "d": "jsonb"}
    table = filled(runtime, columns, "SELECT 1")
    rows = [
        {
            "owner": PERSON,
            "id": n,
            "a": texts[n % len(texts)],
            "b": numbers[n % len(numbers)],
            "c": moments[n % len(moments)],
            "d": texts[n % len(texts)],
        }
        for n in range(ROWS)
    ]
    with runtime.control.begin() as connection:
        connection.execute(sa.insert(table), rows)
    both_ways(runtime, table)
