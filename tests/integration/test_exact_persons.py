"""The person's own lookup: the key that a request names is read back and compared exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import NotSupportedError

from backend.errors import SubjectNotFound
from backend.migrations.runner import migrate
from backend.services.dsar_collectors import ACCOUNT
from backend.services.dsar_exporter import build_dsar_zip_bytes, persist_dsar_export
from backend.services.sections import Subject
from backend.services.snapshot import open_snapshot
from tests.harness import World, members
from tests.worlds import MARIADB, POSTGRESQL, SERVERS, SQLITE, database

FACTS = "\n".join(
    f'{name} = "x"'
    for name in (
        *("purpose", "categories", "recipients", "retention", "source"),
        *("automated_decisions", "transfers"),
    )
)
SECTIONS = f"""version = 1
[subject]
table = "people"
key = "id"
[facts]
{FACTS}
[[section]]
name = "account"
table = "people"
exported = ["note"]
withheld = {{id = "internal", made = "internal"}}
"""

UUID = "123e4567-e89b-12d3-a456-426614174000"
# A key's type on a database, keys that are there, one that is asked for, and whether it is one.
CASES: list[tuple[str, str, list[Any], Any, bool]] = [
    *((MARIADB, "varchar(20)", ["ann"], each, False) for each in ("ANN", "ann ", "\u00e1nn", "")),
    (MARIADB, "varchar(20)", ["ann"], "ann", True),
    (MARIADB, "char(6)", ["ann"], "ann", True),
    *((MARIADB, "char(4)", ["ann"], each, False) for each in ("ann ", "Ann")),
    (MARIADB, "varchar(20) collate utf8mb4_bin", ["ann"], "ann ", False),
    *((MARIADB, "decimal(20)", [0], each, False) for each in ("", "ann", "0x0", "-0")),
    (MARIADB, "decimal(20)", [2**53 + 1], str(2**53 + 1), True),
    (MARIADB, "bigint", [12], " 12", False),
    (MARIADB, "binary(16)", [b"\x12" * 16], "12" * 16, True),
    (MARIADB, "enum('ann','bob')", ["ann"], "ANN", False),
    (MARIADB, "enum('ann','bob')", ["ann"], "1", False),
    *((POSTGRESQL, "citext", ["ann"], each, each == "ann") for each in ("ann", "ANN", "\u00c1nn")),
    *((POSTGRESQL, "text collate loose", ["ann"], each, each == "ann") for each in ("ann", "ANN")),
    (POSTGRESQL, "char(6)", ["ann"], "ann", True),
    (POSTGRESQL, "char(6)", ["ann"], "ann ", False),
    (POSTGRESQL, "char(4)", ["ann"], "ann ", False),
    *((POSTGRESQL, "numeric", [12], each, each == "12") for each in ("12", "012", "1.2e1", "12.0")),
    (POSTGRESQL, "uuid", [UUID], UUID.replace("-", ""), True),
    (POSTGRESQL, "uuid", [UUID], f"{{{UUID}}}", False),
    *((SQLITE, "text collate nocase", ["ann"], each, each == "ann") for each in ("ann", "ANN")),
    *((SQLITE, "text collate rtrim", ["ann"], each, each == "ann") for each in ("ann", "ann ")),
    *((SQLITE, "char(4) collate rtrim", ["ann"], each, each == "ann") for each in ("ann", "ann ")),
    *((SQLITE, "numeric", [12], each, each == "12") for each in ("12", "012", "12.0", " 12")),
    (SQLITE, "real", [2.0**53], str(2**53 + 1), False),
    (SQLITE, "", ["ann"], "ann", True),
]  # fmt: skip


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A database of the kind that the test's case is of, not migrated, and a folder."""
    kind = request.node.callspec.params["case"][0]
    if kind not in (SQLITE, *SERVERS):
        pytest.skip(f"there is no {kind} here")
    with database(kind, request, tmp_path) as url:
        yield url, tmp_path


def _make_loose_collation(connection: Connection) -> None:
    try:
        connection.exec_driver_sql(
            "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', "
            "deterministic = false)"
        )
    except NotSupportedError:
        connection.engine.dispose()
        connection.invalidate()
        pytest.skip("this PostgreSQL was built without ICU")


def make_world(url: str, folder: Path, key: str, ids: list[Any]) -> World:
    """A world with people of these ids, the first one Ann's; its requests' keys are texts."""
    sections = folder / "sections.toml"
    sections.write_text(SECTIONS)
    world = World(url, folder, environment={"DSAR_SECTIONS_FILE": str(sections)})
    name = world.engine.dialect.name
    with world.begin() as connection:
        if name == POSTGRESQL:
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS citext")
            if "loose" in key:
                _make_loose_collation(connection)
        connection.exec_driver_sql(
            f"CREATE TABLE people (id {key}, note varchar(20), made timestamp NULL)"
        )
        text = sa.text("INSERT INTO people (id, note) VALUES (:id, :note)")
        for number, each in enumerate(ids):
            connection.execute(text, {"id": each, "note": f"person {number}"})
    migrate(world.settings(), key_type=lambda: sa.String(60))
    return world


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[3]}")
def test_request_names_the_person_with_that_very_key_or_nobody(
    place: tuple[str, Path], case: tuple[str, str, list[Any], Any, bool]
) -> None:
    _, key, ids, asked, is_there = case
    world = make_world(*place, key, ids)
    try:
        world.request(asked, "R")
        with world.services():
            result = persist_dsar_export("R")
            assert (result["ok"], result.get("error_code")) == (
                is_there,
                None if is_there else "subject_not_found",
            )
            if is_there:
                assert members(world.public("R"))["account.json"] == {"note": "person 0"}
                return
            with pytest.raises(SubjectNotFound):
                build_dsar_zip_bytes(asked, None)
    finally:
        world.close()


