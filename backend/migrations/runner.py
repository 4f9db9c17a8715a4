"""Bringing a database's schema up to date, and knowing whether it is.

Alembic does the work, configured in code (an installed wheel has no alembic.ini), and under a
version table of our own: the application beside us may have an Alembic of its own in the same
database. It is imported only when something is migrated; every sweep looks at the revision.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, make_url

from backend.engines import CONTROL_KEY, make_control_engine, named_errors
from backend.errors import DatabaseBusy, SchemaError
from backend.settings import Settings, in_checkout

KeyType = Callable[[], sa.types.TypeEngine[Any]]

VERSION_TABLE: Final = "dsar_schema_version"
# The newest revision; a test holds it to Alembic's own head.
HEAD: Final = "0007"

_LOCK_NAME: Final = "dsar_migrate"
_LOCK_NUMBER: Final = 0x44534152  # "DSAR"
_LOCK_SECONDS: Final = 60
_PAUSE_SECONDS: Final = 0.2


@dataclass(slots=True)
class MigrationReport:
    """What a migration did. The counts are of an adopted table's rows."""

    revision: str = HEAD
    previous: str | None = None
    adopted: bool = False
    adopted_rows: int = 0
    reset_processing: int = 0
    replaced_errors: int = 0
    unverified: int = 0


def require_current(revision: str | None) -> None:
    """Raise ``SchemaError``, naming the remedy, unless a database is at this release's revision."""
    if revision == HEAD:
        return
    if revision is None or revision < HEAD:
        raise SchemaError(
            "the database is not migrated to this release's schema (DSAR_DATABASE_URL); "
            "run: dsar migrate"
        )
    raise SchemaError(
        f"the database was migrated by a newer release (to {revision}, this one knows {HEAD}); "
        "upgrade this program"
    )


def migrate(
    settings: Settings,
    *,
    key_type: KeyType | None = None,
    key: str = CONTROL_KEY,
    demonstration: bool = False,
) -> MigrationReport:
    """Make a new schema, or bring an old or an adopted one up to date. May be run again.

    ``key_type`` tells the type of the people's key, a big integer without it; it is asked only
    where ``dsar_requests`` is made new. ``key`` is what an error calls the place that named the
    database. ``demonstration``: make the tables of this program's own demonstration, too, as in a
    checkout; never where the people's data is in another database, or described by a sections file.

    A SQLite file is made (0600) where there is none. On SQLite and PostgreSQL all of it is one
    transaction; MariaDB commits each statement, so there every step looks before it acts, and a
    migration that was interrupted is finished by the next. Runs on other machines are waited for.

    Raises ``AdoptionError`` when an existing table cannot be adopted as it stands (nothing was
    changed), ``SchemaError`` when it is newer than this program, ``DatabaseUnreachable``,
    ``DatabaseBusy``.
    """
    _make_private(settings, key)
    engine = make_control_engine(settings.database_url, create=True, key=key)
    give_up_at = time.monotonic() + _LOCK_SECONDS
    try:
        while True:
            try:
                with (
                    named_errors(engine.url, key),
                    engine.begin() as connection,
                    _alone(connection),
                ):
                    return _upgrade(connection, settings, key_type, demonstration=demonstration)
            except DatabaseBusy:
                # SQLite's own patience is for short transactions, and it has none at all for two
                # that turn a new file's WAL on at the same time.
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(_PAUSE_SECONDS)
    finally:
        engine.dispose()


def _upgrade(
    connection: Connection, settings: Settings, key_type: KeyType | None, *, demonstration: bool
) -> MigrationReport:
    from alembic import command
    from alembic.config import Config

    report = MigrationReport(previous=_revision(connection))
    if report.previous is not None and report.previous > HEAD:
        require_current(report.previous)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(
        connection=connection,
        version_table=VERSION_TABLE,
        with_application=(
            settings.source_is_control
            and settings.sections_file is None
            # Beside another application's data the demonstration's tables would be in the way.
            and (demonstration or in_checkout())
        ),
        key_type=key_type,
        report=report,
    )
    command.upgrade(config, "head")
    return report


def _revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    query = sa.text(f"SELECT version_num FROM {VERSION_TABLE}")
    revision: str | None = connection.execute(query).scalar()
    return revision


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Wait until no other machine migrates. On SQLite the transaction itself is the lock."""
    name = connection.dialect.name
    if name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_NUMBER})")
        yield
    elif name == "sqlite":
        yield
    else:
        connection.exec_driver_sql("SET SESSION max_statement_time = 0")
        taken = connection.exec_driver_sql(f"SELECT GET_LOCK('{_LOCK_NAME}', {_LOCK_SECONDS})")
        if taken.scalar() != 1:
            raise DatabaseBusy("another machine is migrating this database; try again later")
        try:
            yield
            # Before the lock goes: whoever has waited must see the revision that was written.
            connection.exec_driver_sql("COMMIT")
        finally:
            if not connection.invalidated:  # or the lock went with the connection
                connection.exec_driver_sql(f"SELECT RELEASE_LOCK('{_LOCK_NAME}')")


def _make_private(settings: Settings, key: str) -> None:
    """Make a new SQLite file 0600 before anything is in it, whatever the umask.

    Its folder too (``instance/``), but none above: a path of which nothing is there is misspelt.
    """
    url = make_url(settings.database_url)
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith("file:"):
        return
    path = Path(url.database)
    try:
        if path.exists():
            return
        if not path.parent.exists() and not path.parent.parent.exists():
            raise SchemaError(
                f"{path} ({key}) cannot be made: there is no folder {path.parent.parent}; check "
                "the path, or make that folder"
            )
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.touch(mode=0o600)
        path.chmod(0o600)
    except OSError as error:
        raise SchemaError(
            f"{path} ({key}) cannot be made ({error.strerror}); name a file in a "
            "folder that this user may write to"
        ) from None
