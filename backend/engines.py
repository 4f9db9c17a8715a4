"""Engines: how this program talks to each database, and how its errors are named.

Two kinds. The *control* engine runs the short transactions on requests, attempts and sweeps:
READ COMMITTED, with a limit on every wait; on SQLite ``BEGIN IMMEDIATE`` (a deferred transaction
that turns from read to write fails at once, whatever the busy timeout). The *snapshot* engine
reads the people's data in one read-only transaction (see ``services.snapshot``).

Neither is ``db.engine``: no transaction of the application is joined, committed or rolled back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, ExceptionContext, make_url
from sqlalchemy.exc import DBAPIError, NoSuchModuleError
from sqlalchemy.pool import PoolResetState

from backend.driver_errors import (
    is_busy,
    is_gone,
    is_hidden_by_policy,
    is_read_only,
    is_replica_conflict,
    why_gone,
    words_of_refusal,
)
from backend.errors import (
    ConfigurationError,
    DatabaseBusy,
    DatabaseUnreachable,
    ReplicaConflict,
    RowsHidden,
    SchemaError,
    SettingsError,
)
from backend.idle_connections import refuse_ended

CONTROL_KEY: Final = "DSAR_DATABASE_URL"
CONNECT_SECONDS: Final = 10
LOCK_SECONDS: Final = 5
STATEMENT_SECONDS: Final = 30
IDLE_IN_TRANSACTION_SECONDS: Final = 60
# A worker that is stopped in mid-collection must not hold its snapshot (and with it vacuum) for
# ever; packaging one chunk takes milliseconds, so ten minutes between two fetches is not work.
SNAPSHOT_IDLE_SECONDS: Final = 600

# Limits are set inside each transaction, not once a connection: behind PgBouncer in transaction
# mode a session's settings belong to whoever gets the server connection next. The time zone
# stands here for the same reason: adopted tables may have columns without one.
#
# One batch, the driver itself in autocommit: its own BEGIN would be a round trip more, and they
# are what a small person's export is made of.
_PG_CONTROL_LIMITS: Final = {
    "lock_timeout": f"{LOCK_SECONDS}s",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS}s",
    "synchronous_commit": "on",
    # A request that a policy hides would wait for ever: an error instead.
    "row_security": "off",
    "TimeZone": "UTC",
}
_PG_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
_PG_CONTROL_BEGIN: Final = "; ".join(
    [_PG_BEGIN, *(f"SET LOCAL {name} = '{value}'" for name, value in _PG_CONTROL_LIMITS.items())]
)
# The same as two statements of the extended protocol, to be sent with the first of the transaction.
PG_CONTROL_BEGINNING: Final = (
    _PG_BEGIN,
    "SELECT "
    + ", ".join(
        f"set_config('{name}', '{value}', true)" for name, value in _PG_CONTROL_LIMITS.items()
    ),
)
# The execution option of a connection whose transaction begins with its first statement, which
# ``services.together`` is to send.
BEGINS_LATE: Final = "dsar_begins_late"
_MARIADB_SESSION: Final = (
    "SET time_zone = '+00:00', "
    f"innodb_lock_wait_timeout = {LOCK_SECONDS}, "
    f"max_statement_time = {STATEMENT_SECONDS}, "
    f"idle_transaction_timeout = {IDLE_IN_TRANSACTION_SECONDS}"
)
_SHOWN_OPTIONS: Final = frozenset(
    {"host", "port", "dbname", "unix_socket", "mode", "uri", "sslmode", "target_session_attrs"}
)
# Set in a connection's ``info`` by whoever ended its transaction and heard that it is ended.
SETTLED: Final = "dsar_settled"

_SQLITE_CONTROL: Final = ("journal_mode = WAL", "synchronous = FULL")
# WAL is a property of the file: not set on one that is only read, and may be another program's.
_SQLITE_SNAPSHOT: Final = ("query_only = ON",)


def make_control_engine(url_text: str, *, create: bool = False, key: str = CONTROL_KEY) -> Engine:
    """An engine for control transactions. Connects to nothing yet.

    ``key`` is what an error calls the place that named the database. A SQLite file that is not
    there is made only with ``create`` (``migrate`` alone asks for that: a misspelt path must not
    bring an empty database into the world); otherwise connecting raises ``SchemaError``.
    """
    url = make_url(url_text)
    if url.get_backend_name() == "sqlite":
        engine = _sqlite_engine(url, _SQLITE_CONTROL, create=create, key=key)
        event.listen(engine, "begin", _begin_immediate)
        return engine
    if url.get_backend_name() == "postgresql":
        engine = _make(
            url,
            isolation_level="AUTOCOMMIT",
            use_native_hstore=False,  # or it asks each new server for that type
            connect_args=_postgresql_connect_args(),
        )
        event.listen(engine, "connect", _have_iso_dates)
        event.listen(engine, "connect", _read_any_time)
        event.listen(engine, "begin", _begin_limited)
    else:
        engine = _make_mariadb(url, _MARIADB_SESSION, isolation_level="READ COMMITTED")
    event.listen(engine, "handle_error", _leave_read_only)
    return engine


def _leave_read_only(context: ExceptionContext) -> None:
    """Throw away connections to a server that became read-only: the new primary is another one."""
    error = context.sqlalchemy_exception
    if isinstance(error, DBAPIError) and is_read_only(error):
        context.is_disconnect = True


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection of the control engine's to read with: each statement sees what is there by then.

    Raises the driver's errors.
    """
    with engine.connect() as connection:
        if engine.dialect.name in ("postgresql", "sqlite"):
            connection.execution_options(isolation_level="AUTOCOMMIT")
        # MariaDB's driver would say so to the server, and take it back: five trips for one
        # ROLLBACK, of the transaction that the first statement begins. At READ COMMITTED each
        # statement has a view of its own all the same.
        yield connection


