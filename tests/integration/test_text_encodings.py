"""PostgreSQL databases whose text is not in UTF-8: no octet costs a person their data."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from backend.services.reflection import reflect
from backend.services.sections import Exported, OwnerPath, Subject, TableSection, Withheld
from backend.services.snapshot import open_snapshot
from tests.harness import World
from tests.integration.test_values import FACTS, PERSON, rendered, runtime_of

TREE = Exported(paths={"secret": Withheld("r")})


@contextmanager
def encoded(server: str, encoding: str, folder: Path) -> Iterator[World]:
    name = f"dsar_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'"
        )
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    world = World(url, folder)
    try:
        yield world
    finally:
        world.close()
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def shown(world: World, owner: Any = PERSON, table: str = "things") -> list[dict[str, Any]]:
    """The rows of a person, read twice by one pool of connections, and by both ways."""
    with runtime_of(world) as runtime:
        found = reflect(runtime.source, [(None, table)], person=(None, table)).find((None, table))
        assert found is not None
        columns = {c.name: TREE if c.name == "hidden" else Exported() for c in found.columns}
        section = TableSection(
            name="things",
            table=found,
            owner_paths=(OwnerPath("owner"),),
            order_by=("id",),
            columns=columns,
            facts=FACTS,
        )
        if owner == PERSON:
            texts = {rendered(runtime, section) for _ in range(2)}
            assert len(texts) == 1
            rows: list[dict[str, Any]] = json.loads(b"[" + texts.pop() + b"]")
            return rows
        subject = Subject(owner, None)
        with open_snapshot(runtime.source, runtime.clock, statement_seconds=60) as snapshot:
            snapshot.ask_ahead([section], subject, lambda: None)
            ahead = [
                row
                for chunk in snapshot.chunks(section, subject, snapshot.chunk_size(), lambda: None)
                for row in chunk
            ]
        return [dict(zip(columns, row, strict=True)) for row in ahead]


def test_text_of_no_encoding_is_exported_with_an_escape_for_the_odd_octet(
    postgresql_server: str, tmp_path: Path
) -> None:
    with encoded(postgresql_server, "SQL_ASCII", tmp_path) as world:
        odd = "convert_from('\\x636166e9', 'SQL_ASCII')"
        with world.begin() as connection:
            connection.exec_driver_sql(
                f"CREATE TYPE mood AS ENUM ('ok');"
                f"CREATE TABLE things (id int PRIMARY KEY, owner int, t text, v varchar(9),"
                f" c char(4), a text[], j json, b jsonb, hidden jsonb, m mood);"
                f"INSERT INTO things SELECT n, {PERSON}, {odd}, {odd}, {odd}, ARRAY[{odd}, 'ü'],"
                f" ('{{\"a\": \"' || {odd} || '\"}}')::json, ('[\"' || {odd} || 'ü\"]')::jsonb,"
                f" ('{{\"secret\": \"' || {odd} || '\", \"n\": 1}}')::jsonb, 'ok'"
                f" FROM generate_series(1, 700) n;"
                f"INSERT INTO things (id, owner, t) VALUES (701, {PERSON}, 'plain ü')"
            )
        rows = shown(world)
    assert len(rows) == 701
    for row in (rows[0], rows[-2]):
        assert row["t"] == row["v"] == row["c"] == "caf\udce9"
        assert row["a"] == ["caf\udce9", "ü"]
        assert row["j"] == {"a": "caf\udce9"}
        assert row["b"] == ["caf\udce9ü"]
        assert row["hidden"] == {"secret": "[withheld: r]", "n": 1}
        assert row["m"] == "ok"
    assert rows[-1]["t"] == "plain ü"


def test_key_of_no_encoding_finds_its_rows(postgresql_server: str, tmp_path: Path) -> None:
    with encoded(postgresql_server, "SQL_ASCII", tmp_path) as world:
        with world.begin() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE things (id int PRIMARY KEY, owner text);"
                "INSERT INTO things VALUES (1, convert_from('\\x636166e9', 'SQL_ASCII')),"
                " (2, 'café'), (3, 'caf')"
            )
        assert [row["id"] for row in shown(world, "caf\udce9")] == [1]
        assert [row["id"] for row in shown(world, "café")] == [2]


@pytest.mark.parametrize(
    ("encoding", "octets", "text"),
    [
        ("WIN1252", "80 81 fc", "€\udc81ü"),
        ("WIN1251", "98 c0", "\udc98А"),
        ("LATIN1", "81 e9", "\x81é"),
        ("LATIN9", "a4", "€"),
        ("ISO_8859_7", "c1 d2", "Α\udcd2"),
        ("EUC_JP", "c6fc cbdc", "日本"),
        ("UTF8", "e697a5", "日"),
    ],
)
def test_text_of_another_encoding_is_exported_whatever_its_octets(
    postgresql_server: str, tmp_path: Path, encoding: str, octets: str, text: str
) -> None:
    with encoded(postgresql_server, encoding, tmp_path) as world:
        with world.begin() as connection:
            connection.exec_driver_sql(
                f"CREATE TABLE things (id int PRIMARY KEY, owner int, t text);"
                f"INSERT INTO things VALUES (1, {PERSON},"
                f" convert_from('\\x{octets.replace(' ', '')}', '{encoding}'))"
            )
        assert [row["t"] for row in shown(world)] == [text]


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "WIN1252"])
def test_names_beyond_ascii_are_read_in_any_encoding(
    postgresql_server: str, tmp_path: Path, encoding: str
) -> None:
    with encoded(postgresql_server, encoding, tmp_path) as world:
        with world.begin() as connection:
            connection.exec_driver_sql(
                'CREATE TABLE "größe" (id int PRIMARY KEY, owner int, "maß" text);'
                f"INSERT INTO \"größe\" VALUES (1, {PERSON}, 'ü'), (2, 8, 'ä')"
            )
        assert [row["maß"] for row in shown(world, table="größe")] == ["ü"]
        assert [row["maß"] for row in shown(world, 8, table="größe")] == ["ä"]
