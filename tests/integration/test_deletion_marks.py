"""Marks of soft deletion: a row is left out only for a value that is known to mean deleted."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest

from backend.errors import SectionError
from backend.services.collection import preview_rows
from backend.services.coverage import check_coverage, check_rows
from backend.services.dsar_collectors import collection
from backend.services.findings import Problem
from backend.services.packing import build_archive
from backend.services.proving import prove
from tests.harness import World
from tests.worlds import MARIADB, POSTGRESQL, SERVERS, SQLITE, database

ALL = (SQLITE, POSTGRESQL, MARIADB)
HEAD = """
version = 1
[subject]
table = "people"
key = "id"
[facts]
purpose = "p"
categories = "c"
recipients = "none"
retention = "r"
source = "s"
automated_decisions = "none"
transfers = "none"
[[section]]
name = "account"
table = "people"
exported = ["id"]
"""


@dataclass(frozen=True)
class Mark:
    """A column, and the values (as SQL) of rows that are shown and of rows that are left out."""

    kind: str
    shown: Sequence[str]
    left_out: Sequence[str]
    deleted_when: str | None = None
    on: Sequence[str] = ALL


MARKS = [
    Mark("BOOLEAN", ["NULL", "FALSE"], ["TRUE"]),
    Mark("BOOLEAN NOT NULL", ["TRUE"], ["FALSE"], "false"),
    Mark("BOOLEAN", ["NULL", "TRUE"], ["FALSE"], "0"),
    Mark("INTEGER", ["NULL", "0"], ["1", "7", "-1"]),
    Mark("INTEGER", ["NULL", "1", "2"], ["0"], "0"),
    Mark("INTEGER", ["NULL", "1", "0"], ["8", "9"], "[8, 9]"),
    Mark("NUMERIC(4, 1)", ["NULL", "0", "0.0"], ["0.5", "1"]),
    Mark("BIT(1)", ["NULL", "b'0'"], ["b'1'"], None, (POSTGRESQL, MARIADB)),
    Mark("BIT(1)", ["NULL", "b'1'"], ["b'0'"], "false", (POSTGRESQL, MARIADB)),
    Mark("DATE", ["NULL", "'1970-01-01'", "'9999-12-31'"], ["'2024-02-03'"]),
    Mark("TIMESTAMP NULL", ["NULL"], ["'2024-02-03 04:05:06'"]),
    Mark("VARCHAR(9)", ["NULL", "'N'", "'0'", "''", "'y'", "'Y '", "'YY'"], ["'Y'"], '"Y"'),
    Mark("CHAR(3)", ["NULL", "'N'", "'y'"], ["'Y'"], '"Y"'),
    Mark("TEXT", ["NULL", "'É'", "'e'"], ["'é'", "'gone'"], '["é", "gone"]'),
    # What a time may hold that is none, or has not come.
    Mark("TIMESTAMPTZ", ["'infinity'", "'-infinity'", "'9999-12-31'"], ["'2024-02-03'"],
         None, (POSTGRESQL,)),
    Mark("TIMESTAMP", ["'infinity'", "'2999-01-01'"], ["now() - INTERVAL '1 minute'"],
         None, (POSTGRESQL,)),
    Mark("DATETIME NULL", ["'0000-00-00 00:00:00'", "'9999-12-31'"], ["UTC_TIMESTAMP()"],
         None, (MARIADB,)),
    Mark("DATETIME", ["''", "'0000-00-00'", "0", "'9999-12-31 00:00:00'"],
         ["'2024-02-03 04:05:06'", "datetime('now')", "1700000000"], None, (SQLITE,)),
    # SQLite keeps anything in any column.
    Mark("BOOLEAN", ["'f'", "'t'", "''"], ["2"], None, (SQLITE,)),
    Mark("VARCHAR(3) COLLATE NOCASE", ["'y'", "X'59'"], ["'Y'"], '"Y"', (SQLITE,)),
    Mark("VARCHAR(3) COLLATE RTRIM", ["'Y '"], ["'Y'"], '"Y"', (SQLITE,)),
    Mark("DOUBLE PRECISION", ["'NaN'", "0"], ["'Infinity'", "0.1"], None, (POSTGRESQL,)),
    Mark("citext", ["'y'", "'Y '"], ["'Y'"], '"Y"', (POSTGRESQL,)),
    Mark("mood", ["'sad'", "NULL"], ["'gone'"], '"gone"', (POSTGRESQL,)),
    Mark("flag", ["FALSE", "NULL"], ["TRUE"], None, (POSTGRESQL,)),
    Mark("ENUM('live', 'gone') CHARSET latin1", ["'live'", "NULL"], ["'gone'"], '"gone"',
         (MARIADB,)),
    Mark("VARCHAR(3) CHARSET latin1 COLLATE latin1_swedish_ci", ["'ä'", "'Ä '", "'A'"], ["'Ä'"],
         '"Ä"', (MARIADB,)),
    Mark("TINYINT(1) UNSIGNED", ["0", "NULL"], ["1", "255"], None, (MARIADB,)),
]  # fmt: skip
BEFORE = {
    POSTGRESQL: [
        "CREATE TYPE mood AS ENUM ('sad', 'gone')",
        "CREATE EXTENSION citext",
        "CREATE DOMAIN flag AS boolean",
    ],
    MARIADB: ["SET SESSION sql_mode = ''"],
}


def section(number: int, deleted_when: str | None) -> str:
    when = "" if deleted_when is None else f", deleted_when = {deleted_when}"
    return (
        f'[[section]]\nname = "t{number}"\ntable = "t{number}"\nowner = "person"\n'
        f'exported = ["id", "person", "mark"]\n'
        f'leave_out_deleted = {{ column = "mark", reason = "r"{when} }}\n'
    )


def read(content: bytes) -> dict[str, bytes]:
    """An archive's files by their names."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return {name.rpartition("/")[2]: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("kind", [SQLITE, *SERVERS])
