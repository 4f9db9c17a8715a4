"""Rows below SQLAlchemy: as the driver has them, some at a time, by a server-side cursor.

A row object of SQLAlchemy's costs more than everything else that is done to a row: of 18.8 s for
1,200,000 rows 9 went there. So the statement is its, the rows are the driver's own tuples, and the
types' conversions are applied to a column at a time. On PostgreSQL the next rows are asked for
before the last ones are used, so that the server works while this process does.

How many rows come at a time follows their size: small rows by the hundred, rows of 10 MB singly.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from backend.models.types import UtcDateTime
from backend.services.rendering import JsonText, text_of

Row = Sequence[Any]
Codes = Sequence[Any]
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
UNSETTLED_ROWS: Final = 64
# Between two checkpoints while the database is at work.
_WAIT_MS: Final = 500

_TIMESTAMPTZ: Final = 1184
# PostgreSQL's types whose values are small, whatever they are: truths, numbers, times, UUIDs.
_LIGHT: Final = frozenset(
    {16, 20, 21, 23, 700, 701, 1082, 1083, 1114, _TIMESTAMPTZ, 1186, 1266, 1700, 2950}
)


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
    parameters: Mapping[str, Any] | None = None,
) -> Iterator[Sequence[Row]]:
    """The query's rows in order, never an empty list of them.

    ``types`` are the columns' types, whose conversions are applied; ``parameters`` the query's.
    ``checkpoint`` is called before every chunk, and while the database is waited for where the
    driver allows it; what it raises ends the reading. Raises ``DBAPIError`` as SQLAlchemy does. On
    an exception, or abandoned, the connection is of no further use.
    """
    result = connection.execute(query, parameters, execution_options={"stream_results": True})
    # Making its result, SQLAlchemy reads one row ahead; all the others are ours.
    checkpoint()
    first = result.fetchone()
    if first is None:
        return
    cursor: Any = result.cursor
    on_postgresql = _on_postgresql(connection.dialect)
    try:
        yield [tuple(first)]
        with named_as_sqlalchemys(connection):
            codes = [column[1] for column in cursor.description]
            converting = Conversion(connection.dialect, types, codes)
            if on_postgresql:
                yield from read_cursor(connection, cursor.name, size, checkpoint, converting)
            else:
                fetch = _fetching(connection.dialect, cursor)
                yield from map(converting.rows, _read(fetch, size, checkpoint))
        result.close()
    finally:
        if on_postgresql:
            # Or it warns when it is forgotten. With an answer still on its way, and on a connection
            # that was thrown away, this sends nothing.
            cursor.close()


class Conversion:
    """What makes of the driver's values the types' own, a column at a time."""

    def __init__(
        self, dialect: sa.engine.Dialect, types: Sequence[sa.types.TypeEngine[Any]], codes: Codes
    ) -> None:
        self.codes = codes
        self.processes: dict[int, Callable[[Any], Any]] = {}
        for place, (kind, code) in enumerate(zip(types, codes, strict=True)):
            if isinstance(kind, UtcDateTime) and code == _TIMESTAMPTZ and _on_postgresql(dialect):
                continue  # the session's zone is UTC, so it is one already
            process = kind.dialect_impl(dialect).result_processor(dialect, code)
            if process is not None:
                self.processes[place] = process

    def rows(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Rows of the driver's, converted."""
        if not rows or not self.processes:
            return rows
        columns = list(zip(*rows, strict=True))
        for place, process in self.processes.items():
            columns[place] = tuple(map(process, columns[place]))
        return list(zip(*columns, strict=True))


def _on_postgresql(dialect: sa.engine.Dialect) -> bool:
    return dialect.name == "postgresql"


@contextmanager
def named_as_sqlalchemys(connection: Connection) -> Iterator[None]:
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


def _fetching(dialect: sa.engine.Dialect, cursor: Any) -> Callable[[int], Sequence[Row]]:
    """How so many rows are had of a cursor at once."""
    if dialect.driver == "pymysql":
        from backend.services.mariadb_rows import read_rows

        return partial(read_rows, cursor)
    fetch: Callable[[int], Sequence[Row]] = cursor.fetchmany
    return fetch


def _read(
    fetch: Callable[[int], Sequence[Row]], size: ChunkSize, checkpoint: Checkpoint
) -> Iterator[list[Row]]:
    while True:
        checkpoint()
        rows = fetch(size.rows)
        if not rows:
            return
        yield list(rows)


# -- PostgreSQL -----------------------------------------------------------------------------------


