"""Through PgBouncer in transaction mode, on a server whose own defaults are hostile: short limits
on statements and idle transactions, SERIALIZABLE for who asks for nothing; and under an
application that inserts requests all the while.
"""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from tests.acceptance.test_faults import Broken
from tests.factories import Person, insert_request
from tests.harness import World, finish, wait_for
from tests.servers import a_server, free_port, installed
from tests.worlds import fresh_database

pytestmark = pytest.mark.skipif(
    not installed("pgbouncer") and not os.environ.get("CI"), reason="pgbouncer is not installed"
)
LIMIT_SECONDS = 2


@pytest.fixture
def pooled(tmp_path: Path) -> Iterator[tuple[World, World]]:
    """One migrated world twice: through PgBouncer, and straight on the server."""
    with a_server("postgresql") as server, fresh_database(server.url) as url:
        direct = World(url, tmp_path)
        name = make_url(url).database
        with direct.begin() as connection:
            for setting, value in (
                ("statement_timeout", f"{LIMIT_SECONDS}s"),
                ("idle_in_transaction_session_timeout", f"{LIMIT_SECONDS}s"),
                ("default_transaction_isolation", "serializable"),
            ):
                connection.exec_driver_sql(f"ALTER DATABASE {name} SET {setting} = '{value}'")
        direct.close()
        with a_pgbouncer(url) as pooled_url:
            through = World(pooled_url, tmp_path).migrate()
            yield through, direct
            through.close()
        direct.close()


@contextmanager
def a_pgbouncer(url: str) -> Iterator[str]:
    """A PgBouncer in transaction mode before a database; the database's URL through it."""
    program = installed("pgbouncer")
    assert program is not None, "CI installs it"
    target = make_url(url)
    port = free_port()
    # Beside the server's data: its user can read there, and it is not root.
    folder = Path(str(target.query["host"]))
    ini, log, pid = (folder / f"pgbouncer-{port}.{end}" for end in ("ini", "log", "pid"))
    ini.write_text(
        "[databases]\n"
        f"{target.database} = host={folder} dbname={target.database} user={target.username}\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 6\n"
        f"logfile = {log}\npidfile = {pid}\n"
    )
    ini.chmod(0o644)
    # It refuses to run as root.
    owner = pwd.getpwuid(folder.stat().st_uid).pw_name
    as_owner = ["-u", owner] if os.geteuid() == 0 else []
    process = subprocess.Popen([program, *as_owner, "-q", str(ini)], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(port), "PgBouncer")
        yield f"postgresql+psycopg://{target.username}@127.0.0.1:{port}/{target.database}"
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Application(threading.Thread):
    """Inserts requests through the pooler, in transactions that are SERIALIZABLE."""

    def __init__(self, world: World, count: int) -> None:
        super().__init__()
        self._engine = sa.create_engine(
            world.database_url, connect_args={"prepare_threshold": None}
        )
        self._count = count
        self.collisions = 0

    def run(self) -> None:
        for number in range(self._count):
            while not self._insert(number):
                self.collisions += 1
        self._engine.dispose()

    def _insert(self, number: int) -> bool:
        try:
            with self._engine.begin() as connection:
                connection.exec_driver_sql("SELECT count(*) FROM dsar_requests")
                insert_request(connection, 10 + number % 10, f"APP-{number}")
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == "40001":
                return False
            raise
        return True


@pytest.mark.timeout(600)
def test_sweeps_beside_an_inserting_application_export_each_once(
    pooled: tuple[World, World],
) -> None:
    world, direct = pooled
    world.people(*(Person(user, runs=30) for user in range(10, 20)))
    application = Application(world, 300)
    application.start()
    running = [world.start("scheduler", "sweep", "--once") for _ in range(3)]
    killed = world.start("scheduler", "sweep", "--once", lease_seconds=1)
    wait_for(lambda: any(row["claim_token"] for row in direct.rows()), "the first claim")
    os.killpg(killed.pid, signal.SIGKILL)
    finish(killed)
    for process in running:
        done = finish(process, 300)
        assert done.returncode == 0, done.stderr
    application.join(300)

    deadline = time.monotonic() + 120
    while Counter(row["status"] for row in direct.rows()) != {"completed": 300}:
        assert time.monotonic() < deadline
        done = world.sweep()
        assert done.returncode == 0, done.stderr
    direct.check_invariants()
    completions = Counter(a["request_id"] for a in direct.attempts() if a["outcome"] == "completed")
    assert set(completions.values()) == {1} and len(completions) == 300


def test_export_longer_than_the_servers_limits_completes(pooled: tuple[World, World]) -> None:
    """Held in mid-collection, past the server's idle limit: ours holds, being the transaction's."""
    world, direct = pooled
    world.people(Person(7, runs=3))
    world.request(7, "R-7")
    process = Broken(world, "packing", "wait", lease_seconds=30)
    process.wait()
    idle = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
        f"state = 'idle in transaction' AND state_change < now() - interval '{LIMIT_SECONDS + 1} s'"
    )

    def is_idle() -> bool:
        with direct.begin() as connection:
            return bool(connection.exec_driver_sql(idle).scalar())

    wait_for(is_idle, "a snapshot that is idle for longer than the server's limit")
    process.go()
    done = process.end()
    assert (done.returncode, done.json["completed"]) == (0, 1), done.stderr
    direct.check_invariants()


@pytest.mark.parametrize(
    "command", [("list",), ("show", "R-7"), ("verify",), ("prune",), ("preview", "--user-id", "7")]
)
def test_operators_commands_work(pooled: tuple[World, World], command: tuple[str, ...]) -> None:
    world, _ = pooled
    world.people(Person(7, runs=3))
    world.request(7, "R-7")
    assert world.dsar("export", "R-7").returncode == 0
    done = world.dsar(*command)
    assert done.returncode == 0, done.stderr


def test_a_server_that_prints_dates_otherwise_stops_nothing(pooled: tuple[World, World]) -> None:
    """Neither through the pooler, which hands server connections on, nor straight on the server."""
    through, direct = pooled
    through.people(Person(7, runs=100))
    through.request(7, "R-7")
    with direct.begin() as connection:
        name = direct.engine.url.database
        for setting, value in (("datestyle", "SQL, DMY"), ("intervalstyle", "sql_standard")):
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET {setting} = '{value}'")
        # The pooler's connections were made before that.
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    direct.close()
    for world in (direct, through):
        for command in (("export", "R-7"), ("show", "R-7"), ("list",), ("verify",), ("prune",)):
            done = world.dsar(*command)
            assert done.returncode == 0, done.stderr
        done = world.sweep()
        assert done.returncode == 0, done.stderr
