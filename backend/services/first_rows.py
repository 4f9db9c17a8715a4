"""The first rows of several sections, asked of PostgreSQL in one trip.

A person's few rows are hardly work for a database; going there and back is. Cursor by cursor a
section took five trips (DECLARE, its description, two FETCHes, CLOSE), five sections 25. So all
their cursors are declared at once, each with a first FETCH, and the answers are read in their
order, row by row: what is not read yet waits in the socket and in the server.

Once a section turns out to have more rows than these, the others' answers are thrown away, which
holds none of them either, and each is asked for again in its turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from backend.services.fetching import (
    UNSETTLED_ROWS,
    Checkpoint,
    ChunkSize,
    Conversion,
    Results,
    Row,
    named_as_sqlalchemys,
    read_cursor,
)
from backend.services.keyed_statements import Keyed
from backend.services.sections import TableSection


@dataclass(frozen=True, slots=True)
class Asked:
    """One section's statement, and its text with ``$1`` and so on, for these values."""

    section: TableSection
    statement: Keyed
    text: str
    values: Sequence[Any]


class FirstRows:
    """What was asked for, and is not read yet. Asks when it is made.

    On an exception of its methods the connection is of no further use.
    """

    def __init__(
        self, connection: Connection, asked: Sequence[Asked], checkpoint: Checkpoint, name: str
    ) -> None:
        self._connection = connection
        raw: Any = connection.connection.dbapi_connection
        self._raw = raw
        self._pgconn = raw.pgconn
        self._asked = asked
        self._checkpoint = checkpoint
        self._name = name
        self._next = 0
        self._over = False
        with named_as_sqlalchemys(connection):
            self._results = Results(self._raw, checkpoint)
            self._send()

    def _send(self) -> None:
        from psycopg.adapt import PyFormat, Transformer

        encoding = self._raw.info.encoding
        self._pgconn.enter_pipeline_mode()
        for number, each in enumerate(self._asked):
            dumping = Transformer(self._raw)
            values = dumping.dump_sequence(each.values, [PyFormat.AUTO] * len(each.values))
            declare = f'DECLARE "{self._cursor(number)}" NO SCROLL CURSOR FOR {each.text}'
            self._pgconn.send_query_params(
                declare.encode(encoding),
                values,
                param_types=dumping.types,
                param_formats=dumping.formats,
            )
            fetch = f'FETCH FORWARD {UNSETTLED_ROWS} FROM "{self._cursor(number)}"'
            self._pgconn.send_query_params(fetch.encode(), None)
        self._pgconn.pipeline_sync()
        self._results.flush()

    def _cursor(self, number: int) -> str:
        return f"{self._name}_{number}"

    def take(self, section: TableSection, size: ChunkSize) -> Iterator[Sequence[Row]] | None:
        """The section's rows as ``fetching.chunks`` gives them; None where they are not to be had.

        To be read before the next section is taken. What nobody took is thrown away.
        """
        for number, asked in enumerate(self._asked[self._next :], self._next):
            if asked.section is section and not self._over:
                self._next = number + 1
                return self._rows(number, asked, size)
        return None

    def take_first(self, section: TableSection, size: ChunkSize) -> Iterator[Sequence[Row]] | None:
        """As ``take``, where it is the first of all."""
        if self._next or self._asked[0].section is not section:
            return None
        return self.take(section, size)

    def _rows(self, number: int, asked: Asked, size: ChunkSize) -> Iterator[Sequence[Row]]:
        count = 0
        with named_as_sqlalchemys(self._connection):
            self._skip(2 * number + 1)
            self._pgconn.set_single_row_mode()
            converting = None
            for rows, _ in self._results.rows():
                if rows:
                    count += len(rows)
                    converting = converting or self._conversion(asked)
                    yield converting.rows(rows)
            if self._next == len(self._asked) or count == UNSETTLED_ROWS:
                self.settle()
            if count == UNSETTLED_ROWS and converting is not None:
                yield from read_cursor(
                    self._connection, self._cursor(number), size, self._checkpoint, converting
                )

    def _conversion(self, asked: Asked) -> Conversion:
        return asked.statement.conversion(self._connection.dialect, self._results.types)

    def settle(self) -> None:
        """Throw away what was not read, so that the connection can be asked for other things."""
        if self._over:
            return
        self._over = True
        with named_as_sqlalchemys(self._connection):
            self._skip(2 * len(self._asked))
            self._results.next()  # the mark of the end
            self._pgconn.exit_pipeline_mode()

    def _skip(self, statements: int) -> None:
        """Throw away answers until those of so many statements were read."""
        from backend.pg_times import require_success

        while self._results.ended < statements:
            if (result := self._results.next()) is not None:
                require_success(result)
            elif self._results.ended % 2 and self._results.ended < statements:
                self._pgconn.set_single_row_mode()  # or all of its rows would be held