def read_cursor(
    connection: Connection,
    name: str,
    size: ChunkSize,
    checkpoint: Checkpoint,
    converting: Conversion,
) -> Iterator[Sequence[Row]]:
    """FETCH by FETCH from a named cursor of a psycopg connection, the next on its way meanwhile.

    Rows that come singly are given converted; those that come together as ``ColumnarRows``.

    The server prepares it while these rows are rendered and packed: what had been one after the
    other takes the time of the longer of the two.
    """
    fetch = _Fetch(connection, name, checkpoint, converting)
    asked = fetch.ask(size)
    while True:
        checkpoint()
        came = 0
        rows: Sequence[Row] = ()
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


class Results:
    """The results of what was sent on a psycopg connection, as they come.

    ``checkpoint`` is called while they are waited for.
    """

    def __init__(self, raw: Any, checkpoint: Checkpoint) -> None:
        from backend.pg_times import Loading

        self.loading = Loading(raw)
        self._pgconn = raw.pgconn
        self._checkpoint = checkpoint
        self._socket = select.poll()
        self._socket.register(self._pgconn.socket, select.POLLIN)
        self.ended = 0  # how many statements' results were read to their end
        self.types: Sequence[int] = ()  # the last rows' columns'

    def flush(self) -> None:
        """Send all that was asked, reading meanwhile what comes, or both sides would wait."""
        socket = self._pgconn.socket
        while self._pgconn.flush():
            self._socket.modify(socket, select.POLLIN | select.POLLOUT)
            if not self._socket.poll(_WAIT_MS):
                self._checkpoint()
            self._pgconn.consume_input()
        self._socket.modify(socket, select.POLLIN)

    def next(self) -> Any:
        """The next result; None at the end of a statement's."""
        while self._pgconn.is_busy():
            if self._socket.poll(_WAIT_MS):
                self._pgconn.consume_input()
            else:
                self._checkpoint()
        result = self._pgconn.get_result()
        self.ended += result is None
        return result

    def rows(self) -> Iterator[tuple[list[Row], bool]]:
        """A statement's rows that each are a result of their own; with them, whether more may come.

        No more of them is held than a chunk. Raises psycopg's errors.
        """
        held: list[Row] = []
        heavy: list[int] = []
        weight = 0
        self.types = ()
        while (result := self.next()) is not None:
            try:
                rows = self.loading.rows(result, as_before=bool(self.types))
            except Exception:
                self._skip()
                raise
            if rows:
                held += rows
                if not self.types:
                    self.types = [result.ftype(i) for i in range(result.nfields)]
                    heavy = [i for i, code in enumerate(self.types) if code not in _LIGHT]
                weight += sum([_weight(held[-1][place]) for place in heavy])
                if weight >= CHUNK_BYTES:
                    yield held, True
                    held, weight = [], 0
        yield held, False

    def whole(self) -> Any:
        """A statement's rows as one result. Raises psycopg's errors."""
        from backend.pg_times import require_success

        result = self.next()
        self._skip()
        require_success(result)
        return result

    def _skip(self) -> None:
        """Read to the answer's end, or the connection could not even be rolled back."""
        while self.next() is not None:
            pass


class _Fetch:
    """FETCH on a named cursor, its asking and its answer apart."""

    def __init__(
        self, connection: Connection, name: str, checkpoint: Checkpoint, converting: Conversion
    ) -> None:
        from backend.services.pg_columns import Reading

        raw: Any = connection.connection.dbapi_connection
        self._results = Results(raw, checkpoint)
        self._pgconn = raw.pgconn
        self._name = name
        self._singly = False
        self._converting = converting
        self._reading = Reading(connection, self._results.loading, converting)

    def ask(self, size: ChunkSize) -> int:
        """Send for the next rows, and return for how many."""
        self._singly = not size.is_settled
        rows = UNSETTLED_ROWS if self._singly else size.rows
        self._pgconn.send_query(f'FETCH FORWARD {rows} FROM "{self._name}"'.encode())
        if self._singly:
            self._pgconn.set_single_row_mode()
        return rows

    def answer(self) -> Iterator[tuple[Sequence[Row], bool]]:
        """Wait for the rows that were asked for; with them, whether more of them may come."""
        if self._singly:
            for rows, more in self._results.rows():
                yield self._converting.rows(rows), more
        else:
            yield self._reading.rows(self._results.whole()), False


def _weight(value: Any) -> int:
    """About how many bytes a value takes; a large one is text, octets or JSON."""
    if type(value) is str:
        return len(value)
    if isinstance(value, JsonText):
        value = text_of(value)
    return len(value) if hasattr(value, "__len__") else 8
