"""No comparison on the way to a person takes two people for one, whatever the collations."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection, Engine

from backend.errors import SectionError, SubjectAmbiguous
from backend.services.collection import preview_rows
from backend.services.coverage import check_coverage
from backend.services.dsar_collectors import collection
from backend.services.findings import Problem
from backend.services.sections import EXPORTED, Facts, OwnerPath, TableSection
from tests.harness import World, members
from tests.worlds import MARIADB, POSTGRESQL, SERVERS, SQLITE, database

FACTS = """version = 1
[subject]
table = "people"
key = "id"
[facts]
purpose = "p"
categories = "c"
recipients = "r"
retention = "r"
source = "s"
automated_decisions = "none"
transfers = "none"
"""


def section(name: str, owner: str, columns: Sequence[str]) -> str:
    shown = ", ".join(f'"{each}"' for each in columns)
    return (
        f'[[section]]\nname = "{name}"\ntable = "{name}"\nowner = {owner}\nexported = [{shown}]\n'
    )


def world_of(
    url: str, folder: Path, statements: Sequence[str], sections: str, more: Sequence[str] = ()
) -> World:
    world = World(url, folder, {"DSAR_SECTIONS_FILE": str(folder / "sections.toml")})
    account = section("account", '"id"', ["id", *more]).replace(
        'table = "account"', 'table = "people"'
    )
    (folder / "sections.toml").write_text(FACTS + account + sections, "utf-8")
    with world.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    return world


# -- every pair of keys, on every collation ------------------------------------------------------

# A key's column that keeps any two texts apart, and the columns that may not.
EXACT = {
    SQLITE: "TEXT",
    POSTGRESQL: "text",
    MARIADB: "VARCHAR(60) COLLATE utf8mb4_nopad_bin",
}
LOOSE = {
    SQLITE: {
        "plain": "TEXT",
        "nocase": "TEXT COLLATE NOCASE",
        "rtrim": "VARCHAR(60) COLLATE RTRIM",
        "untyped": "",
    },
    POSTGRESQL: {
        "plain": "text",
        "short": "varchar(60)",
        "octets": 'text COLLATE "C"',
        "insensitive": "citext",
        "domain": "mail",
    },
    MARIADB: {
        "general": "VARCHAR(60) COLLATE utf8mb4_general_ci",
        "unicode": "VARCHAR(60) COLLATE utf8mb4_unicode_ci",
        "later": "VARCHAR(60) COLLATE utf8mb4_unicode_520_ci",
        "unpadded": "VARCHAR(60) COLLATE utf8mb4_unicode_520_nopad_ci",
        "turkish": "VARCHAR(60) COLLATE utf8mb4_turkish_ci",
        "binary_": "VARCHAR(60) COLLATE utf8mb4_bin",
        "exact": "VARCHAR(60) COLLATE utf8mb4_nopad_bin",
        "lengthy": "TEXT COLLATE utf8mb4_general_ci",
    },
}
PREPARATION = ["CREATE EXTENSION citext", "CREATE DOMAIN mail AS citext"]
# Not every build of PostgreSQL has ICU; the wheel's has not.
OF_ICU = {
    "letters": "text COLLATE letters",
    "no_case": "text COLLATE no_case",
    "its_domain": "lettered",
}
PREPARATION_OF_ICU = [
    "CREATE COLLATION letters (provider = icu, locale = 'und-u-ks-level1', deterministic = false)",
    "CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    "CREATE DOMAIN lettered AS text COLLATE letters",
]


@dataclass
class Texts:
    """People with texts as keys, and a table of their rows by each collation, direct and joined."""

    kind: str
    engine: Engine
    direct: Sequence[TableSection]
    joined: Sequence[TableSection]

    def rows_of(self, connection: Connection, section: TableSection, key: str) -> list[str]:
        query = sa.select(section.table.c.body).where(section.owned_by(key))
        return sorted(connection.execute(query).scalars())


def has_icu(url: str) -> bool:
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(PREPARATION_OF_ICU[0])
    except sa.exc.NotSupportedError:
        return False
    finally:
        engine.dispose()
    return True


def _statements(kind: str, columns: Mapping[str, str]) -> Iterator[str]:
    if kind == POSTGRESQL:
        yield from PREPARATION
        yield from PREPARATION_OF_ICU if "letters" in columns else ()
    exact = EXACT[kind]
    yield f"CREATE TABLE people (id {exact} PRIMARY KEY)"
    yield f"CREATE TABLE crews (code {exact} PRIMARY KEY, person {exact})"
    for name, spelling in columns.items():
        yield f"CREATE TABLE {name} (person {spelling}, body VARCHAR(9))"
        yield f"CREATE TABLE {name}_clubs (code {spelling}, person {exact})"
        yield f"CREATE TABLE {name}_of_crew (crew {spelling}, body VARCHAR(9))"
        yield f"CREATE TABLE {name}_of_club (club {exact}, body VARCHAR(9))"


def _sections(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield section(name, '"person"', ["person", "body"])
        crew = '{ path = ["crew = crews.code"], column = "person" }'
        yield section(f"{name}_of_crew", crew, ["crew", "body"])
        club = f'{{ path = ["club = {name}_clubs.code"], column = "person" }}'
        yield section(f"{name}_of_club", club, ["club", "body"])


@pytest.fixture(scope="module", params=[SQLITE, *SERVERS])
def texts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    kind, folder = request.param, tmp_path_factory.mktemp("texts")
    with database(kind, request, folder) as url:
        columns = LOOSE[kind]
        if kind == POSTGRESQL and has_icu(url):
            columns = columns | OF_ICU
        made = list(_statements(kind, columns))
        world = world_of(url, folder, made, "".join(_sections(columns)))
        with world.services() as services:
            found = collection(services.runtime).sections
            tables = {each.name: each for each in found if isinstance(each, TableSection)}
            yield Texts(
                kind,
                world.engine,
                [tables[name] for name in columns],
                [tables[f"{n}_of_{t}"] for n in columns for t in ("crew", "club")],
            )
        world.close()


def _full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def _without_accents(text: str) -> str:
    apart = unicodedata.normalize("NFD", text)
    return "".join(each for each in apart if not unicodedata.combining(each))


ALIKE = [
    str.upper,
    str.lower,
    str.swapcase,
    str.casefold,
    _full_width,
    _without_accents,
    lambda text: unicodedata.normalize("NFD", text),
    lambda text: unicodedata.normalize("NFKC", text),
    lambda text: f"{text} ",
    lambda text: f" {text}",
    lambda text: f"{text}\t",
    lambda text: f"{text}\x00",
    lambda text: f"{text}\x01",
    lambda text: f"{text}\u200d",
    lambda text: f"{text}\ufe0f",
    lambda text: f"0{text}",
    lambda text: f"{text}.0",
    lambda text: f"{text}a",
    lambda text: f"+{text}",
]
KEYS = st.one_of(
    st.sampled_from(
        ["abc", "V1StGXR8", "müller", "Straße", "İzmir", "ılık", "12", "1e1", "Æon", "❤", "9" * 19]
    ),
    st.text(st.sampled_from("aAbBzäÄßſİıIiKKéœ0１٣ ❤\u0301"), min_size=1, max_size=8),
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(key=KEYS, change=st.sampled_from(ALIKE))
@example(key="Straße", change=lambda text: text.replace("ß", "ss"))
@example(key="İzmir", change=lambda text: text.replace("İ", "i"))
@example(key="10", change=lambda _: "1e1")
@example(key="abc", change=lambda text: f"{text} ")
@example(key="9007199254740993", change=lambda _: "9007199254740992")
def test_owner_path_by_keys_that_a_loose_comparison_takes_for_one_gives_each_their_own(
    texts: Texts, key: str, change: Any
) -> None:
    other = change(key)
    if other == key or (texts.kind == POSTGRESQL and "\x00" in other):
        return
    with texts.engine.connect() as connection:
        transaction = connection.begin()
        meta = sa.MetaData()
        people = sa.Table("people", meta, sa.Column("id", sa.Text))
        crews = sa.Table("crews", meta, sa.Column("code", sa.Text), sa.Column("person", sa.Text))
        both = {"mine": key, "others": other}
        connection.execute(sa.insert(people), [{"id": each} for each in both.values()])
        crew = [{"code": each, "person": each} for each in both.values()]
        connection.execute(sa.insert(crews), crew)
        for each in texts.direct:
            rows = [{"person": k, "body": body} for body, k in both.items()]
            connection.execute(sa.insert(each.table), rows)
        for each in texts.joined:
            (hop,) = each.owner_paths[0].hops
            if hop.table.name != "crews":
                connection.execute(sa.insert(hop.table), crew)
            rows = [{hop.column: k, "body": body} for body, k in both.items()]
            connection.execute(sa.insert(each.table), rows)
        try:
            for each in (*texts.direct, *texts.joined):
                found = {k: texts.rows_of(connection, each, k) for k in both.values()}
                assert found == {key: ["mine"], other: ["others"]}, each.name
        finally:
            transaction.rollback()


# -- schemas -------------------------------------------------------------------------------------


@contextmanager
def sections_of(
    kind: str,
    request: pytest.FixtureRequest,
    folder: Path,
    statements: Sequence[str],
    toml: str,
    more: Sequence[str] = (),
) -> Iterator[tuple[Connection, dict[str, TableSection]]]:
    """A database of these tables, and the sections over it by their names.

    ``more``: columns of people beside their key.
    """
    with database(kind, request, folder) as url:
        world = world_of(url, folder, statements, toml, more)
        try:
            with world.services() as services, services.runtime.source.connect() as connection:
                found = collection(services.runtime).sections
                yield connection, {e.name: e for e in found if isinstance(e, TableSection)}
        finally:
            world.close()


def bodies(connection: Connection, section: TableSection, key: Any) -> list[str]:
    query = sa.select(section.table.c.body).where(section.owned_by(key))
    return sorted(connection.execute(query).scalars())


def insert(table: str, *rows: tuple[Any, ...]) -> str:
    return f"INSERT INTO {table} VALUES " + ", ".join(
        "(" + ", ".join(f"'{v}'" if isinstance(v, str) else str(v) for v in row) + ")"
        for row in rows
    )


@pytest.mark.skipif(MARIADB not in SERVERS, reason="no MariaDB here")
def test_owner_path_of_a_key_that_is_unique_without_case_gives_all_that_the_database_calls_theirs(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made = [
        "CREATE TABLE people (id VARCHAR(40) COLLATE utf8mb4_general_ci PRIMARY KEY)",
        "CREATE TABLE notes (person VARCHAR(40) COLLATE utf8mb4_general_ci, body VARCHAR(9),"
        " FOREIGN KEY (person) REFERENCES people (id))",
        insert("people", ("ann",), ("bob",)),
        insert("notes", ("ann", "one"), ("ANN", "two"), ("bob", "three")),
    ]
    toml = section("notes", '"person"', ["person", "body"])
    with sections_of(MARIADB, request, tmp_path, made, toml) as (connection, found):
        assert bodies(connection, found["notes"], "ann") == ["one", "two"]


@pytest.mark.parametrize(
    ("key", "more", "mine"),
    [
        ("text COLLATE NOCASE PRIMARY KEY", "", ["one", "two"]),
        ('"id" varchar(9) /* , */ UNIQUE COLLATE "nocase"', "", ["one", "two"]),
        ("text COLLATE NOCASE", "CREATE UNIQUE INDEX u ON people (id COLLATE BINARY)", ["one"]),
        ("text COLLATE NOCASE", "CREATE UNIQUE INDEX u ON people (id) WHERE id > 'z'", ["one"]),
        ("text COLLATE NOCASE", "", ["one"]),
        ("text COLLATE RTRIM PRIMARY KEY", "", ["one"]),
        ("text PRIMARY KEY", "", ["one"]),
    ],
)
def test_owner_path_on_sqlite_of_a_key_that_is_unique_without_case_is_left_to_the_database(
    request: pytest.FixtureRequest, tmp_path: Path, key: str, more: str, mine: list[str]
) -> None:
    made = [
        "CREATE TABLE people (" + (key if key[0] == chr(34) else f"id {key}") + ")",
        "CREATE TABLE notes (person text DEFAULT ('a' COLLATE BINARY) COLLATE NOCASE, body text)",
        insert("people", ("ann",), ("bob",)),
        insert("notes", ("ann", "one"), ("ANN", "two"), ("bob", "three")),
        *filter(None, [more]),
    ]
    toml = section("notes", '"person"', ["person", "body"])
    with sections_of(SQLITE, request, tmp_path, made, toml) as (connection, found):
        assert bodies(connection, found["notes"], "ann") == mine


@pytest.mark.parametrize("kind", [SQLITE, *SERVERS])
def test_coverage_advises_of_an_exact_column_beside_a_key_that_is_unique_without_case(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    loose = {SQLITE: "text COLLATE NOCASE", POSTGRESQL: "citext"}.get(
        kind, "VARCHAR(40) COLLATE utf8mb4_general_ci"
    )
    made = ["CREATE EXTENSION citext"] if kind == POSTGRESQL else []
    made += [
        f"CREATE TABLE people (id {loose} PRIMARY KEY)",
        f"CREATE TABLE notes (person {loose}, body VARCHAR(9))",
        f"CREATE TABLE marks (person {EXACT[kind]}, body VARCHAR(9))",
    ]
    toml = "".join(section(name, '"person"', ["person", "body"]) for name in ("notes", "marks"))
    with database(kind, request, tmp_path) as url:
        world = world_of(url, tmp_path, made, toml)
        with world.services() as services:
            (advice,) = check_coverage(services.runtime).advice
        world.close()
    assert "marks.person is compared exactly with people.id" in advice


@pytest.mark.parametrize("kind", [SQLITE, *SERVERS])
def test_export_by_a_key_that_two_rows_have_fails_for_good_and_is_advised(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made = ["CREATE TABLE people (id BIGINT)", insert("people", (1,), (1,), (2,))]
    with database(kind, request, tmp_path) as url:
        world = world_of(url, tmp_path, made, "").migrate()
        world.request(1, "R-1")
        world.request(2, "R-2")
        assert world.sweep().json["completed"] == 1
        row = world.row("R-1")
        assert row["status"] == "failed" and row["last_error"].startswith("subject_not_unique")
        preview = world.dsar("preview", "--user-id", "1")
        assert preview.returncode != 0 and "must be one row" in preview.stderr
        with world.services() as services:
            (advice,) = check_coverage(services.runtime).advice
        world.close()
    assert "people.id has no unique constraint" in advice


BLANKS = ["CREATE DOMAIN padded AS char(10)", "CREATE DOMAIN kept AS bpchar"]


@pytest.mark.skipif(POSTGRESQL not in SERVERS, reason="no PostgreSQL here")
@pytest.mark.parametrize("here", ["char(10)", "bpchar", "padded", "kept", "varchar(10)"])
def test_owner_path_by_a_padded_text_beside_a_text_takes_no_blank_for_none(
    request: pytest.FixtureRequest, tmp_path: Path, here: str
) -> None:
    made = [
        *BLANKS,
        "CREATE TABLE people (id text PRIMARY KEY)",
        f"CREATE TABLE crews (code {here}, person text)",
        f"CREATE TABLE notes (person {here}, body text)",
        f"CREATE TABLE marks (crew {here}, body text)",
        "CREATE TABLE likes (crew text, body text)",
        "CREATE TABLE clubs (code text, person text)",
        f"CREATE TABLE meets (club {here}, body text)",
        insert("people", ("abc",), ("abc ",), ("abcdefghij",), ("abcdefghijk",)),
        insert("crews", ("abc", "abc"), ("abcdefghij", "abcdefghij")),
        insert("clubs", ("abc", "abc"), ("abc ", "abc "), ("abcdefghijk", "abcdefghijk")),
    ]
    rows = [("abc", "none"), ("abc ", "one"), ("abcdefghij", "ten")]
    made += [insert(name, *rows) for name in ("notes", "marks", "likes", "meets")]
    toml = section("notes", '"person"', ["person", "body"])
    for name in ("marks", "likes"):
        owner = '{ path = ["crew = crews.code"], column = "person" }'
        toml += section(name, owner, ["crew", "body"])
    owner = '{ path = ["club = clubs.code"], column = "person" }'
    toml += section("meets", owner, ["club", "body"])
    with sections_of(POSTGRESQL, request, tmp_path, made, toml) as (connection, found):
        keys = ["abc", "abc ", "abcdefghij", "abcdefghijk"]
        names = ("notes", "marks", "likes", "meets")
        got = {name: [bodies(connection, found[name], key) for key in keys] for name in names}
    keeps = here in ("bpchar", "kept", "varchar(10)")
    both, blank = (["none"], ["one"]) if keeps else (["none", "one"], [])
    ten = ["ten"]
    assert got == {
        "notes": [both, blank, ten, []],
        "marks": [["none"] if keeps else both, [], ten, []],
        "likes": [["none"], [], ten, []],
        "meets": [both, blank, [], []],
    }


@pytest.mark.skipif(POSTGRESQL not in SERVERS, reason="no PostgreSQL here")
@pytest.mark.parametrize("key", ["char(10)", "bpchar"])
@pytest.mark.parametrize("here", ["char(10)", "char(12)", "bpchar", "padded", "text"])
def test_owner_path_of_a_key_of_a_padded_type_finds_its_rows(
    request: pytest.FixtureRequest, tmp_path: Path, key: str, here: str
) -> None:
    made = [
        *BLANKS,
        f"CREATE TABLE people (id {key} PRIMARY KEY)",
        f"CREATE TABLE notes (person {here}, body text)",
        insert("people", ("abc",), ("abd",)),
        insert("notes", ("abc", "one"), ("abc ", "two"), ("abd", "three"), ("abcd", "four")),
    ]
    toml = section("notes", '"person"', ["person", "body"])
    with sections_of(POSTGRESQL, request, tmp_path, made, toml) as (connection, found):
        mine = ["one"] if here == "text" else ["one", "two"]
        assert bodies(connection, found["notes"], "abc") == mine


@pytest.mark.skipif(POSTGRESQL not in SERVERS, reason="no PostgreSQL here")
def test_owner_path_by_a_padded_text_is_served_by_an_index(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made = [
        "CREATE TABLE people (id text PRIMARY KEY)",
        "CREATE TABLE notes (person char(10), body varchar(9))",
        "CREATE INDEX ix_person ON notes (person)",
    ]
    toml = section("notes", '"person"', ["person", "body"])
    with sections_of(POSTGRESQL, request, tmp_path, made, toml) as (connection, found):
        fill(connection, "notes")
        query = sa.select(found["notes"].table.c.body).where(found["notes"].owned_by("k77"))
        assert "ix_person" in plan_of(connection, query)


@pytest.mark.skipif(MARIADB not in SERVERS, reason="no MariaDB here")
@pytest.mark.parametrize("unique", ["", ", UNIQUE (code, person)", ", KEY (code)"])
def test_owner_path_by_a_column_that_is_not_unique_is_compared_exactly(
    request: pytest.FixtureRequest, tmp_path: Path, unique: str
) -> None:
    text = "VARCHAR(40) COLLATE utf8mb4_general_ci"
    made = [
        f"CREATE TABLE people (id INT PRIMARY KEY, code {text}, person INT{unique})",
        f"CREATE TABLE notes (code {text}, body VARCHAR(9))",
        insert("people", (1, "ann", 1), (2, "Ann", 2)),
        insert("notes", ("ann", "one"), ("Ann", "two")),
    ]
    owner = '{ path = ["code = people.code"], column = "id" }'
    toml = section("notes", owner, ["code", "body"])
    with sections_of(MARIADB, request, tmp_path, made, toml, ["code", "person"]) as (
        connection,
        found,
    ):
        assert bodies(connection, found["notes"], 1) == ["one"]
        assert bodies(connection, found["notes"], 2) == ["two"]


@pytest.mark.parametrize("kind", [SQLITE, *SERVERS])
def test_owner_path_from_a_text_to_a_number_takes_no_two_texts_for_one_number(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made = [
        "CREATE TABLE people (id BIGINT PRIMARY KEY)",
        "CREATE TABLE posts (id BIGINT PRIMARY KEY, person BIGINT)",
        "CREATE TABLE marks (object VARCHAR(40), body VARCHAR(9))",
        "CREATE TABLE notes (person VARCHAR(40), body VARCHAR(9))",
        insert("people", (12,), (0,)),
        insert("posts", (12, 12), (2**53, 0), (2**53 + 1, 12), (0, 0)),
    ]
    texts = ["12", "012", "12abc", "12 ", "1.2e1", "", str(2**53), str(2**53 + 1)]
    rows = [(text, f"row{n}") for n, text in enumerate(texts)]
    made += [insert("marks", *rows), insert("notes", *rows)]
    owner = '{ path = ["object = posts.id"], column = "person" }'
    toml = section("marks", owner, ["object", "body"])
    toml += section("notes", '"person"', ["person", "body"])
    with sections_of(kind, request, tmp_path, made, toml) as (connection, found):
        assert bodies(connection, found["marks"], 12) == ["row0", "row7"]
        assert bodies(connection, found["marks"], 0) == ["row6"]
        assert bodies(connection, found["notes"], 12) == ["row0"]
        assert bodies(connection, found["notes"], 0) == []


@pytest.mark.parametrize("key", ["BIGINT", "TEXT"])
def test_owner_path_by_a_column_without_a_type_finds_the_key_as_a_number_and_as_a_text(
    request: pytest.FixtureRequest, tmp_path: Path, key: str
) -> None:
    made = [
        f"CREATE TABLE people (id {key} PRIMARY KEY)",
        "CREATE TABLE notes (person, body VARCHAR(9))",
        insert("notes", (12, "number"), ("12", "text"), ("012", "other"), (13, "other")),
    ]
    toml = section("notes", '"person"', ["person", "body"])
    with sections_of(SQLITE, request, tmp_path, made, toml) as (connection, found):
        mine = 12 if key == "BIGINT" else "12"
        assert bodies(connection, found["notes"], mine) == ["number", "text"]


@pytest.mark.parametrize("kind", SERVERS)
def test_owner_path_of_a_uuid_key_finds_it_in_a_text_of_capitals_too(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    own, other = "123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-42661417400f"
    made = [
        f"CREATE TABLE people (id {'uuid' if kind == POSTGRESQL else 'BINARY(16)'} PRIMARY KEY)",
        "CREATE TABLE notes (person VARCHAR(40), body VARCHAR(9))",
        insert("notes", (own, "one"), (own.upper(), "two"), (other, "three"), (f"{own} ", "x")),
    ]
    toml = section("notes", '"person"', ["person", "body"])
    with sections_of(kind, request, tmp_path, made, toml) as (connection, found):
        assert bodies(connection, found["notes"], UUID(own)) == ["one", "two"]


REFUSED = {
    "a number beside a text": ("INTEGER", "VARCHAR(40)", [SQLITE, *SERVERS]),
    "a decimal beside a text": ("NUMERIC(20)", "VARCHAR(40)", [SQLITE, *SERVERS]),
    "a float beside a number": ("DOUBLE PRECISION", "BIGINT", [SQLITE, *SERVERS]),
    "a float beside a text": ("REAL", "VARCHAR(40)", [SQLITE, *SERVERS]),
    "an unknown word": ("STRING", "VARCHAR(40)", [SQLITE]),
    "a date beside a number": ("DATE", "BIGINT", SERVERS),
    "a point beside a text": ("point", "VARCHAR(40)", [k for k in SERVERS if k == POSTGRESQL]),
    "a composite beside a text": ("place", "VARCHAR(40)", [k for k in SERVERS if k == POSTGRESQL]),
    "an unknown type beside a number": ("xml", "BIGINT", [k for k in SERVERS if k == POSTGRESQL]),
    "octets beside a text": ("{octets}", "VARCHAR(40)", SERVERS),
}


@pytest.mark.parametrize(
    ("case", "kind"), [(case, kind) for case, (_, _, kinds) in REFUSED.items() for kind in kinds]
)
def test_owner_path_that_cannot_be_compared_exactly_is_refused_and_found(
    case: str, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    here, key, _ = REFUSED[case]
    here = here.format(octets="bytea" if kind == POSTGRESQL else "BLOB")
    made = ["CREATE TYPE place AS (street text)"] if here == "place" else []
    made += [
        f"CREATE TABLE people (id {key} PRIMARY KEY)",
        f"CREATE TABLE crews (code {key} PRIMARY KEY, person {key})",
        f"CREATE TABLE notes (person {here}, body VARCHAR(9))",
    ]
    for owner in ('"person"', '{ path = ["person = crews.code"], column = "person" }'):
        if case == "octets beside a text" and owner == '"person"':
            continue  # the key is written as octets
        with database(kind, request, tmp_path) as url:
            world = world_of(url, tmp_path, made, section("notes", owner, ["person", "body"]))
            with world.services() as services:
                with pytest.raises(SectionError, match=r"notes\.person cannot be compared with"):
                    collection(services.runtime)
                findings = check_coverage(services.runtime).findings
            world.close()
            (tmp_path / "dsar.sqlite3").unlink(missing_ok=True)
        wrong = [each for each in findings if each.problem is Problem.SECTION_WRONG]
        assert [each.section for each in wrong] == ["notes"]


@pytest.mark.parametrize("kind", [SQLITE, *SERVERS])
def test_sections_over_models_compare_a_text_exactly(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    text = "VARCHAR(40) COLLATE NOCASE" if kind == SQLITE else "VARCHAR(40)"
    made = [
        f"CREATE TABLE notes (person {'citext' if kind == POSTGRESQL else text}, body VARCHAR(9))",
        insert("notes", ("ann", "one"), ("Ann", "two")),
    ]
    made[:0] = ["CREATE EXTENSION citext"] if kind == POSTGRESQL else []
    meta = sa.MetaData()
    notes = sa.Table(
        "notes", meta, sa.Column("person", sa.String(40)), sa.Column("body", sa.String(9))
    )
    own = TableSection(
        name="notes",
        table=notes,
        owner_paths=(OwnerPath("person"),),
        columns={"person": EXPORTED, "body": EXPORTED},
        facts=Facts(purpose="p", recipients="r", retention="r"),
    )
    with database(kind, request, tmp_path) as url:
        world = world_of(url, tmp_path, made, "")
        with world.engine.connect() as connection:
            assert bodies(connection, own, "ann") == ["one"]
            assert bodies(connection, own, "Ann") == ["two"]
        world.close()


# -- plans ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SQLITE, *SERVERS])
def test_owner_path_that_is_compared_exactly_is_served_by_an_index(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    exact = EXACT[kind]
    loose = {SQLITE: "TEXT COLLATE NOCASE", POSTGRESQL: "citext"}.get(kind, "VARCHAR(60)")
    made = ["CREATE EXTENSION citext"] if kind == POSTGRESQL else []
    made += [
        f"CREATE TABLE people (id {exact} PRIMARY KEY)",
        f"CREATE TABLE crews (code {exact} PRIMARY KEY, person {loose})",
        "CREATE INDEX ix_person_of_crew ON crews (person)",
        f"CREATE TABLE notes (person {loose}, body VARCHAR(9))",
        "CREATE INDEX ix_person ON notes (person)",
        f"CREATE TABLE marks (crew {loose if kind != POSTGRESQL else exact}, body VARCHAR(9))",
        "CREATE INDEX ix_crew ON marks (crew)",
        "CREATE TABLE posts (id BIGINT PRIMARY KEY, person VARCHAR(60))",
        "CREATE INDEX ix_person_of_post ON posts (person)",
        "CREATE TABLE likes (object VARCHAR(60), body VARCHAR(9))",
        "CREATE INDEX ix_object ON likes (object)",
    ]
    toml = section("notes", '"person"', ["person", "body"])
    for name, here, there in (("marks", "crew", "crews.code"), ("likes", "object", "posts.id")):
        owner = f'{{ path = ["{here} = {there}"], column = "person" }}'
        toml += section(name, owner, [here, "body"])
    with database(kind, request, tmp_path) as url:
        world = world_of(url, tmp_path, made, toml)
        with world.services() as services, world.begin() as connection:
            for name in ("crews", "notes", "marks", "posts", "likes"):
                fill(connection, name)
            sections = {each.name: each for each in collection(services.runtime).sections}
            for name, index in (("notes", "ix_person"), ("marks", "ix_crew"), ("likes", "ix_ob")):
                found = sections[name]
                assert isinstance(found, TableSection)
                query = sa.select(found.table.c.body).where(found.owned_by("k77"))
                plan = plan_of(connection, query)
                assert index in plan, f"{name}: {query} {plan}"
        world.close()


def fill(connection: Connection, name: str) -> None:
    """Many rows: a text, or the number in it, beside the text."""
    meta = sa.MetaData()
    table = sa.Table(name, meta, autoload_with=connection)
    first, second = table.c.keys()
    rows = [{first: n if name == "posts" else f"k{n}", second: f"k{n}"} for n in range(20_000)]
    connection.execute(sa.insert(table), rows)
    analyze = "ANALYZE TABLE" if connection.dialect.name in ("mysql", "mariadb") else "ANALYZE"
    connection.exec_driver_sql(f"{analyze} {name}")


def plan_of(connection: Connection, query: sa.Select[Any]) -> str:
    prefix = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    compiled = query.compile(connection, compile_kwargs={"literal_binds": True})
    rows = connection.exec_driver_sql(f"{prefix} {compiled}".replace("%%", "%")).mappings()
    # Of MariaDB's not the keys that it thought about.
    told = [{name: v for name, v in row.items() if name != "possible_keys"} for row in rows]
    return "\n".join(map(str, told))


# -- capitals that do not matter -----------------------------------------------------------------

FOLDED = '{ path = ["mail ~ people.email"], column = "id" }'
MAIL = {SQLITE: "TEXT", POSTGRESQL: "text", MARIADB: "VARCHAR(60) COLLATE utf8mb4_unicode_ci"}


def mails(kind: str, *people: tuple[int, str]) -> list[str]:
    typed = ["ann@x.org", "Ann@X.org", "ánn@x.org", "ann@x.org ", "ÁNN@x.org", "bob@x.org"]
    return [
        f"CREATE TABLE people (id INT PRIMARY KEY, email {MAIL[kind]})",
        f"CREATE TABLE notes (mail {MAIL[kind]}, body VARCHAR(9))",
        insert("people", *people),
        insert("notes", *((mail, f"row{n}") for n, mail in enumerate(typed))),
    ]


@pytest.mark.parametrize("kind", [SQLITE, *SERVERS])
def test_owner_path_that_ignores_capitals_finds_them_and_folds_nothing_else(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made = mails(kind, (1, "ANN@x.org"), (2, "ánn@X.org"), (3, "bob@x.org"))
    exact = FOLDED.replace("~", "=")
    toml = section("notes", FOLDED, ["mail", "body"])
    toml += section("typed", exact, ["mail", "body"]).replace('table = "typed"', 'table = "notes"')
    with sections_of(kind, request, tmp_path, made, toml, ["email"]) as (connection, found):
        assert bodies(connection, found["notes"], 1) == ["row0", "row1"]
        assert bodies(connection, found["notes"], 2) == ["row2"]
        assert bodies(connection, found["typed"], 1) == []
        assert bodies(connection, found["typed"], 3) == ["row5"]


@pytest.mark.parametrize("kind", [SQLITE, *SERVERS])
def test_export_of_a_person_whom_capitals_alone_tell_from_another_fails_for_good(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made = mails(kind, (1, "Ann@x.org"), (2, "ann@X.org"), (3, "bob@x.org"))
    with database(kind, request, tmp_path) as url:
        toml = section("notes", FOLDED, ["mail", "body"])
        world = world_of(url, tmp_path, made, toml, ["email"]).migrate()
        world.request(1, "R-1")
        world.request(3, "R-3")
        assert world.sweep().json["completed"] == 1
        assert members(world.public("R-3"))["notes.json"] == [{"mail": "bob@x.org", "body": "row5"}]
        row = world.row("R-1")
        assert row["status"] == "failed" and row["last_error"].startswith("subject_ambiguous")
        preview = world.dsar("preview", "--user-id", "1")
        assert preview.returncode != 0 and "ignores capitals in email" in preview.stderr
        proof = world.dsar("prove")
        assert proof.json["findings"] == [] and proof.json["rows"] == 2
        world.close()


def test_export_of_a_person_whose_key_capitals_alone_tell_from_anothers_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made = [
        "CREATE TABLE people (id text PRIMARY KEY)",
        "CREATE TABLE notes (mail text, body text)",
        insert("people", ("ann@x.org",), ("ANN@x.org",), ("bob@x.org",)),
        insert("notes", ("Ann@x.org", "one"), ("bob@X.org", "two")),
    ]
    toml = section("notes", '{ column = "mail", ignore_case = true }', ["mail", "body"])
    with database(SQLITE, request, tmp_path) as url:
        world = world_of(url, tmp_path, made, toml)
        with world.services() as services:
            declared = collection(services.runtime)
            for key in ("ann@x.org", "ANN@x.org"):
                with pytest.raises(SubjectAmbiguous, match="ignores capitals in id"):
                    preview_rows(declared, declared.subject(key, None))
            counts = preview_rows(declared, declared.subject("bob@x.org", None))
        world.close()
    assert counts.sections["notes"] == 1


def test_owner_whose_key_is_an_address_may_ignore_capitals(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made = [
        "CREATE TABLE people (id text PRIMARY KEY)",
        "CREATE TABLE notes (mail text, body text)",
        insert("people", ("ann@x.org",)),
        insert("notes", ("Ann@x.org", "one"), ("bob@x.org", "two")),
    ]
    owner = '{ column = "mail", ignore_case = true }'
    toml = section("notes", owner, ["mail", "body"])
    with sections_of(SQLITE, request, tmp_path, made, toml) as (connection, found):
        assert bodies(connection, found["notes"], "ann@x.org") == ["one"]
    (tmp_path / "dsar.sqlite3").unlink()
    numbers = [made[0].replace("text", "bigint"), made[1]]
    with (
        pytest.raises(SectionError, match=r"people\.id is no text"),
        sections_of(SQLITE, request, tmp_path, numbers, toml),
    ):
        pass