def test_rows_left_out_are_only_those_whose_mark_is_known(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    marks = [(n, each) for n, each in enumerate(MARKS) if kind in each.on]
    with database(kind, request, tmp_path) as url:
        world = World(url, tmp_path, {"DSAR_SECTIONS_FILE": str(tmp_path / "sections.toml")})
        with world.begin() as connection:
            for statement in BEFORE.get(kind, ()):
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql("CREATE TABLE people (id INTEGER PRIMARY KEY)")
            connection.exec_driver_sql("INSERT INTO people VALUES (1), (2)")
            for number, mark in marks:
                connection.exec_driver_sql(
                    f"CREATE TABLE t{number} (id INTEGER PRIMARY KEY, person INTEGER, "
                    f"mark {mark.kind})"
                )
                for row, value in enumerate([*mark.shown, *mark.left_out]):
                    connection.exec_driver_sql(f"INSERT INTO t{number} VALUES ({row}, 1, {value})")
        sections = [section(n, each.deleted_when) for n, each in marks]
        (tmp_path / "sections.toml").write_text(HEAD + "".join(sections), "utf-8")
        with world.services() as services:
            declared = collection(services.runtime)
            content, _ = build_archive(declared, 1, None)
            counts = preview_rows(declared, declared.subject(1, None))
            proof = prove(declared)
        world.close()
    found = read(content)
    for number, mark in marks:
        ids = [row["id"] for row in json.loads(found[f"t{number}.json"])]
        assert ids == list(range(len(mark.shown))), mark
        assert counts.sections[f"t{number}"] == len(mark.shown)
        assert counts.left_out[f"t{number}"] == len(mark.left_out)
    assert proof.findings == []


REFUSED = [
    ("VARCHAR(3)", None, "deleted_when", ALL),
    ("CHAR(1) NOT NULL", None, "deleted_when", ALL),
    ("TIMESTAMP NOT NULL", None, "never NULL", ALL),
    ("DATE NOT NULL", None, "never NULL", ALL),
    ("TIME", None, "no value is known", ALL),
    ("JSON", None, "no value is known", (SQLITE, POSTGRESQL)),
    ("JSON", None, "the column mark is", (MARIADB,)),
    ("DATE", '"2024-01-01"', "cannot be compared", ALL),
    ("VARCHAR(3)", "1", 'as a text: "1"', ALL),
    ("VARCHAR(3)", '"gone"', "of 3 characters", ALL),
    ("CHAR(3)", '"Y "', "blanks", ALL),
    ("INTEGER", '"1"', "without quotation marks", ALL),
    ("BOOLEAN", "2", "true or false", (SQLITE, POSTGRESQL)),
    ("INTEGER", "[]", "a list of these", ALL),
    ("INTEGER", "1.5", "a list of these", ALL),
    ("INTERVAL", None, "no value is known", (POSTGRESQL,)),
    ("UUID", None, "no value is known", (POSTGRESQL, MARIADB)),
    ("BYTEA", None, "no value is known", (POSTGRESQL,)),
    ("BIT(8)", None, "no value is known", (POSTGRESQL, MARIADB)),
    ("INTEGER[]", None, "no value is known", (POSTGRESQL,)),
    ("mood", None, "deleted_when", (POSTGRESQL,)),
    ("mood", '"gon"', "'gone' meant", (POSTGRESQL,)),
    ("ENUM('live', 'gone')", '"GONE"', "'gone' meant", (MARIADB,)),
    ("SET('a', 'gone')", '"gone"', "cannot be compared", (MARIADB,)),
    ("YEAR", None, "no value is known", (MARIADB,)),
]


@pytest.mark.parametrize("kind", [SQLITE, *SERVERS])
def test_mark_of_an_unknown_meaning_is_refused_by_name(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    cases = [(n, each) for n, each in enumerate(REFUSED) if kind in each[3]]
    with database(kind, request, tmp_path) as url:
        world = World(url, tmp_path, {"DSAR_SECTIONS_FILE": str(tmp_path / "sections.toml")})
        with world.begin() as connection:
            for statement in BEFORE.get(kind, ()):
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql("CREATE TABLE people (id INTEGER PRIMARY KEY)")
            for number, (sql_type, *_) in cases:
                connection.exec_driver_sql(
                    f"CREATE TABLE t{number} (id INTEGER PRIMARY KEY, person INTEGER, "
                    f"mark {sql_type})"
                )
        for number, (sql_type, deleted_when, words, _) in cases:
            text = HEAD + section(number, deleted_when)
            (tmp_path / "sections.toml").write_text(text, "utf-8")
            with world.services() as services, pytest.raises(SectionError) as caught:
                collection(services.runtime)
            message = str(caught.value)
            for word in (f"'t{number}'", "leave_out_deleted", words):
                assert word in message, (sql_type, deleted_when, message)
        world.close()


def test_mark_that_leaves_out_every_row_is_pointed_out(database_url: str, tmp_path: Path) -> None:
    world = World(database_url, tmp_path)
    with world.begin() as connection:
        for statement in (
            "CREATE TABLE people (id INTEGER PRIMARY KEY)",
            "INSERT INTO people VALUES (1), (2)",
            "CREATE TABLE t1 (id INTEGER PRIMARY KEY, person INTEGER, mark INTEGER)",
            "CREATE TABLE t2 (id INTEGER PRIMARY KEY, person INTEGER, mark INTEGER)",
            "CREATE TABLE t3 (id INTEGER PRIMARY KEY, person INTEGER, mark INTEGER)",
            "INSERT INTO t1 VALUES (1, 1, 1), (2, 1, 1)",
            "INSERT INTO t2 VALUES (1, 1, 1), (2, 2, 0)",
        ):
            connection.exec_driver_sql(statement)
    path = world.root / "sections.toml"
    path.write_text(HEAD + "".join(section(n, None) for n in (1, 2, 3)), "utf-8")
    world.environment["DSAR_SECTIONS_FILE"] = str(path)
    with world.services() as services:
        before = check_coverage(services.runtime)
        report = check_rows(services.runtime, before)
    assert before.findings == ()
    (finding,) = report.findings
    assert (finding.problem, finding.section) == (Problem.ALL_LEFT_OUT, "t1")
    assert list(report.looked_at) == ["t1.mark", "t2.mark", "t3.mark"]

    assert world.dsar("coverage").returncode == 0
    done = world.dsar("coverage", "--look")
    assert done.returncode == 1
    assert "looked at: t1.mark, t2.mark, t3.mark" in done.stderr
    done = world.dsar("preview", "--user-id", "1")
    assert done.json["left_out"] == {"t1": 2, "t2": 1, "t3": 0}
    assert "t1: all 2 rows of this person are left out" in done.stderr
    assert "t2: all 1 rows" in done.stderr
    assert "t3" not in done.stderr
    world.close()
