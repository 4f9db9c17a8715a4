"""Schemas of hundreds of tables: the work of draft and coverage grows as the schema does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine

from backend.errors import SectionError
from backend.services import key_guesses
from backend.services.coverage import check_coverage
from backend.services.drafting import draft, find_key, find_person
from backend.services.findings import Report
from backend.services.schema_graph import Schema, read_schema
from tests.harness import World
from tests.strangers import settled
from tests.worlds import POSTGRESQL, database

FEW, MANY = 20, 80
# What is done for each table is done four times as often; what is done for each pair, sixteen.
AT_MOST = 6


def tables(count: int, *, keys: bool) -> Iterator[str]:
    """Statements for a person's table and for others, each of which refers to two before it."""
    yield "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT)"
    for number in range(count):
        columns = ["id INTEGER PRIMARY KEY", "user_id INTEGER", "note TEXT"]
        columns += [f"t{other}_id INTEGER" for other in (number - 1, number - 2) if other >= 0]
        if keys:
            columns = [
                f"{each} REFERENCES {each.split('_id')[0].replace('user', 'users')} (id)"
                if "_id" in each
                else each
                for each in columns
            ]
        yield f"CREATE TABLE t{number} ({', '.join(columns)})"
    for number in range(count):  # linked to people by a table of links alone
        yield f"CREATE TABLE room{number} (id INTEGER PRIMARY KEY, topic TEXT)"
        yield (
            f"CREATE TABLE seat{number} (user_id INTEGER REFERENCES users (id), room{number}_id "
            f"INTEGER REFERENCES room{number} (id), PRIMARY KEY (user_id, room{number}_id))"
        )


def calls_of(work: Callable[[], Any]) -> int:
    """How many functions are called, Python's own among them."""
    count = 0

    def note(frame: Any, what: str, argument: Any) -> None:
        nonlocal count
        count += what in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def drafted(schema: Schema) -> str:
    person = find_person(schema, None)
    return draft(schema, person, find_key(person, None))


def unusable_sections(runtime: Any) -> Any:
    raise SectionError("not looked at")


def work_of(count: int, folder: Path, monkeypatch: pytest.MonkeyPatch, *, keys: bool) -> int:
    """The calls of a draft and of coverage, without those of reading the schema."""
    url = f"sqlite:///{folder / f'{count}.sqlite3'}"
    world = World(url, folder, {"DSAR_SECTIONS_FILE": str(folder / "sections.toml")})
    with world.begin() as connection:
        for statement in tables(count, keys=keys):
            connection.execute(sa.text(statement))
    with world.services() as services:
        schema = read_schema(services.runtime.source)
        again = read_schema(services.runtime.source)
        text = ""

        def write() -> None:
            nonlocal text
            text = drafted(schema)

        done = calls_of(write)
        (folder / "sections.toml").write_text(settled(text), "utf-8")
        with monkeypatch.context() as patch:
            patch.setattr("backend.services.coverage.read_schema", lambda *_: again)
            # What reads the database again.
            patch.setattr("backend.services.coverage.unusable", lambda *_: ())
            patch.setattr("backend.services.coverage.collection", unusable_sections)
            reports: list[Report] = []
            done += calls_of(lambda: reports.append(check_coverage(services.runtime)))
        assert reports[0].findings == ()
    world.close()
    return done


@pytest.mark.parametrize("keys", [True, False], ids=["declared", "guessed"])
def test_draft_and_coverage_of_a_wide_schema_take_work_by_table_not_by_pair(
    keys: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = work_of(FEW, tmp_path, monkeypatch, keys=keys)
    many = work_of(MANY, tmp_path, monkeypatch, keys=keys)
    assert many < few * AT_MOST, (few, many)


def test_distances_of_a_wide_schema_are_measured_once_for_each_people_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[object] = []
    measure = key_guesses.measured

    def noted(person: Any, keys: Any) -> Any:
        measured.append(person)
        return measure(person, keys)

    for module in ("schema_graph", "key_guesses"):
        monkeypatch.setattr(f"backend.services.{module}.measured", noted)
    world = World(f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path)
    with world.begin() as connection:
        for statement in tables(FEW, keys=True):
            connection.execute(sa.text(statement))
    with world.services() as services:
        drafted(read_schema(services.runtime.source))
    # By the database's own keys, then by guessed ones as well.
    assert measured == [(None, "users")] * 2
    world.close()


def test_coverage_reads_a_postgresql_schema_by_the_same_statements_however_wide(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    counts = {}
    for count in (2, 30):
        folder = tmp_path / str(count)
        folder.mkdir()
        with database(POSTGRESQL, request, folder) as url:
            world = World(url, folder, {"DSAR_SECTIONS_FILE": str(folder / "sections.toml")})
            with world.begin() as connection:
                for statement in tables(count, keys=True):
                    connection.execute(sa.text(statement))
            with world.services() as services:
                text = settled(drafted(read_schema(services.runtime.source)))
                (folder / "sections.toml").write_text(text, "utf-8")
                counts[count] = statements_of(
                    services.runtime.source, lambda: check_coverage(services.runtime)
                )
            world.close()
    assert counts[2] == counts[30]


def statements_of(engine: Engine, work: Callable[[], Report]) -> int:
    """How many statements are sent."""
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        assert work().findings == ()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return len(seen)
