"""People's data in another database than the requests: the application's own, or a replica."""

from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from backend.errors import DatabaseUnreachable, ReplicaConflict
from backend.failures import Kind, failure_of
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.snapshot import open_snapshot
from tests.factories import Person, user_row
from tests.harness import World, members, wait_for
from tests.servers import Server, a_server, a_standby
from tests.worlds import fresh_database


@pytest.fixture
def source(tmp_path: Path) -> Any:
    """Another database, with the application's tables and one person."""
    folder = tmp_path / "source"
    made = World(f"sqlite:///{folder / 'app.sqlite3'}", folder).migrate()
    made.people(Person(7, runs=4))
    yield made
    made.close()


def export(world: World, source: World) -> dict[str, Any]:
    with world.services(source_database_url=source.database_url) as services:
        assert not services.runtime.settings.source_is_control
        return persist_dsar_export("R-7")


def test_export_reads_people_there_and_the_request_here(world: World, source: World) -> None:
    world.request(7, "R-7")
    assert export(world, source)["ok"] is True
    files = members(world.public("R-7"))
    assert len(files["workflow_runs.json"]) == 4
    assert files["dsar_request.json"]["gdpr_reference_id"] == "R-7"
    world.check_invariants()


def test_export_leaves_another_programs_sqlite_file_as_it_is(
    sqlite_world: World, source: World
) -> None:
    source.close()
    file = Path(source.engine.url.database or "")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    before = file.read_bytes()
    sqlite_world.request(7, "R-7")
    assert export(sqlite_world, source)["ok"] is True
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_export_person_not_in_the_replica_yet_is_tried_again(world: World, source: World) -> None:
    world.people(Person(8, runs=1))  # on the primary only
    world.request(8, "R-7")
    result = export(world, source)
    assert (result["error_code"], result["outcome"]) == ("subject_not_in_replica", "retried")
    source.people(Person(8, runs=1))
    assert export(world, source)["ok"] is True


def test_export_person_in_neither_fails_for_good(world: World, source: World) -> None:
    world.request(4711, "R-7")
    result = export(world, source)
    assert (result["error_code"], result["outcome"]) == ("subject_not_found", "failed")


@pytest.mark.parametrize("shape", ["none", "another"])
def test_export_control_without_people_believes_the_source(
    world: World, source: World, shape: str
) -> None:
    with world.begin() as connection:
        for name in ("audit_logs", "api_tokens", "workflow_runs", "workflows", "users"):
            connection.exec_driver_sql(f"DROP TABLE {name}")
        if shape == "another":
            connection.exec_driver_sql("CREATE TABLE users (name VARCHAR(9))")
    world.request(4711, "R-7")
    assert export(world, source)["error_code"] == "subject_not_found"


def test_export_source_out_of_reach_uses_no_attempt(world: World) -> None:
    world.request(7, "R-7")
    done = world.sweep(source_database_url="postgresql://nobody@127.0.0.1:1/none")
    assert done.returncode == 69
    assert done.json["error_code"] == "database_unreachable"
    assert "127.0.0.1:1" in done.stderr
    row = world.row("R-7")
    assert (row["status"], row["attempts"]) == ("pending", 0)


def test_snapshot_cannot_write(world: World) -> None:
    world.people(Person(7))
    with world.services() as services:
        runtime = services.runtime
        with (
            pytest.raises((sa.exc.DBAPIError, DatabaseUnreachable)),
            open_snapshot(runtime.source, runtime.clock, statement_seconds=10) as snapshot,
        ):
            snapshot.connection.exec_driver_sql("DELETE FROM audit_logs")


def test_snapshot_sees_one_instant(world: World) -> None:
    from backend.services.dsar_collectors import WORKFLOWS
    from backend.services.sections import Subject

    world.people(Person(7, workflows=2, runs=1))
    with world.services() as services:
        runtime = services.runtime
        with open_snapshot(runtime.source, runtime.clock, statement_seconds=10) as snapshot:
            assert snapshot.count(WORKFLOWS, Subject(7, None)) == 2
            with world.begin() as connection:
                connection.execute(
                    sa.text(
                        "INSERT INTO workflows (id, user_id, name, is_active) "
                        "VALUES (1, 7, 'new', :yes)"
                    ),
                    {"yes": True},
                )
            assert snapshot.count(WORKFLOWS, Subject(7, None)) == 2
        with open_snapshot(runtime.source, runtime.clock, statement_seconds=10) as snapshot:
            assert snapshot.count(WORKFLOWS, Subject(7, None)) == 3


