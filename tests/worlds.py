"""Fixtures: a database server for the session, a database and a world for each test.

PostgreSQL comes from a wheel, MariaDB is tested where it is installed (``.ci/run`` sees to that).
One's own servers win: ``DSAR_TEST_POSTGRES_URL`` and ``DSAR_TEST_MARIADB_URL`` name one on which
databases may be made and dropped.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from backend.database_urls import normalise_database_url
from tests.harness import World
from tests.servers import ObjectStoreServer, Server, a_server, an_object_store, installed

# No test fails for the time that an example took: the machine may have other work.
hypothesis.settings.register_profile(
    "dsar", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("dsar")

SQLITE, POSTGRESQL, MARIADB = "sqlite", "postgresql", "mariadb"
_HAS_MARIADB = bool(os.environ.get("DSAR_TEST_MARIADB_URL") or installed("mariadbd"))
SERVERS = [POSTGRESQL, *([MARIADB] if _HAS_MARIADB else [])]


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL on which databases may be made."""
    if own := os.environ.get("DSAR_TEST_POSTGRES_URL"):
        yield normalise_database_url(own)
        return
    with a_server(POSTGRESQL) as server:
        yield server.url


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[str]:
    """The URL of a MariaDB on which databases may be made."""
    if own := os.environ.get("DSAR_TEST_MARIADB_URL"):
        yield normalise_database_url(own)
        return
    with a_server(MARIADB) as server:
        yield server.url


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
def a_database(kind: str, folder: Path) -> Iterator[tuple[str, Server | None]]:
    """A new database: in a SQLite file, or on a server of our own, which may be crashed."""
    if kind == SQLITE:
        yield f"sqlite:///{folder / 'dsar.sqlite3'}", None
        return
    with a_server(kind) as server, fresh_database(server.url) as url:
        yield url, server


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


@pytest.fixture(params=[POSTGRESQL, *([MARIADB] if installed("mariadbd") else [])])
def breakable_world(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[World, Server]]:
    """A migrated world on a server of its own, which the test may crash and start again."""
    with a_server(request.param) as server, fresh_database(server.url) as url:
        world = World(url, tmp_path)
        try:
            yield world.migrate(), server
        finally:
            world.close()


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStoreServer]:
    """A server that speaks S3."""
    with an_object_store() as server:
        yield server