def make_snapshot_engine(url_text: str, json_deserializer: Any) -> Engine:
    """An engine for read-only snapshots; see ``services.snapshot`` for how one is opened.

    ``json_deserializer`` receives a JSON column's text as the driver hands it over.
    """
    url = make_url(url_text)
    if url.get_backend_name() == "sqlite":
        engine = _sqlite_engine(
            url,
            _SQLITE_SNAPSHOT,
            create=False,
            key="the source database",
            json_deserializer=json_deserializer,
        )
        event.listen(engine, "begin", _begin_deferred)
        event.listen(engine, "connect", _read_any_text)
        return engine
    if url.get_backend_name() == "postgresql":
        engine = _make(
            url,
            isolation_level="AUTOCOMMIT",  # ``services.snapshot`` sends the BEGIN with its limits
            json_deserializer=json_deserializer,
            connect_args=_postgresql_connect_args(),
        )
        event.listen(engine, "connect", _have_iso_dates)
        event.listen(engine, "connect", _read_any_time)
        event.listen(engine, "connect", _read_text_as_stored)
        return engine
    limits = (
        "SET time_zone = '+00:00', max_statement_time = 0, "
        f"idle_transaction_timeout = {SNAPSHOT_IDLE_SECONDS}, "
        f"net_write_timeout = {SNAPSHOT_IDLE_SECONDS}"
    )
    return _make_mariadb(
        url, limits, isolation_level="REPEATABLE READ", json_deserializer=json_deserializer
    )


def _make_mariadb(url: URL, session: str, **options: Any) -> Engine:
    """``session``: the statement that each new connection begins with."""
    arguments = {"connect_timeout": CONNECT_SECONDS, "init_command": session}
    engine = _make(url, connect_args=arguments, pool_reset_on_return=None, **options)
    event.listen(engine, "reset", _end_unsettled)
    return engine


def _make(url: URL, **options: Any) -> Engine:
    try:
        engine = sa.create_engine(url, hide_parameters=True, pool_size=5, max_overflow=5, **options)
    except ModuleNotFoundError as error:
        extra = "postgresql" if url.get_backend_name() == "postgresql" else "mariadb"
        raise ConfigurationError(
            f"the driver {error.name!r} is not installed; pip install 'levqor-dsar[{extra}]'"
        ) from None
    except NoSuchModuleError:
        raise SettingsError(f"DSAR_DATABASE_URL: no driver for {url.drivername!r}") from None
    event.listen(engine, "checkout", refuse_ended)
    return engine


def _postgresql_connect_args() -> dict[str, Any]:
    return {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
        # Server-side prepared statements do not survive PgBouncer's transaction mode.
        "prepare_threshold": None,
        "application_name": "dsar",
        # A database without an encoding (SQL_ASCII) would give bytes where text is.
        "client_encoding": "utf8",
    }


def _sqlite_engine(
    url: URL, pragmas: tuple[str, ...], *, create: bool, key: str, **options: Any
) -> Engine:
    path = Path((url.database or "").removeprefix("file:"))
    engine = sa.create_engine(
        url,
        hide_parameters=True,
        connect_args={"timeout": LOCK_SECONDS, "check_same_thread": False},
        **options,
    )

    @event.listens_for(engine, "do_connect")
    def look_first(*_: object) -> None:
        try:
            if create:
                path.parent.mkdir(mode=0o700, exist_ok=True)
            there = create or path.exists()
        except OSError as error:
            raise DatabaseUnreachable(f"{path} ({key}): {_why_no_folder(path, error)}") from error
        if not there:
            remedy = "" if key == CONTROL_KEY else "check the path, or "
            raise SchemaError(
                f"there is no SQLite database at {path} ({key}); {remedy}run: dsar migrate"
            )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        # The driver's own BEGIN comes only before a write; ours comes where SQLAlchemy's does.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def _autocommits(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT")