def test_export_from_a_database_without_an_encoding_keeps_every_name(
    postgresql_server: str, tmp_path: Path
) -> None:
    """SQL_ASCII, as ``initdb`` makes it without a locale: the driver would read bytes."""
    admin = sa.create_engine(postgresql_server, isolation_level="AUTOCOMMIT")
    name = f"ascii_{os.getpid()}"
    with admin.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'"
        )
    url = admin.url.set(database=name).render_as_string(hide_password=False)
    world = World(url, tmp_path)
    try:
        world.migrate()
        world.people(Person(8, runs=2))
        world.request(8, "R-8")
        with world.services():
            assert persist_dsar_export("R-8")["ok"]
        stored = user_row(8)["name"]
        assert members(world.public("R-8"))["account.json"]["name"] == stored
        assert not stored.isascii()
    finally:
        world.close()
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        admin.dispose()


@pytest.mark.parametrize("at_work", [False, True])
def test_snapshot_that_a_standby_ends_says_what_to_set(tmp_path: Path, at_work: bool) -> None:
    """Between two statements its connection is ended, at work the statement."""
    with (
        a_server("postgresql") as primary,
        fresh_database(primary.url) as url,
        a_standby(primary) as standby,
    ):
        world = World(url, tmp_path).migrate()
        world.people(Person(7, runs=50))
        source = sa.create_engine(
            make_url(standby).set(database=world.engine.url.database), isolation_level="AUTOCOMMIT"
        )

        def replayed(position: Any) -> bool:
            query = sa.text("SELECT pg_last_wal_replay_lsn() >= CAST(:position AS pg_lsn)")
            with source.connect() as connection:
                return bool(connection.execute(query, {"position": position}).scalar())

        def replay() -> None:
            with world.engine.connect() as connection:
                position = connection.exec_driver_sql("SELECT pg_current_wal_lsn()").scalar()
            wait_for(lambda: replayed(position), "the standby")

        def clean_up() -> None:
            with world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as bare:
                bare.exec_driver_sql("DELETE FROM workflow_runs")
                bare.exec_driver_sql("VACUUM workflow_runs")

        replay()
        with world.services(
            source_database_url=source.url.render_as_string(hide_password=False)
        ) as services:
            runtime = services.runtime
            with (
                pytest.raises(ReplicaConflict, match="hot_standby_feedback") as caught,
                open_snapshot(runtime.source, runtime.clock, statement_seconds=600) as snapshot,
                ThreadPoolExecutor() as threads,
            ):
                ask = snapshot.connection.exec_driver_sql
                assert ask("SELECT count(*) FROM workflow_runs").scalar() == 50
                asleep = threads.submit(ask, "SELECT pg_sleep(600)") if at_work else None
                clean_up()
                replay()
                if asleep:
                    asleep.result()
                ask("SELECT count(*) FROM workflow_runs")
        source.dispose()
        world.close()
    failure = failure_of(caught.value)
    assert (failure.code, failure.kind) == ("replica_conflict", Kind.TRANSIENT)


def test_pooled_connections_that_a_restart_ended_cost_no_failure(
    breakable_world: tuple[World, Server],
) -> None:
    world, server = breakable_world
    world.people(Person(7, runs=2))
    for number in range(3):
        world.request(7, f"R-{number}")
    with world.services() as services:
        runtime = services.runtime
        for engine in (runtime.control, runtime.source):
            with ExitStack() as several:
                for _ in range(3):
                    several.enter_context(engine.connect())
        server.crash()
        server.start()
        for number in range(3):
            assert persist_dsar_export(f"R-{number}")["ok"] is True
    world.check_invariants()
