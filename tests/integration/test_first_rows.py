"""Several sections in one trip: the same rows as one by one, whatever their number and size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from backend.app import make_runtime
from backend.driver_errors import is_gone
from backend.errors import DatabaseUnreachable
from backend.services.collection import table_rows
from backend.services.dsar_collectors import ACCOUNT, API_TOKENS, AUDIT_LOGS, WORKFLOW_RUNS
from backend.services.fetching import CHUNK_BYTES, UNSETTLED_ROWS
from backend.services.sections import Subject, TableSection
from backend.services.snapshot import Snapshot, open_snapshot
from tests.factories import Person
from tests.harness import World

TABLES = (ACCOUNT, WORKFLOW_RUNS, API_TOKENS, AUDIT_LOGS)
ADA, BOB = Subject(7, None), Subject(8, None)


def nothing() -> None:
    """Let everything go on."""


@contextmanager
def snapshot_of(world: World, **options: Any) -> Iterator[Snapshot]:
    runtime = make_runtime(world.settings())
    with open_snapshot(runtime.source, runtime.clock, statement_seconds=60, **options) as snapshot:
        yield snapshot
    runtime.disconnect()


def rows_of(snapshot: Snapshot, section: TableSection, subject: Subject = ADA) -> list[Any]:
    size = snapshot.chunk_size()
    found: list[Any] = []
    for rows in snapshot.chunks(section, subject, size, nothing):
        size.told(len(rows), 300 * len(rows))
        found += rows
    return found


def has_any(snapshot: Snapshot, subject: Subject) -> bool:
    found = snapshot.first_row(ACCOUNT, subject, ["id", "created_at"], lambda row: True)
    assert found is None or found[0] == subject.user_id
    return found is not None


def printed(snapshot: Snapshot, section: TableSection) -> list[Any]:
    return [row for rows in table_rows(section, snapshot, ADA, nothing) for row in rows.values()]


@pytest.mark.parametrize(
    "runs", [0, 1, UNSETTLED_ROWS - 1, UNSETTLED_ROWS, UNSETTLED_ROWS + 1, 1000]
)
def test_rows_asked_for_at_once_are_those_read_one_by_one(
    postgresql_world: World, runs: int
) -> None:
    postgresql_world.people(Person(7, runs=runs, logs=20), Person(8, runs=30, logs=300))
    with snapshot_of(postgresql_world) as snapshot:
        one_by_one = {each.name: printed(snapshot, each) for each in TABLES}
        snapshot.ask_ahead(TABLES, ADA, nothing)
        at_once = {each.name: printed(snapshot, each) for each in TABLES}
        assert at_once == one_by_one
        assert len(at_once["workflow_runs"]) == runs
        snapshot.ask_ahead(TABLES, BOB, nothing)
        other = {row[0] for row in rows_of(snapshot, WORKFLOW_RUNS, BOB)}
        assert len(other) == 30 and not other & {row["id"] for row in at_once["workflow_runs"]}


def test_rows_asked_for_about_another_are_never_given(postgresql_world: World) -> None:
    postgresql_world.people(Person(7, runs=10), Person(8, runs=20))
    with snapshot_of(postgresql_world) as snapshot:
        snapshot.ask_ahead(TABLES, ADA, nothing)
        assert [row[0] for row in rows_of(snapshot, ACCOUNT, BOB)] == [8]
        snapshot.ask_ahead(TABLES, ADA, nothing)
        assert has_any(snapshot, ADA)
        assert not has_any(snapshot, Subject(9, None))
        assert len(rows_of(snapshot, WORKFLOW_RUNS, BOB)) == 20
        snapshot.ask_ahead(TABLES, ADA, nothing)
        assert has_any(snapshot, ADA)
        assert [row[0] for row in rows_of(snapshot, ACCOUNT, BOB)] == [8]
        snapshot.ask_ahead(TABLES, ADA, nothing)
        assert has_any(snapshot, ADA)
        assert [row[0] for row in rows_of(snapshot, ACCOUNT)] == [7]


def test_section_that_nobody_takes_is_passed_over(postgresql_world: World) -> None:
    postgresql_world.people(Person(7, runs=100, logs=20))
    with snapshot_of(postgresql_world) as snapshot:
        snapshot.ask_ahead(TABLES, ADA, nothing)
        assert len(rows_of(snapshot, AUDIT_LOGS)) >= 20
        assert len(rows_of(snapshot, ACCOUNT)) == 1  # anew: it was passed over
        snapshot.ask_ahead(TABLES, ADA, nothing)
        assert snapshot.count(WORKFLOW_RUNS, ADA) == 100
        snapshot.ask_ahead(TABLES, ADA, nothing)
        half_read = snapshot.chunks(WORKFLOW_RUNS, ADA, snapshot.chunk_size(), nothing)
        assert next(half_read)
        assert len(rows_of(snapshot, API_TOKENS)) == snapshot.count(API_TOKENS, ADA)
        snapshot.ask_ahead(TABLES, ADA, nothing)  # and left so: the connection is used again


def test_key_that_a_column_cannot_hold_is_asked_for_by_itself(postgresql_world: World) -> None:
    postgresql_world.people(Person(7))
    nobody = Subject("no number", None)
    with snapshot_of(postgresql_world) as snapshot:
        snapshot.ask_ahead(TABLES, nobody, nothing)
        assert rows_of(snapshot, ACCOUNT, nobody) == []


def test_paced_reading_asks_for_nothing_ahead(postgresql_world: World) -> None:
    postgresql_world.people(Person(7, runs=10))
    with snapshot_of(postgresql_world, rows_per_second=100_000) as snapshot:
        snapshot.ask_ahead(TABLES, ADA, nothing)
        assert snapshot.count(WORKFLOW_RUNS, ADA) == len(rows_of(snapshot, WORKFLOW_RUNS)) == 10


def test_wide_rows_come_one_at_a_time(postgresql_world: World) -> None:
    postgresql_world.people(Person(7, runs=20, logs=0))
    with postgresql_world.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE workflow_runs SET error = repeat('x', {CHUNK_BYTES}) WHERE user_id = 7"
        )
    with snapshot_of(postgresql_world) as snapshot:
        snapshot.ask_ahead(TABLES, ADA, nothing)
        size = snapshot.chunk_size()
        chunks = list(snapshot.chunks(WORKFLOW_RUNS, ADA, size, nothing))
        assert [len(rows) for rows in chunks] == [1] * 20


def test_connection_lost_is_known_as_that(postgresql_world: World) -> None:
    postgresql_world.people(Person(7))
    with pytest.raises(DatabaseUnreachable), snapshot_of(postgresql_world) as snapshot:
        own = snapshot.connection.scalar(sa.text("SELECT pg_backend_pid()"))
        with postgresql_world.begin() as other:
            other.execute(sa.text(f"SELECT pg_terminate_backend({own})"))
        snapshot.ask_ahead(TABLES, ADA, nothing)
        rows_of(snapshot, ACCOUNT)


def test_error_of_the_server_is_sqlalchemys(postgresql_world: World) -> None:
    postgresql_world.people(Person(7))
    with (
        pytest.raises(sa.exc.DBAPIError, match="does not exist") as caught,
        snapshot_of(postgresql_world) as snapshot,
    ):
        with postgresql_world.begin() as other:
            other.exec_driver_sql("ALTER TABLE api_tokens RENAME TO tokens_of_apis")
        snapshot.ask_ahead(TABLES, ADA, nothing)
        assert len(rows_of(snapshot, ACCOUNT)) == 1
        rows_of(snapshot, API_TOKENS)
    assert not is_gone(caught.value)
