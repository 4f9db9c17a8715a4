"""Moving requests, attempts and sweeps into another database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from backend import engines
from backend.errors import BusyError, DatabaseBusy, UsageError, WrongState
from backend.extensions import db
from backend.services.moving import MOVED, move, require_another
from tests.factories import Person
from tests.harness import World
from tests.worlds import POSTGRESQL, SERVERS, SQLITE, a_world

WAYS = [*((SQLITE, kind) for kind in SERVERS), (POSTGRESQL, SQLITE)]


def rows(world: World) -> dict[str, list[dict[str, Any]]]:
    with world.engine.connect() as connection:
        return {
            table.name: [
                dict(row)
                for row in connection.execute(
                    sa.select(table).order_by(*table.primary_key)
                ).mappings()
            ]
            for table in MOVED
        }


@pytest.fixture(params=WAYS, ids="-".join)
def worlds(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[World, World]]:
    """Two migrated worlds of different kinds on one export root."""
    first, second = request.param
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    with (
        a_world(first, request, tmp_path / "old") as old,
        a_world(second, request, tmp_path / "new") as new,
    ):
        old.root = new.root = tmp_path
        yield old, new


def fill(world: World) -> None:
    world.people(Person(7, runs=3))
    received = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
    world.request(7, "A", requested_at=received)
    world.request(None, "NOBODY")
    world.sweep()
    world.request(7, "LATER", next_attempt_at=datetime(2030, 1, 1, tzinfo=UTC))
    with world.begin() as connection:
        # The last request of all was deleted; its number must not be given again.
        connection.execute(
            sa.insert(MOVED[1]).values(
                request_id=41,
                claim_token=1,
                attempt=1,
                worker="w",
                started_at=received,
                outcome="completed",
            )
        )


def test_move_keeps_every_row_and_the_files_stay_valid(worlds: tuple[World, World]) -> None:
    old, new = worlds
    fill(old)
    told: list[tuple[int, int]] = []

    moved = move(old.engine, new.engine, progress=lambda done, total: told.append((done, total)))

    before = rows(old)
    assert rows(new) == before
    assert moved.rows == {name: len(found) for name, found in before.items()}
    assert all(moved.rows.values()) and moved.left_behind == ()
    total = sum(moved.rows.values())
    assert told[-1] == (total, total)
    assert new.dsar("verify").json["counts"] == {"good": 1}
    new.people(Person(7, runs=3))
    number = new.request(7, "NEXT")
    assert number > 3
    if new.engine.dialect.name == POSTGRESQL:
        assert number == 42
    assert new.sweep().json["completed"] == 1
    new.check_invariants()


def test_moved_are_all_our_tables() -> None:
    ours = {name for name in db.metadata.tables if name.startswith("dsar_")}

    assert {table.name for table in MOVED} == ours


@pytest.fixture
def pair(sqlite_world: World, postgresql_world: World) -> tuple[World, World]:
    """From SQLite to PostgreSQL."""
    return sqlite_world, postgresql_world


def assert_nothing_came(world: World) -> None:
    assert not any(rows(world).values())


def test_move_into_a_database_with_rows_is_refused(pair: tuple[World, World]) -> None:
    old, new = pair
    old.request(7, "A")
    new.request(7, "B")

    with pytest.raises(WrongState, match=r"--to holds rows already .dsar_requests.; name an empty"):
        move(old.engine, new.engine)

    assert [row["gdpr_reference_id"] for row in new.rows()] == ["B"]


def test_move_while_a_request_is_processing_is_refused(pair: tuple[World, World]) -> None:
    old, new = pair
    old.request(7, "A")
    with old.services() as services:
        services.claims.claim_reference("A", worker="w")

    with pytest.raises(BusyError, match=r"1 request.* stop every scheduler"):
        move(old.engine, new.engine)

    assert_nothing_came(new)


def test_move_of_a_date_that_is_none_names_the_row(pair: tuple[World, World]) -> None:
    old, new = pair
    old.request(7, "A")
    with old.begin() as connection:
        connection.exec_driver_sql("UPDATE dsar_requests SET requested_at = 'yesterday'")

    with pytest.raises(WrongState, match=r"no date .id 1;"):
        move(old.engine, new.engine)

    assert_nothing_came(new)


def test_move_that_fails_half_way_keeps_nothing(pair: tuple[World, World]) -> None:
    old, new = pair
    old.request("no number", "A")  # SQLite holds it; a BIGINT does not
    old.request(7, "B")

    with pytest.raises(sa.exc.DBAPIError):
        move(old.engine, new.engine)

    assert_nothing_came(new)


def test_move_by_a_role_that_owns_nothing_names_the_right_one(pair: tuple[World, World]) -> None:
    old, new = pair
    old.request(7, "A")
    role = f"worker_{os.getpid()}"
    with new.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
        connection.exec_driver_sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    url = make_url(new.database_url).set(username=role)
    engine = engines.make_control_engine(url.render_as_string(hide_password=False))
    try:
        with pytest.raises(WrongState, match="name the role that owns the tables"):
            move(old.engine, engine)
    finally:
        engine.dispose()
        with new.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {role}")
            connection.exec_driver_sql(f"DROP ROLE {role}")

    assert_nothing_came(new)


@pytest.mark.parametrize("kind", [SQLITE, *SERVERS])
def test_move_keeps_claims_out_while_it_reads(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = engines._PG_CONTROL_BEGIN.replace("lock_timeout = '5s'", "lock_timeout = '100ms'")
    monkeypatch.setattr("backend.engines._PG_CONTROL_BEGIN", impatient)
    monkeypatch.setattr("backend.engines.LOCK_SECONDS", 0.1)
    (tmp_path / "new").mkdir()
    with (
        a_world(kind, request, tmp_path) as old,
        a_world(SQLITE, request, tmp_path / "new") as new,
        old.services() as services,
    ):
        old.request(7, "A")
        claimed: list[object] = []

        def claim(done: int, total: int) -> None:
            try:
                now = services.controller.read(services.controller.now)
                claimed.append(services.claims.claim_due(now, worker="w"))
            except DatabaseBusy:
                claimed.append(None)

        move(old.engine, new.engine, progress=claim)

        assert claimed == [None]
        assert new.row("A")["status"] == "pending"


def test_move_lists_the_applications_own_columns(pair: tuple[World, World]) -> None:
    old, new = pair
    with old.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE dsar_requests ADD COLUMN notes TEXT")
    old.request(7, "A")

    assert move(old.engine, new.engine).left_behind == ("dsar_requests.notes",)


# -- the command -------------------------------------------------------------------------------


def test_command_moves_and_shows_no_password(pair: tuple[World, World]) -> None:
    old, new = pair
    old.request(7, "A")
    url = make_url(new.database_url).set(password="pa55word")  # which trust asks nobody for
    text = url.render_as_string(hide_password=False)

    done = old.dsar("move-database", "--to", text)

    assert done.returncode == 0, done.stderr
    assert done.json["dsar_requests"] == 1
    assert "pa55word" not in done.stdout + done.stderr
    again = old.dsar("move-database", "--to", text)
    assert (again.returncode, "name an empty one" in again.stderr) == (1, True)


@pytest.mark.parametrize("kind", [SQLITE, *SERVERS])
def test_target_that_is_the_same_by_another_name_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "other").mkdir()
    with (
        a_world(kind, request, tmp_path) as world,
        a_world(kind, request, tmp_path / "other") as other,
    ):
        url = world.engine.url
        if kind == SQLITE:
            (tmp_path / "link").symlink_to(url.database or "")
            url = url.set(database=str(tmp_path / "link"))
        else:
            url = url.update_query_dict({"connect_timeout": "9"})
        again = engines.make_control_engine(url.render_as_string(hide_password=False))
        try:
            with pytest.raises(UsageError, match="very database that DSAR_DATABASE_URL names"):
                require_another(world.engine, again)
            require_another(world.engine, other.engine)
        finally:
            again.dispose()


def test_another_schema_of_the_same_database_is_another(postgresql_world: World) -> None:
    url = postgresql_world.engine.url.update_query_dict({"options": "-csearch_path=pg_temp"})
    other = engines.make_control_engine(url.render_as_string(hide_password=False))
    try:
        require_another(postgresql_world.engine, other)
    finally:
        other.dispose()


@pytest.mark.parametrize(
    ("target", "code", "words"),
    [
        ("oracle://u:pa55word@h/x", 2, "--to"),
        ("itself", 2, "leads to the very database that DSAR_DATABASE_URL names"),
        # Not even root may make a folder there.
        ("sqlite:////proc/dsar/x.sqlite3", 78, "/proc/dsar/x.sqlite3 (--to) cannot be made"),
        ("postgresql://u:pa55word@127.0.0.1:1/x", 69, "(--to): the database cannot be reached"),
        ("-", 2, "--to"),  # stdin is empty
    ],
)
def test_command_with_a_target_that_will_not_do(
    sqlite_world: World, target: str, code: int, words: str
) -> None:
    url = sqlite_world.database_url if target == "itself" else target

    done = sqlite_world.dsar("move-database", "--to", url)

    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert "pa55word" not in done.stderr
    assert "Traceback" not in done.stderr
    assert target == "itself" or "DSAR_DATABASE_URL" not in done.stderr


def test_command_makes_our_tables_alone_where_there_are_none(
    postgresql_world: World, tmp_path: Path
) -> None:
    postgresql_world.request(7, "A")
    path = tmp_path / "new" / "dsar.sqlite3"

    done = postgresql_world.dsar("move-database", "--to", f"sqlite:///{path}")

    assert (done.returncode, done.json["dsar_requests"]) == (0, 1), done.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    engine = engines.make_control_engine(f"sqlite:///{path}")
    names = set(sa.inspect(engine).get_table_names())
    engine.dispose()
    assert names == {table.name for table in MOVED} | {"dsar_schema_version"}


def test_command_leaves_tables_of_another_release_alone(pair: tuple[World, World]) -> None:
    old, new = pair
    old.request(7, "A")
    with new.begin() as connection:
        connection.exec_driver_sql("UPDATE dsar_schema_version SET version_num = '0002'")

    done = old.dsar("move-database", "--to", new.database_url)

    assert (done.returncode, "another release" in done.stderr) == (78, True), done.stderr
    assert_nothing_came(new)
