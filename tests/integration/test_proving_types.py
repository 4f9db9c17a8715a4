"""dsar prove: every type, names alike, and people whom a loose comparison takes for one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from backend.errors import UsageError
from backend.services import comparison
from backend.services.dsar_collectors import collection
from backend.services.proving import Flaw, Proof, prove
from tests.integration.test_key_comparison import section, world_of
from tests.worlds import MARIADB, POSTGRESQL, SERVERS, SQLITE, database

TYPES = {
    POSTGRESQL: """numeric(65,30); numeric(100,50); numeric(28,28); numeric(3,-2); numeric;
        numeric(2,1); inet; cidr; macaddr; macaddr8; mood; bit(3); bit varying(9); money; int4range;
        nummultirange; text[]; numeric(40,30)[]; inet[]; point; xml; hstore; ltree; tsvector;
        tsquery; json; jsonb; time(0); timetz; interval; char(1); varchar(1); "char"; name;
        smallint; oid; double precision; real; bytea; uuid; citext; timestamptz(0); date; email;
        pg_lsn; jsonpath; box; boolean; timestamp(0)[]; boolean[]; date[]""",
    MARIADB: """decimal(65,30); decimal(38,38); decimal(2,1); int unsigned zerofill;
        bigint unsigned; tinyint(1); bit(1); bit(9); year; set('a','b'); enum('x','yy'); json; time;
        time(6); timestamp NULL; datetime; char(1); varchar(1); char(255); tinytext; longtext; blob;
        varbinary(5); binary(16); binary(3); float; double; float unsigned; point; uuid; inet6;
        mediumint; varchar(20) collate utf8mb4_bin; text character set latin1""",
    SQLITE: """NUMERIC(65,30); DECIMAL(2,1); INTEGER; REAL; TEXT; BLOB; ; DATE; TIME; DATETIME;
        BOOLEAN; STRING; UUID; JSON; VARCHAR(1); CHAR(1); TEXT COLLATE NOCASE""",
}
PREPARATION = [
    "CREATE EXTENSION hstore",
    "CREATE EXTENSION ltree",
    "CREATE EXTENSION citext",
    "CREATE TYPE mood AS ENUM ('a', 'b')",
    "CREATE DOMAIN email AS varchar(50) CHECK (VALUE LIKE '%%@%%')",
]
TEXT_KEYS = {SQLITE: "TEXT", POSTGRESQL: "text", MARIADB: "VARCHAR(40)"}


def proof_of(
    kind: str,
    request: pytest.FixtureRequest,
    folder: Path,
    statements: Sequence[str],
    toml: str,
    more: Sequence[str] = (),
    *,
    own_kind: bool = False,
) -> Proof:
    """The proof in SQLite, or in a database of the source's kind."""
    (folder / "scratch").mkdir()
    with database(kind, request, folder) as url, database(kind, request, folder / "scratch") as own:
        world = world_of(url, folder, statements, toml, more)
        try:
            with world.services() as services:
                return prove(collection(services.runtime), own if own_kind else None)
        finally:
            world.close()


@pytest.mark.parametrize("own_kind", [False, True], ids=["in-sqlite", "in-its-own-kind"])
@pytest.mark.parametrize("kind", [SQLITE, *SERVERS])
def test_prove_of_every_type_is_content(
    kind: str, own_kind: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    types = [each.strip() for each in TYPES[kind].split(";")]
    names = [f"c{number}" for number in range(len(types))]
    columns = ", ".join(f"{name} {each}" for name, each in zip(names, types, strict=True))
    made = PREPARATION if kind == POSTGRESQL else []
    key = TEXT_KEYS[kind]
    made = [
        *made,
        f"CREATE TABLE people (id {key}, code varchar(30), {columns}, PRIMARY KEY (id))",
        f"CREATE TABLE notes (person {key}, {columns})",
        f"CREATE TABLE marks (code varchar(30), {columns})",
    ]
    by_code = '{ path = ["code = people.code"], column = "id" }'
    toml = section("notes", '"person"', ["person", *names])
    toml += section("marks", by_code, ["code", *names])
    shown = ["code", *names]
    proof = proof_of(kind, request, tmp_path, made, toml, shown, own_kind=own_kind)
    assert proof.findings == []
    assert proof.rows == 3


@pytest.mark.parametrize("own_kind", [False, True], ids=["in-sqlite", "in-its-own-kind"])
@pytest.mark.parametrize("kind", [SQLITE, MARIADB] if MARIADB in SERVERS else [SQLITE])
def test_prove_finds_rows_of_people_whom_a_loose_comparison_takes_for_one(
    kind: str,
    own_kind: bool,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The comparison is broken here, in the way that it must never be."""
    loose = "TEXT COLLATE NOCASE" if kind == SQLITE else "VARCHAR(40) COLLATE utf8mb4_general_ci"
    exact = "TEXT" if kind == SQLITE else "VARCHAR(40) COLLATE utf8mb4_nopad_bin"
    made = [
        f"CREATE TABLE people (id {exact} PRIMARY KEY)",
        f"CREATE TABLE crews (code {loose}, person {exact})",
        f"CREATE TABLE notes (person {loose}, body VARCHAR(40))",
        f"CREATE TABLE marks (code {loose}, body VARCHAR(40))",
    ]
    by_code = '{ path = ["code = crews.code"], column = "person" }'
    toml = section("notes", '"person"', ["person", "body"])
    toml += section("marks", by_code, ["code", "body"])
    proof = proof_of(kind, request, tmp_path, made, toml, own_kind=own_kind)
    assert proof.findings == []
    (tmp_path / "scratch").rename(tmp_path / "before")
    (tmp_path / "dsar.sqlite3").unlink(missing_ok=True)
    monkeypatch.setattr(comparison, "is_loose", lambda column: False)
    proof = proof_of(kind, request, tmp_path, made, toml, own_kind=own_kind)
    wrong = {each.section for each in proof.findings if each.flaw is Flaw.ROWS}
    assert wrong == {"notes", "marks"}


def test_prove_of_names_that_differ_by_capitals_or_are_long_names_the_database_that_can(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    long = "a" * 50
    made = [
        'CREATE TABLE people (id bigint PRIMARY KEY, "Name" text, name text)',
        'CREATE TABLE "Notes" (person bigint, body text)',
        "CREATE TABLE notes (person bigint, body text)",
        f"CREATE SCHEMA {long}",
        f"CREATE TABLE {long}.{long} (person bigint, body text)",
    ]
    toml = section("notes", '"person"', ["person", "body"])
    toml += section("others", '"person"', ["person", "body"]).replace(
        'table = "others"', 'table = "Notes"'
    )
    toml += section("long", '"person"', ["person", "body"]).replace(
        'table = "long"', f'schema = "{long}"\ntable = "{long}"'
    )
    proof = proof_of(POSTGRESQL, request, tmp_path, made, toml, ["Name", "name"], own_kind=True)
    assert proof.findings == []
    assert proof.rows == 4
    (tmp_path / "scratch").rename(tmp_path / "before")
    with pytest.raises(UsageError, match=r"Name and name.*PostgreSQL.*--scratch-url"):
        proof_of(POSTGRESQL, request, tmp_path, made, toml, ["Name", "name"])
