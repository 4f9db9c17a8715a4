"""People's data in another database than the requests: the application's own, or a replica."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backend.errors import DatabaseUnreachable
from backend.services.dsar_exporter import persist_dsar_export
from tests.factories import Person, user_row
from tests.harness import World, members


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
    from backend.services.snapshot import open_snapshot

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
    from backend.services.snapshot import open_snapshot

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
