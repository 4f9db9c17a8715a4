"""Moving requests, attempts and sweeps into another database, whatever the two are.

One transaction on either side: the source is locked against claims while it is read, the target
is committed when every row has been counted there. Ids, claim tokens and instants are kept, so
the files of the export root still belong to their requests. The people's data stays where it is.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError

from backend.clock import Clock
from backend.driver_errors import sqlstate
from backend.engines import (
    CONTROL_KEY,
    is_sqlite_url,
    make_control_engine,
    named_errors,
)
from backend.errors import BusyError, SchemaError, UsageError, WrongState
from backend.migrations.runner import VERSION_TABLE, KeyType, migrate
from backend.models import DSARAttempt, DSARRequest, DSARSweep
from backend.models.types import UtcDateTime
from backend.services.control import Controller
from backend.services.outlook import look
from backend.services.ownership import DATABASE_ID
from backend.services.request_rows import ATTEMPTS, REQUESTS, as_stored, instant_or_none
from backend.services.subject_digest import DIGEST_KEY
from backend.settings import Settings

TARGET: Final = "--to"
_NO_RIGHT: Final = "42501"
_BATCH: Final = 1000
_SHOWN: Final = 20


def _table(model: Any) -> sa.Table:
    found = model.__table__
    assert isinstance(found, sa.Table)
    return found


# A test holds this to every table of ours.
MOVED: Final = tuple(_table(model) for model in (DSARRequest, DSARAttempt, DSARSweep))


@dataclass(frozen=True, slots=True)
class Moved:
    """How many rows of each table were copied. ``left_behind``: columns that only the source has
    (the application's own).
    """

    rows: dict[str, int]
    left_behind: tuple[str, ...]


def make_tables(
    settings: Settings, target_url: str, clock: Clock, *, key_type: KeyType | None
) -> None:
    """Make our tables in the database of ``--to``, unless they are there. May be repeated.

    Tables of another release are left as they are, and ``SchemaError`` is raised: what they hold
    may be somebody's. None of the application's own are made: its data stays where it is.
    """
    there = not is_sqlite_url(target_url) or Path(make_url(target_url).database or "").is_file()
    engine = make_control_engine(target_url, key=TARGET)
    try:
        if there:
            with named_errors(engine.url, TARGET):
                there = sa.inspect(engine).has_table(REQUESTS.name)
        if not there:
            stays = {"database_url": target_url, "source_database_url": settings.source_url}
            migrate(settings.model_copy(update=stays), key_type=key_type, key=TARGET)
        try:
            look(Controller(engine, clock, TARGET), prune_before=None)
        except SchemaError:
            raise SchemaError(
                f"the database of {TARGET} has a dsar_requests of another release, or of another "
                "program; name an empty database"
            ) from None
    finally:
        engine.dispose()


def require_another(source: Engine, target: Engine) -> None:
    """Raise ``UsageError`` where both engines' requests are one table, whatever their URLs say.

    Another role or another name of the host leads to the same database; a move would wait for its
    own lock. Two schemas of one PostgreSQL database are two. Raises the databases' own errors.
    """
    if source.dialect.name == target.dialect.name and _SAME[source.dialect.name](source, target):
        raise UsageError(
            f"{TARGET} leads to the very database that {CONTROL_KEY} names; name another"
        )


def _same_file(source: Engine, target: Engine) -> bool:
    paths = [Path((each.url.database or "").removeprefix("file:")) for each in (source, target)]
    return all(path.exists() for path in paths) and paths[0].samefile(paths[1])


def _same_postgresql(source: Engine, target: Engine) -> bool:
    # An advisory lock is a database's own. A table's number tells two schemas apart.
    number = secrets.randbits(62)
    lock = sa.select(sa.func.pg_try_advisory_xact_lock(number))
    table = sa.text("SELECT to_regclass('dsar_requests')::oid")
    with _probing(source, target) as (ours, theirs):
        ours.execute(lock)
        if theirs.execute(lock).scalar_one():
            return False
        return bool(ours.execute(table).scalar() == theirs.execute(table).scalar())


def _same_mariadb(source: Engine, target: Engine) -> bool:
    # A named lock is the whole server's.
    name = f"dsar_move_{secrets.token_hex(8)}"
    database = sa.select(sa.func.database())
    with _probing(source, target) as (ours, theirs):
        ours.execute(sa.select(sa.func.get_lock(name, 0)))
        try:
            held = theirs.execute(sa.select(sa.func.is_used_lock(name))).scalar() is not None
        finally:
            ours.execute(sa.select(sa.func.release_lock(name)))
        return held and ours.execute(database).scalar() == theirs.execute(database).scalar()


@contextmanager
def _probing(source: Engine, target: Engine) -> Iterator[tuple[Connection, Connection]]:
    with (
        named_errors(source.url, CONTROL_KEY),
        source.begin() as ours,
        named_errors(target.url, TARGET),
        target.begin() as theirs,
    ):
        yield ours, theirs


_SAME: Final = {
    "sqlite": _same_file,
    "postgresql": _same_postgresql,
    "mysql": _same_mariadb,
    "mariadb": _same_mariadb,
}


def move(
    source: Engine,
    target: Engine,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Moved:
    """Copy every row of ours from one migrated database into another, empty one.

    ``progress`` is told (rows so far, rows in all). Raises ``WrongState`` when the target holds
    rows, or a value of the source cannot be copied; ``BusyError`` while a request is processing;
    the databases' own errors. Then the target is as it was. The source is never changed. May be
    repeated after a failure; after a success the target is not empty any more.
    """
    with _locked(source, CONTROL_KEY) as reading, _locked(target, TARGET) as writing:
        _require_idle(reading)
        _require_empty(writing)
        _require_dates(reading)
        counts = {table.name: _count(reading, table) for table in MOVED}
        total, done = sum(counts.values()), 0
        for table in MOVED:
            query = sa.select(table).order_by(*table.primary_key)
            result = reading.execute(query.execution_options(yield_per=_BATCH))
            for batch in result.mappings().partitions(_BATCH):
                writing.execute(sa.insert(table), [dict(row) for row in batch])
                done += len(batch)
                progress(done, total)
        _compare(counts, {table.name: _count(writing, table) for table in MOVED})
        try:
            _name_alike(reading, writing)
            _go_on_numbering(writing)
        except DBAPIError as error:
            if sqlstate(error) != _NO_RIGHT:
                raise
            raise WrongState(
                "the role of --to may not set the numbering of dsar_requests, nor the database's "
                "name; name the role that owns the tables: the one of dsar migrate"
            ) from None
        return Moved(counts, _left_behind(reading))


@contextmanager
def _locked(engine: Engine, key: str) -> Iterator[Connection]:
    """A transaction without limits of time, during which nobody else claims a request."""
    with named_errors(engine.url, key), engine.begin() as connection:
        name = connection.dialect.name
        if name == "postgresql":
            connection.exec_driver_sql(
                "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
            )
            names = ", ".join(table.name for table in MOVED)
            connection.exec_driver_sql(f"LOCK TABLE {names} IN EXCLUSIVE MODE")
        elif name != "sqlite":  # whose control transactions keep every other writer out
            connection.exec_driver_sql(
                "SET SESSION max_statement_time = 0, idle_transaction_timeout = 0"
            )
            connection.execute(sa.select(REQUESTS.c.id).with_for_update()).close()
        yield connection


def _require_idle(reading: Connection) -> None:
    query = sa.select(sa.func.count()).where(REQUESTS.c.status == DSARRequest.STATUS_PROCESSING)
    if running := reading.execute(query).scalar_one():
        raise BusyError(
            f"{running} request(s) are being exported; stop every scheduler, wait until "
            "dsar list --status processing shows none (a dead worker's: dsar-scheduler sweep "
            "--once, after its lease), then try again"
        )


def _require_empty(writing: Connection) -> None:
    held = [table.name for table in MOVED if _count(writing, table)]
    if held:
        raise WrongState(
            f"the database of --to holds rows already ({', '.join(held)}); name an empty one"
        )


def _require_dates(reading: Connection) -> None:
    """Raise for a time that is no date of Python's: not every database takes it.

    SQLite holds anything where a date belongs, PostgreSQL infinity, MariaDB 0000-00-00.
    """
    for table in MOVED:
        times = [column for column in table.c if isinstance(column.type, UtcDateTime)]
        key = next(iter(table.primary_key))
        query = sa.select(key, *map(as_stored, times)).execution_options(yield_per=_BATCH)
        ids = [
            row_id
            for row_id, *values in reading.execute(query)
            if any(value is not None and instant_or_none(value) is None for value in values)
        ]
        if ids:
            shown = ", ".join(map(str, ids[:_SHOWN]))
            names = ", ".join(column.name for column in times)
            raise WrongState(
                f"{len(ids)} row(s) of {table.name} hold a time that is no date ({key.name} "
                f"{shown}; one of {names}); set one by SQL, then try again"
            )


def _count(connection: Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _compare(read: dict[str, int], written: dict[str, int]) -> None:
    for name, count in read.items():
        if written[name] != count:
            raise WrongState(
                f"{name}: {count} rows were read and {written[name]} arrived; nothing was kept"
            )


def _name_alike(reading: Connection, writing: Connection) -> None:
    """Let the export root, which is the old database's, be the new one's, too.

    With what the digests are keyed with, that say whose data it holds.
    """
    columns = [sa.column(each.name, sa.String) for each in (DATABASE_ID, DIGEST_KEY)]
    versions = sa.table(VERSION_TABLE, *columns)
    row = reading.execute(sa.select(*columns)).mappings().one()
    writing.execute(sa.update(versions).values(dict(row)))


def _go_on_numbering(writing: Connection) -> None:
    """Let the next request's id follow the last; of a deleted request's, too, that left a trail.

    PostgreSQL's sequences do not see ids that are given; the other databases do.
    """
    if writing.dialect.name != "postgresql":
        return
    last = sa.select(
        sa.func.greatest(
            sa.select(sa.func.max(REQUESTS.c.id)).scalar_subquery(),
            sa.select(sa.func.max(ATTEMPTS.c.request_id)).scalar_subquery(),
        )
    )
    number = writing.execute(last).scalar_one()
    if number is not None:
        sequence = sa.func.pg_get_serial_sequence(REQUESTS.name, REQUESTS.c.id.name)
        writing.execute(sa.select(sa.func.setval(sequence, number)))


def _left_behind(reading: Connection) -> tuple[str, ...]:
    inspector = sa.inspect(reading)
    return tuple(
        f"{table.name}.{column['name']}"
        for table in MOVED
        for column in inspector.get_columns(table.name)
        if column["name"] not in table.c
    )
