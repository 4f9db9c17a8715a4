"""The scripts of deploy/database: three roles with what they need and no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from backend.services.dsar_exporter import persist_dsar_export
from backend.settings import CHECKOUT_ROOT
from tests.factories import Person
from tests.harness import Done, World, members
from tests.servers import Server, a_server
from tests.worlds import POSTGRESQL, SERVERS, fresh_database

SCRIPTS: Final = CHECKOUT_ROOT / "deploy" / "database"
OURS: Final = ("dsar_requests", "dsar_attempts", "dsar_sweeps")
PEOPLES: Final = ("users", "workflows", "workflow_runs", "api_tokens", "audit_logs")


@dataclass
class Roles:
    """One database that belongs to an application, and our three roles in it."""

    server: Server
    admin: World

    def url(self, role: str) -> str:
        url = make_url(self.admin.database_url).set(username=role, password="secret")
        return url.render_as_string(hide_password=False)

    def script(self) -> None:
        """Run the database's script as its client would."""
        engine = self.admin.engine
        text = (SCRIPTS / f"{engine.dialect.name}-roles.sql").read_text()
        with engine.begin() as connection:
            cursor = connection.connection.cursor()
            if engine.dialect.name == POSTGRESQL:
                cursor.execute(text)
                return
            lines = [line for line in text.splitlines() if not line.startswith("--")]
            for statement in "\n".join(lines).split(";\n"):
                if statement.strip():
                    cursor.execute(statement)

    def let_in(self) -> None:
        with self.admin.begin() as connection:
            for role in ("dsar_owner", "dsar", "dsar_reader"):
                connection.exec_driver_sql(
                    f"ALTER ROLE {role} PASSWORD 'secret'"
                    if self.admin.engine.dialect.name == POSTGRESQL
                    else f"ALTER USER {role} IDENTIFIED BY 'secret' ACCOUNT UNLOCK"
                )

    def world(self, role: str = "dsar") -> World:
        reader = {"DSAR_SOURCE_DATABASE_URL": self.url("dsar_reader")}
        return World(self.url(role), self.admin.root, reader)


@pytest.fixture(scope="module", params=SERVERS)
def roles(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Roles]:
    """Migrated by the owner beside the application's tables. Roles are the whole server's."""
    with a_server(request.param) as server, fresh_database(server.url) as url:
        made = Roles(server, World(url, tmp_path_factory.mktemp("roles")).migrate())
        with made.admin.begin() as connection:
            for name in (*OURS, "dsar_schema_version"):
                connection.exec_driver_sql(f"DROP TABLE {name}")
        made.admin.people(Person(7, runs=3), Person(8))
        made.script()
        made.let_in()
        migrated = made.world("dsar_owner").dsar("migrate")
        assert migrated.returncode == 0, migrated.stderr
        made.script()
        yield made
        made.admin.close()


def ok(done: Done) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return done.json


def test_roles_suffice_for_every_command_and_a_sweep(roles: Roles) -> None:
    world = roles.world()
    assert ok(world.dsar("request", "--user-id", "7", "--reference", "R-7"))["status"] == "pending"
    assert ok(world.dsar("preview", "--user-id", "7"))["sections"]["workflow_runs"] == 3

    assert ok(world.sweep())["completed"] == 1

    assert len(members(world.public("R-7"))["workflow_runs.json"]) == 3
    assert ok(world.dsar("list"))["counts"] == {"completed": 1}
    assert ok(world.dsar("export", "R-7"))["ok"]
    assert len(ok(world.dsar("show", "R-7"))["attempts"]) == 2
    assert ok(world.dsar("verify"))["counts"] == {"good": 1}
    roles.admin.request(4711, "R-GONE")
    gone = world.sweep()
    assert (gone.returncode, gone.json["failed"]) == (1, 1)
    assert ok(world.dsar("retry", "R-GONE"))["status"] == "pending"
    assert ok(world.dsar("cancel", "R-GONE"))["status"] == "cancelled"
    assert ok(world.dsar("prune", retention_days=1))["ok"]
    roles.admin.check_invariants()


def test_export_without_a_right_to_read_says_the_grant(roles: Roles) -> None:
    postgresql = roles.admin.engine.dialect.name == POSTGRESQL
    with roles.admin.begin() as connection:
        connection.exec_driver_sql("REVOKE SELECT ON workflows FROM dsar_reader")
    roles.admin.request(7, "R-REFUSED")
    try:
        done = roles.world().dsar("export", "R-REFUSED")
    finally:
        with roles.admin.begin() as connection:
            connection.exec_driver_sql("GRANT SELECT ON workflows TO dsar_reader")

    assert (done.returncode, done.json["error_code"]) == (1, "query_failed")
    last = done.stderr.splitlines()[-1]
    table = "workflows" if postgresql else f"`{roles.admin.engine.url.database}`.`workflows`"
    assert last.startswith("error: the export failed: the database refused it: ")
    assert f"grant it to this role: GRANT SELECT ON {table} TO …" in last
    assert all("workflows" not in str(line) for line in done.logs)
    assert "workflows" not in roles.admin.row("R-REFUSED")["last_error"]
    roles.admin.update("R-REFUSED", status="cancelled")