def _begin_immediate(connection: Connection) -> None:
    if not _autocommits(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _have_iso_dates(connection: Any, _: object) -> None:
    """The driver reads no other dates, and a server may have been set to print others.

    It tells how it prints them, so this costs no trip where they are ISO already; and PgBouncer
    keeps this setting to the client that made it.
    """
    if not (connection.info.parameter_status("DateStyle") or "ISO").startswith("ISO"):
        connection.execute("SET DateStyle = 'ISO'").close()


def _read_any_time(connection: Any, _: object) -> None:
    """PostgreSQL's calendar reaches further than Python's; see ``backend.pg_times``."""
    from backend.pg_times import register

    register(connection.adapters)


def _read_text_as_stored(connection: Any, _: object) -> None:
    """A server refuses text that it cannot convert; see ``backend.pg_encodings``."""
    from backend.pg_encodings import read_text_as_stored

    read_text_as_stored(connection)


def _read_any_text(connection: Any, _: object) -> None:
    """SQLite keeps text that is no UTF-8; one such value must not keep a person's data back."""
    connection.text_factory = lambda octets: octets.decode("utf-8", "surrogateescape")


def _end_unsettled(connection: Any, record: Any, state: PoolResetState) -> None:
    """Leave a connection that goes back to the pool no transaction: ROLLBACK, unless it is settled.

    The pool's own way is a ROLLBACK each time, also behind a COMMIT: a trip of each transaction.
    Not by what the driver knows of the server's state: it takes no note of it with a result.
    """
    settled = record is not None and record.info.pop(SETTLED, False)
    if not (settled or state.transaction_was_reset or state.terminate_only):
        connection.rollback()


def _begin_deferred(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_limited(connection: Connection) -> None:
    if not (_autocommits(connection) or connection.get_execution_options().get(BEGINS_LATE)):
        connection.exec_driver_sql(_PG_CONTROL_BEGIN)


def shown_url(url: URL) -> str:
    """A database's URL for people to read: without its password, wherever that stands.

    Of its options only those are shown that say where the database is: any other may be a secret,
    or the rest of one that was not escaped.
    """
    secret = [name for name in url.query if name not in _SHOWN_OPTIONS]
    return url.difference_update_query(secret).render_as_string(hide_password=True)


@contextmanager
def named_errors(url: URL, key: str = CONTROL_KEY) -> Iterator[None]:
    """Turn a driver's connection and lock errors into this program's.

    Raises ``DatabaseUnreachable``, ``DatabaseBusy``, ``ReplicaConflict`` or ``RowsHidden`` with a
    message that names the database (its password left out) and what to do; every other error
    passes unchanged.
    """
    try:
        yield
    except DBAPIError as error:
        where = f"{shown_url(url)} ({key})"
        if is_replica_conflict(error):
            raise ReplicaConflict(f"{where}: {ReplicaConflict.remedy}") from error
        if is_hidden_by_policy(error):
            said = words_of_refusal(error)
            raise RowsHidden(f"{where}: {said}; {RowsHidden.remedy}") from error
        if is_busy(error):
            raise DatabaseBusy(
                f"{where}: another transaction held a lock for too long; try again"
            ) from error
        if is_gone(error):
            raise DatabaseUnreachable(f"{where}: {why_gone(error)}") from error
        raise


def hidden_schema(engine: Engine, table: str) -> str | None:
    """The schema (PostgreSQL's) that holds a table, where this role may not enter it; or None.

    Such a table looks as if it were not there. Raises the driver's errors.
    """
    if engine.dialect.name != "postgresql":
        return None
    query = sa.text(
        "SELECT min(nspname) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE relname = :table AND relkind IN ('r', 'p', 'v', 'm', 'f')"
        " HAVING NOT bool_or(has_schema_privilege(n.oid, 'USAGE'))"
    )
    with engine.connect() as connection:
        found = connection.execute(query, {"table": table}).scalar()
    return None if found is None else str(found)


def role_of(engine: Engine) -> str:
    """The role that an engine connects as, for a GRANT."""
    return engine.url.username or "this role"


def _why_no_folder(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return (
            "a folder above it is not this user's to enter; run this as the scheduler's user, or "
            f"see which it is: namei -l {path}"
        )
    return f"its folder cannot be used ({error.strerror}); check the path"


def is_sqlite_url(url_text: str) -> bool:
    """Whether a database URL names a SQLite file."""
    return make_url(url_text).get_backend_name() == "sqlite"
