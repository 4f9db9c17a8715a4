"""One consistent, read-only read of the people's database.

Every section of an export is read in one transaction, so the parts fit together: PostgreSQL and
MariaDB at REPEATABLE READ, SQLite in one read transaction under WAL. Rows come through
server-side cursors in chunks; memory does not grow with the person's data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from backend.clock import Clock
from backend.engines import SNAPSHOT_IDLE_SECONDS, named_errors
from backend.services.sections import Subject, TableSection

# Large enough that a round trip costs little per row, small enough that a chunk of wide rows
# stays a few megabytes: 1,000 rows of 600 bytes are 0.6 MB.
CHUNK_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An open snapshot. ``taken_at`` is its instant, by the database's clock."""

    connection: Connection
    taken_at: datetime

    @property
    def any_type(self) -> bool:
        """Whether a column may hold a value of any type, whatever it was declared as."""
        return self.connection.dialect.name == "sqlite"

    def rows(
        self, section: TableSection, subject: Subject, checkpoint: Callable[[], None]
    ) -> Iterator[Sequence[Any]]:
        """The section's rows of that person, in order, one by one.

        ``checkpoint`` is called before every chunk and may raise to stop the reading. A row holds
        the section's read columns, then its extra ones.
        """
        columns = [_read(column, self.any_type) for column in section.read_columns()]
        columns += section.extra_columns()
        key: sa.BindParameter[Any] = sa.bindparam("subject", subject.user_id)
        query = sa.select(*columns).where(section.owned_by(key)).order_by(*section.ordering())
        result = self.connection.execute(query.execution_options(yield_per=CHUNK_ROWS))
        # Read to its end it closes itself; abandoned, it goes with its connection.
        for chunk in result.partitions(CHUNK_ROWS):
            checkpoint()
            yield from chunk

    def count(self, section: TableSection, subject: Subject) -> int:
        """How many rows the section has of that person."""
        key: sa.BindParameter[Any] = sa.bindparam("subject", subject.user_id)
        query = sa.select(sa.func.count()).select_from(section.table).where(section.owned_by(key))
        return int(self.connection.execute(query).scalar_one())


def _read(column: sa.Column[Any], any_type: bool) -> sa.ColumnElement[Any]:
    """How a column is read so that its value survives.

    An enum is read as what is stored. On SQLite a column holds whatever was put there, and
    SQLAlchemy's conversion of, say, a date raises on a text that is none; such a column is read
    by a conversion that leaves alone what it does not understand.
    """
    if isinstance(column.type, sa.Enum):
        return sa.type_coerce(column, sa.String()).label(column.name)
    if any_type and isinstance(
        column.type, (sa.DateTime, sa.Date, sa.Time, sa.types.TypeDecorator)
    ):
        if _is_instant(column.type):
            return sa.type_coerce(column, _TolerantInstant()).label(column.name)
        if not isinstance(column.type, sa.types.TypeDecorator):
            return sa.type_coerce(column, sa.String()).label(column.name)
    return column


def _is_instant(kind: sa.types.TypeEngine[Any]) -> bool:
    inner = kind.impl if isinstance(kind, sa.types.TypeDecorator) else kind
    return isinstance(inner, sa.DateTime)


class _TolerantInstant(sa.types.TypeDecorator[Any]):
    """SQLite's text for a timestamp as ISO 8601; anything else as it stands."""

    impl = sa.types.NullType
    cache_ok = True

    def process_result_value(self, value: Any, dialect: sa.engine.Dialect) -> Any:
        if not isinstance(value, str):
            return value
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            return value
        # The application keeps UTC; SQLite has no way to say so.
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant


@contextmanager
def open_snapshot(engine: Engine, clock: Clock, *, statement_seconds: float) -> Iterator[Snapshot]:
    """Open a read-only snapshot and close it again, whatever happens inside.

    ``statement_seconds`` bounds each statement on the server, where the server can. The
    transaction is always rolled back: it wrote nothing. A block that is left by an exception
    throws its connection away, because MariaDB's driver would otherwise read the abandoned result
    to its end. Raises ``DatabaseUnreachable`` or ``DatabaseBusy``, naming the source.
    """
    with named_errors(engine.url, "the source database"):
        connection = engine.connect()
        try:
            with connection.begin() as transaction:
                taken_at = _prepare(connection, clock, statement_seconds)
                yield Snapshot(connection, taken_at)
                transaction.rollback()
        except BaseException:
            connection.invalidate()
            raise
        finally:
            connection.close()


def _prepare(connection: Connection, clock: Clock, statement_seconds: float) -> datetime:
    """Make the transaction read-only and bounded, take the snapshot, and return its instant."""
    name = connection.dialect.name
    if name == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")
        # A deferred transaction takes its snapshot at its first read.
        connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1").close()
        return clock.now()
    if name == "postgresql":
        connection.exec_driver_sql(
            "SET TRANSACTION READ ONLY; "
            f"SET LOCAL statement_timeout = {int(statement_seconds * 1000)}; "
            f"SET LOCAL idle_in_transaction_session_timeout = '{SNAPSHOT_IDLE_SECONDS}s'; "
            "SET LOCAL TimeZone = 'UTC'"
        )
        return _aware(connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one())
    connection.exec_driver_sql(f"SET SESSION max_statement_time = {statement_seconds:.0f}")
    connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    return _aware(connection.exec_driver_sql("SELECT UTC_TIMESTAMP(6)").scalar_one())


def _aware(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