def test_migrate_without_a_right_to_make_tables_says_the_grant(roles: Roles) -> None:
    postgresql = roles.admin.engine.dialect.name == POSTGRESQL
    with roles.admin.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE dsar_schema_version RENAME TO version_aside")
    try:
        done = roles.world().dsar("migrate")
    finally:
        with roles.admin.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE version_aside RENAME TO dsar_schema_version")

    assert done.returncode == 1
    where = f"`{roles.admin.engine.url.database}`.*"
    right = "USAGE, CREATE ON SCHEMA public" if postgresql else f"CREATE ON {where}"
    assert f"grant it to this role: GRANT {right} TO …" in done.stderr


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        *(("dsar_reader", f"DELETE FROM {name}") for name in (*PEOPLES, *OURS)),
        ("dsar_reader", "UPDATE users SET name = 'x'"),
        ("dsar_reader", "CREATE TABLE mine (id INTEGER)"),
        *(("dsar", f"SELECT * FROM {name}") for name in PEOPLES),
        *(("dsar", f"DELETE FROM {name}") for name in PEOPLES),
        ("dsar", "UPDATE dsar_schema_version SET version_num = 'x'"),
        ("dsar", "DROP TABLE dsar_requests"),
        ("dsar", "CREATE TABLE mine (id INTEGER)"),
        ("dsar_owner", "SELECT * FROM users"),
        ("dsar_owner", "DROP TABLE users"),
    ],
)
def test_roles_anything_else_is_refused(roles: Roles, role: str, statement: str) -> None:
    engine = sa.create_engine(roles.url(role), poolclass=NullPool)

    with (
        pytest.raises(DBAPIError, match=r"denied|permission|owner|read-only"),
        engine.begin() as connection,
    ):
        connection.exec_driver_sql(statement)


def test_replica_whose_primary_tells_nothing_is_asked_again(roles: Roles, tmp_path: Path) -> None:
    """Without a right to the primary's people, nobody is believed to be gone."""
    with fresh_database(roles.server.url) as url:
        replica = World(url, tmp_path).migrate()
        roles.admin.request(8, "R-8")
        with roles.world().services(source_database_url=url):
            result = persist_dsar_export("R-8")
        replica.close()

    assert (result["error_code"], result["outcome"]) == ("subject_not_in_replica", "retried")


# Each is a better match than PostgreSQL's own, or stands before it in the search path.
_PLANTED: Final = (
    "FUNCTION public.format(text, text) RETURNS text",
    "FUNCTION public.format(text, name) RETURNS text",
    "FUNCTION public.format(text, name, text) RETURNS text",
    "FUNCTION public.format(text, text, text) RETURNS text",
    "FUNCTION public.current_schema() RETURNS name",
    "FUNCTION public.current_database() RETURNS name",
    "FUNCTION public.to_regclass(text) RETURNS regclass",
    "FUNCTION public.set_config(text, text, boolean) RETURNS text",
    "FUNCTION public.pg_get_serial_sequence(text, text) RETURNS text",
    "FUNCTION public.eq(text, text) RETURNS boolean",
    "FUNCTION public.eq(name, text) RETURNS boolean",
    "FUNCTION public.cat(text[], text[]) RETURNS text[]",
)


@pytest.mark.parametrize("path", [None, "public, pg_catalog"])
def test_script_run_by_a_superuser_calls_nothing_that_the_application_planted(
    roles: Roles, path: str | None
) -> None:
    """The application's role may create in its schema; it owns the database, and sets its path."""
    if roles.admin.engine.dialect.name != POSTGRESQL:
        pytest.skip("MariaDB's own functions cannot be hidden by stored ones")
    with fresh_database(roles.server.url) as url:
        planted = World(url, roles.admin.root)
        name = make_url(url).database
        with planted.begin() as connection:
            connection.exec_driver_sql("DROP ROLE IF EXISTS planter")
            connection.exec_driver_sql("CREATE ROLE planter LOGIN PASSWORD 'secret'")
            connection.exec_driver_sql(f"ALTER DATABASE {name} OWNER TO planter")
            connection.exec_driver_sql("SET LOCAL ROLE planter")
            for signature in _PLANTED:
                connection.exec_driver_sql(
                    f"CREATE {signature} LANGUAGE plpgsql AS $$ BEGIN"
                    " RAISE EXCEPTION 'planted code ran'; END $$"
                )
            for operator in (
                "= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.eq)",
                "= (LEFTARG = name, RIGHTARG = text, FUNCTION = public.eq)",
                "|| (LEFTARG = text[], RIGHTARG = text[], FUNCTION = public.cat)",
            ):
                connection.exec_driver_sql(f"CREATE OPERATOR public.{operator}")
            connection.exec_driver_sql("CREATE TABLE users (id integer)")
            if path is not None:  # of every session there, the superuser's too
                connection.exec_driver_sql(f"ALTER DATABASE {name} SET search_path = {path}")
        planted.close()
        # Not by SQLAlchemy, which itself asks for the current schema.
        where = make_url(url).set(drivername="postgresql")
        script = (SCRIPTS / "postgresql-roles.sql").read_text()
        try:
            with psycopg.connect(where.render_as_string(hide_password=False)) as superuser:
                superuser.execute(script.encode())
                granted = superuser.execute(
                    "SELECT pg_catalog.has_table_privilege('dsar_reader', 'public.users', 'SELECT')"
                ).fetchone()
        finally:
            with psycopg.connect(where.render_as_string(hide_password=False)) as superuser:
                superuser.execute("REASSIGN OWNED BY planter TO CURRENT_USER")
                superuser.execute("DROP OWNED BY planter")
                superuser.execute("DROP ROLE planter")

    assert granted == (True,)
