"""A server that takes reads only for a while (failover, maintenance) is an outage, nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool
from structlog.testing import capture_logs

from backend.clock import SYSTEM_CLOCK
from backend.driver_errors import is_gone, is_read_only
from backend.errors import DatabaseUnreachable, StoreUnavailable
from backend.failures import failure_of
from backend.services.cases import Cases
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.lease import LeaseKeeper, Watch
from backend.services.requests import Requests
from backend.services.retention import Retention
from tests.factories import Person
from tests.harness import World
from tests.servers import a_server
from tests.worlds import MARIADB, POSTGRESQL, SERVERS, a_world, fresh_database


@dataclass
class Primary:
    """A database whose server can be made read-only, as a role sees it that is no administrator."""

    world: World
    switch: Callable[[bool], None]

    def writable(self, wanted: bool) -> None:
        """End every connection, as a failover does, and take writes or refuse them."""
        self.switch(wanted)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        self.writable(False)
        try:
            yield
        finally:
            self.writable(True)


@pytest.fixture(params=SERVERS)
def primary(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Primary]:
    if request.param == POSTGRESQL:
        with a_world(POSTGRESQL, request, tmp_path) as world:
            yield Primary(world, _switch_postgresql(world))
        return
    with a_server(MARIADB) as server, fresh_database(server.url) as url:
        admin = sa.create_engine(server.url, poolclass=NullPool)
        with admin.begin() as connection:
            name = make_url(url).database
            connection.exec_driver_sql("CREATE USER plain")
            connection.exec_driver_sql(f"GRANT ALL ON {name}.* TO plain")
        plain = make_url(url).set(username="plain").render_as_string(hide_password=False)
        world = World(plain, tmp_path).migrate()
        yield Primary(world, _switch_mariadb(admin))
        world.close()


def _switch_postgresql(world: World) -> Callable[[bool], None]:
    url = make_url(world.database_url)
    admin = sa.create_engine(
        url.set(database="postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )

    def switch(wanted: bool) -> None:
        what = "RESET default_transaction_read_only"
        if not wanted:
            what = "SET default_transaction_read_only = on"
        with admin.connect() as connection:
            connection.exec_driver_sql(f"ALTER DATABASE {url.database} {what}")
            if not wanted:  # who met it read-only has to look for the primary anew unasked
                connection.execute(
                    sa.text(
                        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                        " WHERE datname = :name"
                    ),
                    {"name": url.database},
                )

    return switch


def _switch_mariadb(admin: sa.Engine) -> Callable[[bool], None]:
    def switch(wanted: bool) -> None:
        with admin.begin() as connection:
            connection.exec_driver_sql(f"SET GLOBAL read_only = {0 if wanted else 1}")

    return switch


@contextmanager
def _verbs(world: World) -> Iterator[dict[str, Callable[[], Any]]]:
    """Everything that writes, each with something to write."""
    world.people(Person(7))
    for name in ("CLAIM", "HELD", "EXPIRED"):
        world.request(7, name)
    with world.services(lease_seconds=600) as services:
        control, claims = services.controller, services.claims
        requests = Requests(control, zone=services.runtime.settings.zone)
        cases = Cases(control, zone=services.runtime.settings.zone)
        persist_dsar_export("EXPIRED")
        claim = claims.claim_reference("HELD", worker="a:1")
        with world.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE dsar_requests SET exported_at = '2020-01-01' WHERE status = 'completed'"
            )
        failure = failure_of(StoreUnavailable("x"))
        retention = Retention(control, claims, services.store, retention_days=1)
        cutoff = control.read(control.now) + timedelta(hours=1)
        yield {
            "claim": lambda: claims.claim_due(cutoff, worker="a:1"),
            "claim one": lambda: claims.claim_reference("CLAIM", worker="a:1"),
            "renew": lambda: claims.renew(claim),
            "release": lambda: claims.release(claim, failure),
            "dispose": lambda: claims.dispose(claim, failure, permanent=False),
            "abandon": lambda: claims.abandon(claim),
            "prune": lambda: retention.prune_expired(limit=1),
            "request": lambda: requests.open(7, reference_id="NEW", received_at=None),
            "cancel": lambda: requests.cancel("CLAIM"),
            "hold": lambda: cases.hold("CLAIM", reason="x"),
        }


def test_verb_on_a_read_only_server_is_an_outage_that_leaves_no_connection(
    primary: Primary,
) -> None:
    with _verbs(primary.world) as verbs:
        with primary.read_only():
            for name, verb in verbs.items():
                with pytest.raises(DatabaseUnreachable, match="read-only") as caught:
                    verb()
                assert caught.value.exit_code == 69, name

        # A pooled connection to the former primary would go on refusing.
        verbs["renew"]()
        verbs["claim one"]()


def test_record_on_a_read_only_server_waits_for_it(
    primary: Primary, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = primary.world
    world.people(Person(7))
    world.request(7, "R-1")
    monkeypatch.setattr("backend.services.dsar_exporter._pause", lambda: primary.writable(True))
    switched: list[str] = []

    def progress(section: str, rows: int) -> None:
        if not switched:
            switched.append(section)
            _only_read(primary)

    with world.services():
        result = persist_dsar_export("R-1", watch=Watch(progress=progress))

    assert switched
    assert result["ok"], result
    assert [each["outcome"] for each in world.attempts()] == ["completed"]
    world.check_invariants()


def _only_read(primary: Primary) -> None:
    """Make the server read-only without an end of the snapshot that is being read."""
    if primary.world.engine.dialect.name == MARIADB or "mysql" in primary.world.database_url:
        primary.writable(False)
        return
    url = make_url(primary.world.database_url)
    admin = sa.create_engine(
        url.set(database="postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.exec_driver_sql(
            f"ALTER DATABASE {url.database} SET default_transaction_read_only = on"
        )
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = :name AND backend_xmin IS NULL"
            ),
            {"name": url.database},
        )


@pytest.mark.parametrize("own", [True, False])
def test_attempt_that_a_read_only_server_ended_is_given_back(
    primary: Primary, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """Also where the error that ended it was another: its plan for a retry has to be written."""
    world = primary.world
    world.people(Person(7))
    world.request(7, "R-1")
    pauses: list[str] = []

    def pause() -> None:
        pauses.append(world.row("R-1")["status"])
        primary.writable(True)

    monkeypatch.setattr("backend.services.dsar_exporter._pause", pause)

    def progress(section: str, rows: int) -> None:
        _only_read(primary)
        raise RuntimeError if own else DatabaseUnreachable("gone")

    with world.services():
        result = persist_dsar_export("R-1", watch=Watch(progress=progress))

    assert pauses == ["processing"]
    row = world.row("R-1")
    (attempt,) = world.attempts()
    if own:
        assert (result["trouble"], row["attempts"], attempt["outcome"]) == (False, 1, "retried")
    else:
        assert (result["trouble"], row["attempts"], attempt["outcome"]) == (True, 0, "released")
        assert result["error_code"] == "database_unreachable"
    assert row["status"] == "pending"


def test_sweep_that_meets_a_read_only_server_ends_early(primary: Primary) -> None:
    world = primary.world
    world.people(Person(7), Person(8))
    world.request(7, "R-1")
    world.request(8, "R-2")
    with primary.read_only():
        done = world.sweep()

    assert done.returncode == 69, done.stderr
    assert (done.json["claimed"], done.json["error_code"]) == (0, "database_unreachable")
    assert "read-only" in done.stderr.splitlines()[-1]
    assert {row["attempts"] for row in world.rows()} == {0}
    assert world.sweep().json["completed"] == 2


def test_lease_that_a_read_only_server_does_not_renew_is_logged_by_its_code(
    primary: Primary,
) -> None:
    world = primary.world
    world.people(Person(7))
    world.request(7, "R-1")
    with world.services() as services:
        claim = services.claims.claim_reference("R-1", worker="a:1")
        keeper = LeaseKeeper(
            services.claims, claim, SYSTEM_CLOCK, Watch(), lease_seconds=60, timeout_seconds=60
        )
        with primary.read_only(), capture_logs() as logged:
            keeper.look()

    assert [(each["event"], each["error_code"]) for each in logged] == [
        ("lease_not_renewed", "database_unreachable")
    ]


def test_command_on_a_read_only_server_says_so_and_not_to_migrate(primary: Primary) -> None:
    world = primary.world
    world.people(Person(7))
    world.request(7, "R-1")
    with primary.read_only():
        outcomes = {
            name: world.dsar(*arguments)
            for name, arguments in {
                "request": ("request", "--user-id", "7"),
                "export": ("export", "R-1"),
                "hold": ("hold", "R-1", "--reason", "x"),
                "list": ("list",),
                "doctor": ("doctor",),
            }.items()
        }

    for name in ("request", "export", "hold"):
        last = outcomes[name].stderr.splitlines()[-1]
        assert outcomes[name].returncode == 69, name
        assert "the server is read-only" in last, name
        assert "dsar migrate" not in last, name
    assert outcomes["list"].returncode == 0
    (check,) = [c for c in outcomes["doctor"].json["checks"] if c["name"] == "database"]
    assert check["state"] == "bad"
    assert "read-only" in check["found"]
    assert "takes writes again" in check["remedy"]


def test_migrate_on_a_read_only_server_is_an_outage(
    primary: Primary,
) -> None:
    with primary.world.begin() as connection:
        connection.exec_driver_sql("DROP TABLE dsar_schema_version")
        connection.exec_driver_sql("DROP TABLE dsar_sweeps")
    with primary.read_only():
        done = primary.world.dsar("migrate")

    assert done.returncode == 69, done.stderr
    assert "the server is read-only" in done.stderr


def test_sqlite_file_that_is_read_only_is_an_outage(sqlite_world: World) -> None:
    sqlite_world.people(Person(7))
    path = make_url(sqlite_world.database_url).database
    sqlite_world.close()
    url = f"sqlite:///file:{path}?mode=ro&uri=true"
    world = replace(sqlite_world, database_url=url)

    done = world.dsar("request", "--user-id", "7")

    assert done.returncode == 69, done.stderr
    assert "the file is read-only" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "read_only", "gone"),
    [
        ((1290, "running with the --read-only option so it cannot execute"), True, True),
        ((1290, "running with the --super-read-only option so it cannot"), True, True),
        ((1290, "running with the --secure-file-priv option so it cannot"), False, False),
        ((1792, "Cannot execute statement in a READ ONLY transaction"), True, True),
        ((1836, "Running in read-only mode"), True, True),
        ((1047, "WSREP has not yet prepared node for application use"), False, True),
        ((1021, "Disk full"), False, True),
        ((1146, "Table 'read-only' doesn't exist"), False, False),
        (('connection to server at "a": session is read-only',), True, True),
        (('connection to server at "a": server is in hot standby mode',), True, True),
    ],
)
def test_driver_error_of_a_read_only_server_is_told_from_others(
    arguments: tuple[Any, ...], read_only: bool, gone: bool
) -> None:
    error = OperationalError("", None, type("OperationalError", (Exception,), {})(*arguments))

    assert (is_read_only(error), is_gone(error)) == (read_only, gone)
    assert (failure_of(error).code == "database_unreachable") is gone


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_READONLY_DBMOVED,
        sqlite3.SQLITE_READONLY_ROLLBACK,
        sqlite3.SQLITE_READONLY_CANTLOCK,
    ],
)
def test_sqlite_error_of_a_read_only_file_is_known_by_its_extended_codes(code: int) -> None:
    original = sqlite3.OperationalError("attempt to write a readonly database")
    original.sqlite_errorcode = code
    assert is_read_only(OperationalError("", None, original))


@pytest.mark.parametrize("state", ["25006", "57P01", "57P02", "57P03", "53300", "53100", "08006"])
def test_postgresql_state_of_an_outage_is_one(state: str) -> None:
    original = type("InternalError", (Exception,), {"sqlstate": state})()
    assert failure_of(OperationalError("", None, original)).code == "database_unreachable"
