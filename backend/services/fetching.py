"""Rows below SQLAlchemy: as the driver has them, some at a time, by a server-side cursor.

A row object of SQLAlchemy's costs more than everything else that is done to a row: of 18.8 s for
1,200,000 rows 9 went there. So the statement is its, the rows are the driver's own tuples, and the
types' conversions are applied to a column at a time. On PostgreSQL the next rows are asked for
before the last ones are used, so that the server works while this process does.

How many rows come at a time follows their size: small rows by the hundred, rows of 10 MB singly.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from backend.models.types import UtcDateTime

Row = Sequence[Any]
Checkpoint = Callable[[], None]

# About what the socket holds: the server fills it and need not wait for this process. More rows
# at a time made nothing faster (250, 1,000: the same) and cost their memory.
CHUNK_BYTES: Final = 256 * 1024
MOST_ROWS: Final = 500
# Rows may be of any size, so the first come singly, and no more than four times as many follow.
_GROWTH: Final = 4
_SETTLED_ROWS: Final = 16
# Of rows of unknown size PostgreSQL is asked for so many at once and read row by row: no more is in
# memory than was read, and a person's few rows cost one round trip.
_UNSETTLED_ROWS: Final = 64
# Between two checkpoints while the database is at work.
_WAIT_MS: Final = 500

_TIMESTAMPTZ: Final = 1184


class ChunkSize:
    """How many rows to ask for next, by what the last ones came to."""

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        self._most = most_rows
        self.rows = 1

    def told(self, rows: int, size: int) -> None:
        """Take note of ``rows`` rows of ``size`` bytes in all."""
        fitting = CHUNK_BYTES * rows // max(size, 1)
        self.rows = max(1, min(rows * _GROWTH, fitting, self._most))

    @property
    def is_settled(self) -> bool:
        """Whether rows are so small that many may be asked for, and asked for unseen."""
        return self.rows >= _SETTLED_ROWS


def chunks(
    connection: Connection,
    query: sa.Select[Any],
    types: Sequence[sa.types.TypeEngine[Any]],
    size: ChunkSize,
    checkpoint: Checkpoint,
) -> Iterator[list[Row]]:
    """The query's rows in order, never an empty list of them.

    ``types`` are the columns' types, whose conversions are applied. ``checkpoint`` is called before
    every chunk, and while the database is waited for where the driver allows it; what it raises
    ends the reading. Raises ``DBAPIError`` as SQLAlchemy does. On an exception, or abandoned, the
    connection is of no further use.
    """
    result = connection.execute(query.execution_options(stream_results=True))
    # Making its result, SQLAlchemy reads one row ahead; all the others are ours.
    checkpoint()
    first = result.fetchone()
    if first is None:
        return
    cursor: Any = result.cursor
    on_postgresql = connection.dialect.name == "postgresql"
    try:
        yield [tuple(first)]
        with _named_as_sqlalchemys(connection):
            codes = [column[1] for column in cursor.description]
            convert = _conversion(connection.dialect, types, codes)
            read = _read_ahead if on_postgresql else _read
            for rows in read(cursor, size, checkpoint):
                yield convert(rows)
        result.close()
    finally:
        if on_postgresql:
            # Or it warns when it is forgotten. With an answer still on its way, and on a connection
            # that was thrown away, this sends nothing.
            cursor.close()


def _conversion(
    dialect: sa.engine.Dialect, types: Sequence[sa.types.TypeEngine[Any]], codes: Sequence[Any]
) -> Callable[[list[Row]], list[Row]]:
    """What makes of the driver's values the types' own, a column at a time."""
    processors = []
    for place, (kind, code) in enumerate(zip(types, codes, strict=True)):
        if isinstance(kind, UtcDateTime) and code == _TIMESTAMPTZ and dialect.name == "postgresql":
            continue  # the session's zone is UTC, so it is one already
        process = kind.dialect_impl(dialect).result_processor(dialect, code)
        if process is not None:
            processors.append((place, process))

    def convert(rows: list[Row]) -> list[Row]:
        columns = list(zip(*rows, strict=True))
        for place, process in processors:
            columns[place] = tuple(map(process, columns[place]))
        return list(zip(*columns, strict=True))

    return convert if processors else lambda rows: rows


@contextmanager
def _named_as_sqlalchemys(connection: Connection) -> Iterator[None]:
    """Turn the driver's own errors into SQLAlchemy's, as its result would have."""
    dialect = connection.dialect
    base = dialect.loaded_dbapi.Error
    try:
        yield
    except base as error:
        raw = connection.connection.dbapi_connection
        gone = raw is None or dialect.is_disconnect(error, raw, None)
        raise DBAPIError.instance(
            None,
            None,
            error,
            base,
            hide_parameters=True,
            connection_invalidated=gone,
            dialect=dialect,
        ) from error


def _read(cursor: Any, size: ChunkSize, checkpoint: Checkpoint) -> Iterator[list[Row]]:
    while True:
        checkpoint()
        rows = cursor.fetchmany(size.rows)
        if not rows:
            return
        yield list(rows)


# -- PostgreSQL -----------------------------------------------------------------------------------


def _read_ahead(cursor: Any, size: ChunkSize, checkpoint: Checkpoint) -> Iterator[list[Row]]:
    """FETCH by FETCH from a psycopg server-side cursor, the next one on its way meanwhile.

    The server prepares it while these rows are rendered and packed: what had been one after the
    other takes the time of the longer of the two.
    """
    yield from _fetched(_Fetch(cursor, checkpoint), size, checkpoint)


def _fetched(fetch: _Fetch, size: ChunkSize, checkpoint: Checkpoint) -> Iterator[list[Row]]:
    asked = fetch.ask(size)
    while True:
        checkpoint()
        came = 0
        rows: list[Row] = []
        for rows, more in fetch.answer():
            came += len(rows)
            if more:
                yield rows
        ahead = came == asked and size.is_settled
        if ahead:
            asked = fetch.ask(size)
        if rows:
            yield rows
        if came < asked and not ahead:
            return
        if not ahead:
            asked = fetch.ask(size)


class _Fetch:
    """FETCH on a named cursor, its asking and its answer apart."""

    def __init__(self, cursor: Any, checkpoint: Checkpoint) -> None:
        from backend.pg_times import Loading

        self._loading = Loading(cursor.connection)
        self._pgconn = cursor.connection.pgconn
        self._name = cursor.name
        self._checkpoint = checkpoint
        self._singly = False
        self._readable = select.poll()
        self._readable.register(self._pgconn.socket, select.POLLIN)

    def ask(self, size: ChunkSize) -> int:
        """Send for the next rows, and return for how many."""
        self._singly = not size.is_settled
        rows = _UNSETTLED_ROWS if self._singly else size.rows
        self._pgconn.send_query(f'FETCH FORWARD {rows} FROM "{self._name}"'.encode())
        if self._singly:
            self._pgconn.set_single_row_mode()
        return rows

    def answer(self) -> Iterator[tuple[list[Row], bool]]:
        """Wait for the rows that were asked for; with them, whether more of them may come.

        Raises psycopg's errors.
        """
        held: list[Row] = []
        weight = 0
        while (result := self._next_result()) is not None:
            try:
                held += self._loading.rows(result)
            except Exception:
                # Read to the answer's end, or the connection could not even be rolled back.
                while self._next_result() is not None:
                    pass
                raise
            if self._singly and held:
                weight += sum(map(_weight, held[-1]))
                if weight >= CHUNK_BYTES:
                    yield held, True
                    held, weight = [], 0
        yield held, False

    def _next_result(self) -> Any:
        while self._pgconn.is_busy():
            if self._readable.poll(_WAIT_MS):
                self._pgconn.consume_input()
            else:
                self._checkpoint()
        return self._pgconn.get_result()


def _weight(value: Any) -> int:
    """About how many bytes a value takes; a large one is text, octets or JSON."""
    return len(value) if hasattr(value, "__len__") else 8