BOTH = [
    (MARIADB, "varchar(20)", ["ANN", "ann", "ann "]),
    (POSTGRESQL, "citext", ["ANN", "ann"]),
    (POSTGRESQL, "text collate loose", ["ANN", "ann", "\u00e1nn"]),
    (SQLITE, "text collate nocase", ["ANN", "ann"]),
    (SQLITE, "text collate rtrim", ["ann ", "ann"]),
]


@pytest.mark.parametrize("case", BOTH, ids=lambda case: f"{case[0]}-{case[1]}")
def test_of_two_people_whom_the_database_takes_for_one_only_the_named_is_exported(
    place: tuple[str, Path], case: tuple[str, str, list[str]]
) -> None:
    world = make_world(*place, case[1], case[2])
    try:
        for number, each in enumerate(case[2]):
            world.request(each, f"R-{number}")
        with world.services():
            for number in range(len(case[2])):
                assert persist_dsar_export(f"R-{number}")["ok"]
                exported = members(world.public(f"R-{number}"))["account.json"]
                assert exported == {"note": f"person {number}"}
        preview = world.dsar("preview", "--user-id", "ann")
        assert preview.json["sections"]["account"] == 1
    finally:
        world.close()


def test_rows_with_another_key_are_no_rows_of_the_person(sqlite_world: World) -> None:
    """Whatever the database's condition let through."""
    with sqlite_world.services() as services:
        source, clock = services.runtime.source, services.runtime.clock
        with open_snapshot(source, clock, statement_seconds=60) as snapshot:
            rows = [(7, "mine"), (8, "other"), ("07", "other"), (None, "other")]
            own = snapshot.own_rows(ACCOUNT, Subject(7, None), rows, ["id", "name"])
    assert list(own) == [(7, "mine")]


def test_request_command_finds_nobody_where_the_database_does(tmp_path: Path) -> None:
    world = make_world(
        f"sqlite:///{tmp_path / 'x.sqlite3'}", tmp_path, "text collate nocase", ["ann"]
    )
    try:
        for command in (("request",), ("preview",)):
            done = world.dsar(*command, "--user-id", "ANN")
            assert done.returncode == 1 and "exist" in done.stderr
        world.request("ANN", "GONE")
        world.request("ann", "HERE")
        listed = json.loads(world.dsar("list").stdout)["requests"]
        assert {each["reference_id"]: each["subject_gone"] for each in listed} == {
            "GONE": True,
            "HERE": False,
        }
    finally:
        world.close()


def test_open_joins_nobody_elses_request(world: World) -> None:
    """Where the requests' own column takes two keys for one."""
    name = world.engine.dialect.name
    with world.begin() as connection:
        if name == POSTGRESQL:
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS citext")
            connection.exec_driver_sql("ALTER TABLE dsar_requests ALTER user_id TYPE citext")
        elif name != SQLITE:
            connection.exec_driver_sql("ALTER TABLE dsar_requests MODIFY user_id varchar(60)")
        else:
            connection.exec_driver_sql("ALTER TABLE dsar_requests RENAME COLUMN user_id TO was")
            connection.exec_driver_sql(
                "ALTER TABLE dsar_requests ADD COLUMN user_id text COLLATE NOCASE"
            )
    from backend.services.requests import Requests

    with world.services() as services:
        requests = Requests(services.controller)
        requests.open("ANN", reference_id="R-1")
        opened = requests.open("ann", reference_id="R-2", join=True)
        assert (opened.joined, opened.other_open) == (False, ())
        opened = requests.open("ann", reference_id="R-3", join=True)
        assert (opened.joined, opened.request.reference_id) == (True, "R-2")


# -- an id that was given to somebody new -------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "newer"),
    [
        ("2026-03-01 10:00:00", "yes"),
        ("2026-02-01 22:00:00", "maybe"),
        ("2026-02-01 02:00:00", "maybe"),
        ("2026-01-01 10:00:00", "no"),
        (None, None),
    ],
)
def test_person_entered_after_the_receipt_is_pointed_out(
    tmp_path: Path, made: str | None, newer: str | None
) -> None:
    world = make_world(f"sqlite:///{tmp_path / 'x.sqlite3'}", tmp_path, "integer primary key", [7])
    try:
        with world.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE people RENAME COLUMN made TO created_at")
            connection.execute(sa.text("UPDATE people SET created_at = :at"), {"at": made})
        file = tmp_path / "sections.toml"
        file.write_text(file.read_text().replace("made", "created_at"))
        opened = world.dsar(
            "request", "--user-id", "7", "--reference", "R", "--received-at", "2026-02-01T12:00Z"
        )
        shown, exported = world.dsar("show", "R"), world.dsar("export", "R")
        assert shown.json["request"]["person_newer"] == newer
        assert opened.json["person_newer"] == newer
        assert exported.json["ok"]
        told = newer in ("yes", "maybe")
        assert exported.json.get("person_newer") == (newer if told else None)
        assert all(
            ("warning: the person" in done.stderr) is told for done in (opened, shown, exported)
        )
        events = {each["event"] for each in exported.logs}
        wanted = {"yes": "person_newer_than_request", "maybe": "person_maybe_newer_than_request"}
        assert set(wanted.values()) & events == ({wanted[str(newer)]} if told else set())
    finally:
        world.close()
