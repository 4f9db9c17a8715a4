"""One consistent, read-only read of the people's database.

Every section of an export is read in one transaction, so the parts fit together: PostgreSQL and
MariaDB at REPEATABLE READ, SQLite in one read transaction under WAL. Rows come through
server-side cursors in chunks; memory does not grow with the person's data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from backend.clock import Clock
from backend.engines import SETTLED, SNAPSHOT_IDLE_SECONDS, named_errors
from backend.services.exact_keys import is_exactly
from backend.services.faithful import faithful
from backend.services.fetching import (
    Checkpoint,
    ChunkSize,
    Row,
    chunks,
    named_as_sqlalchemys,
)
from backend.services.first_rows import Asked, FirstRows
from backend.services.keyed_statements import Keyed, keyed
from backend.services.large_objects import content
from backend.services.pacing import Pace
from backend.services.sections import Subject, TableSection

if TYPE_CHECKING:
    from backend.services.pg_wire import Wire

# No table of people has more rows that a database takes for one person's.
_FOUND_AT_MOST: Final = 1000
# What a file's path takes, about: rows of paths are small.
_PATH_BYTES: Final = 200


@dataclass(slots=True)
class Snapshot:
    """An open snapshot. ``taken_at`` is its instant, by the database's clock.

    With a ``pace`` its rows are read no faster than that.
    """

    connection: Connection
    taken_at: datetime
    pace: Pace | None = None
    # Whether the person's row was made after their request was received; see ``subject_age``.
    subject_newer: str | None = field(default=None, init=False)
    _ahead: FirstRows | None = field(default=None, init=False)
    _about: Subject | None = field(default=None, init=False)
    _peeked: _Peeked | None = field(default=None, init=False)
    _asked: int = field(default=0, init=False)
    _ending: Wire | None = field(default=None, init=False)

    def chunk_size(self) -> ChunkSize:
        """Where to note how large a section's rows are; see ``chunks``."""
        return ChunkSize() if self.pace is None else ChunkSize(self.pace.most_rows)

    @property
    def any_type(self) -> bool:
        """Whether a column may hold a value of any type, whatever it was declared as."""
        return self.connection.dialect.name == "sqlite"

    def ask_ahead(
        self, sections: Sequence[TableSection], subject: Subject, checkpoint: Checkpoint
    ) -> None:
        """Ask for the first rows of these sections at once, where the database can be asked so.

        They are then to be read in this order, by ``chunks``; whatever else is asked of the
        snapshot in between ends that, and what was not read is asked for again.
        """
        self.settle()
        if self.connection.dialect.name != "postgresql" or self.pace is not None:
            return  # MariaDB and SQLite answer one statement at a time
        asked = []
        for section in sections:
            found = self._rows_of(section)
            text = found.numbered(self.connection.dialect, subject.user_id)
            if text is None:
                break
            asked.append(Asked(section, found, *text))
        if asked:
            self._asked += 1
            name = f"dsar_{self._asked}"
            self._ahead = FirstRows(self.connection, asked, checkpoint, name)
            self._about = subject

    @property
    def is_ahead(self) -> bool:
        """Whether rows were asked for that are not read yet."""
        return self._ahead is not None

    def settle(self) -> None:
        """Forget what was asked ahead and not read."""
        if self._ahead is not None:
            self._ahead.settle()
            self._ahead = self._peeked = self._about = None

    def finish(self) -> None:
        """Let go of the snapshot: nothing more is to be asked of it.

        On PostgreSQL its end is sent now, and costs no wait: it is heard of when the block is left.
        """
        self.settle()
        if self._ending is None and self.connection.dialect.name == "postgresql":
            self._ending = wire_of(self.connection)
            with named_as_sqlalchemys(self.connection):
                self._ending.send("ROLLBACK")

    def end(self) -> None:
        """As ``finish``, heard of."""
        self.finish()
        if self._ending is not None:
            with named_as_sqlalchemys(self.connection):
                self._ending.read()

    def _ahead_about(self, subject: Subject) -> FirstRows | None:
        """What was asked ahead, if it was about that person; another's is thrown away."""
        if self._about is not subject:
            self.settle()
        return self._ahead

    def chunks(
        self, section: TableSection, subject: Subject, size: ChunkSize, checkpoint: Checkpoint
    ) -> Iterator[Sequence[Row]]:
        """The section's rows of that person, in order, some at a time (see ``fetching.chunks``).

        A row holds the section's read columns, then its extra ones. ``size`` wants to be told of
        what has come. ``checkpoint`` is called before every chunk and may raise to stop.
        """
        if (ahead := self._ahead_about(subject)) is not None:
            if self._peeked is not None and self._peeked.section is section:
                peeked, self._peeked = self._peeked, None
                return peeked.chunks(size)
            checkpoint()
            found = ahead.take(section, size)
            if found is not None:
                return found
        return self._select(self._rows_of(section), subject, size, checkpoint)

    def _rows_of(self, section: TableSection) -> Keyed:
        return self._keyed(
            section, "rows", lambda: [*section.read_columns(), *section.extra_columns()]
        )

    def file_paths(
        self, section: TableSection, subject: Subject, checkpoint: Checkpoint
    ) -> Iterator[Row]:
        """Of each row that ``chunks`` gives, the columns of ``section.files`` alone."""
        size = self.chunk_size()
        names = [*section.files, *filter(None, [section.key])]
        found = self._keyed(section, "files", lambda: [section.table.c[name] for name in names])
        for rows in self._select(found, subject, size, checkpoint):
            size.told(len(rows), _PATH_BYTES * len(rows))
            for row in self.own_rows(section, subject, rows, names):
                yield row[: len(section.files)]

    def _keyed(
        self, section: TableSection, use: str, columns: Callable[[], Sequence[sa.Column[Any]]]
    ) -> Keyed:
        dialect = self.connection.dialect.name

        def build(key: Any) -> sa.Select[Any]:
            read = set(section.read_columns())
            read |= {section.table.c[name] for name in section.proving_columns()}
            shown = [
                content(each)
                if each.name in section.large_objects
                else (faithful(each, dialect) if each in read else each)
                for each in columns()
            ]
            owned = section.reading(sa.select(*shown).where(section.owned_by(key)))
            return owned.order_by(*section.ordering())

        return keyed(self.connection.engine, section, use, build)

    def _select(
        self, statement: Keyed, subject: Subject, size: ChunkSize, checkpoint: Checkpoint
    ) -> Iterator[Sequence[Row]]:
        self.settle()
        query, parameters = statement.about(subject.user_id)
        found = chunks(self.connection, query, statement.types, size, checkpoint, parameters)
        return found if self.pace is None else self.pace.spread(found, checkpoint)

    def own_rows(
        self, section: TableSection, subject: Subject, rows: Sequence[Row], names: Sequence[str]
    ) -> Sequence[Row]:
        """Of rows with columns of these names those that have the very key of that person.

        All of them in a section that names no ``key``.
        """
        if section.key is None:
            return rows
        column, place = section.table.c[section.key], names.index(section.key)
        dialect, wanted = self.connection.dialect.name, subject.user_id
        own = [row for row in rows if is_exactly(column, wanted, row[place], dialect)]
        return rows if len(own) == len(rows) else own

    def first_row(
        self,
        section: TableSection,
        subject: Subject,
        names: Sequence[str],
        wanted: Callable[[Row], bool],
    ) -> Row | None:
        """The columns of these names, of the first of that person's rows of which they are wanted.

        Where the section is the first of those asked ahead they show it, and are still to be read.
        """
        read = [each.name for each in (*section.read_columns(), *section.extra_columns())]
        size = self.chunk_size()
        ahead = self._ahead_about(subject)
        found = ahead.take_first(section, size) if ahead and set(names).issubset(read) else None
        if found is not None:
            self._peeked = _Peeked(section, [], found, size)
            return self._peeked.find([read.index(name) for name in names], wanted)
        self.settle()

        def build(key: Any) -> sa.Select[Any]:
            dialect = self.connection.dialect.name
            columns = [faithful(section.table.c[name], dialect) for name in names]
            found = sa.select(*columns).where(section.owned_by(key))
            return section.reading(found.limit(_FOUND_AT_MOST))

        use = f"first {' '.join(names)}"
        query, parameters = keyed(self.connection.engine, section, use, build).about(
            subject.user_id
        )
        rows = self.connection.execute(query, parameters).all()
        return next(filter(wanted, rows), None)

    def count(self, section: TableSection, subject: Subject) -> int:
        """How many rows the section has of that person."""
        return self.count_both(section, subject)[0]

    def count_both(self, section: TableSection, subject: Subject) -> tuple[int, int]:
        """How many rows the section shows of that person, and how many it leaves out as deleted."""
        self.settle()
        deleted = section.leave_out_deleted
        kept = sa.true() if deleted is None else deleted.kept(section.table)
        if section.key is not None:
            return self._count_own(section, section.key, kept, subject)
        query: Any = (
            sa.select(sa.func.count(), sa.func.count(sa.case((kept, 1))))
            .select_from(section.table)
            .where(section.owned_or_deleted(subject.user_id))
        )
        row = self.connection.execute(section.reading(query)).one()
        owned, shown = row[0], row[1]
        return int(shown), int(owned) - int(shown)

    def _count_own(
        self, section: TableSection, key: str, kept: sa.ColumnElement[bool], subject: Subject
    ) -> tuple[int, int]:
        """As ``count_both``, of rows with that person's very key alone."""
        column = faithful(section.table.c[key], self.connection.dialect.name)
        query = sa.select(column, sa.case((kept, 1), else_=0))
        owned = section.reading(query.where(section.owned_or_deleted(subject.user_id)))
        rows = self.connection.execute(owned)
        own = self.own_rows(section, subject, rows.all(), [key])
        shown = sum(int(is_kept) for _, is_kept in own)
        return shown, len(own) - shown


@dataclass(frozen=True, slots=True)
class _Peeked:
    """A section's first rows, read already, and those that follow at this size of chunks."""

    section: TableSection
    first: list[Sequence[Row]]
    others: Iterator[Sequence[Row]]
    size: ChunkSize

    def find(self, places: Sequence[int], wanted: Callable[[Row], bool]) -> Row | None:
        """The columns in these places of the first row of which they are wanted."""
        for rows in self.others:
            self.first.append(rows)
            for row in rows:
                if wanted(found := tuple(row[place] for place in places)):
                    return found
        return None

    def chunks(self, size: ChunkSize) -> Iterator[Sequence[Row]]:
        for rows in self.first:
            yield rows
            self.size.rows = size.rows
        for rows in self.others:
            yield rows
            self.size.rows = size.rows


@contextmanager
def open_snapshot(
    engine: Engine, clock: Clock, *, statement_seconds: float, rows_per_second: int | None = None
) -> Iterator[Snapshot]:
    """Open a read-only snapshot and close it again, whatever happens inside.

    ``statement_seconds`` bounds each statement on the server, where the server can;
    ``rows_per_second`` how fast its rows are read (None: as fast as they come). The
    transaction is always rolled back: it wrote nothing. A block that is left by an exception
    throws its connection away, with whatever was still on its way. Raises
    ``DatabaseUnreachable``, ``DatabaseBusy``, ``ReplicaConflict`` or ``RowsHidden``, naming the
    source.
    """
    with named_errors(engine.url, "the source database"):
        connection = engine.connect()
        try:
            with connection.begin() as transaction, _abandoned_on_error(connection):
                taken_at = _prepare(connection, clock, statement_seconds)
                pace = None if rows_per_second is None else Pace(rows_per_second, clock)
                snapshot = Snapshot(connection, taken_at, pace)
                yield snapshot
                snapshot.end()
                transaction.rollback()
                connection.info[SETTLED] = True
        finally:
            connection.close()


@contextmanager
def _abandoned_on_error(connection: Connection) -> Iterator[None]:
    """Throw the connection away before anything else is said on it.

    A ROLLBACK behind a question that is not answered yet is refused by psycopg, whose error would
    hide the block's own; PyMySQL would first read the abandoned answer to its end, and does so on
    a dead connection when the answer is forgotten.
    """
    try:
        yield
    except BaseException:
        if not (connection.closed or connection.invalidated):
            answer: Any = getattr(connection.connection.dbapi_connection, "_result", None)
            if getattr(answer, "unbuffered_active", False):
                answer.unbuffered_active = False
            connection.invalidate()
        raise


def _prepare(connection: Connection, clock: Clock, statement_seconds: float) -> datetime:
    """Make the transaction read-only and bounded, take the snapshot, and return its instant."""
    name = connection.dialect.name
    if name == "sqlite":
        # A deferred transaction takes its snapshot at its first read.
        connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1").close()
        return clock.now()
    if name == "postgresql":
        return _begin_on_postgresql(connection, statement_seconds)
    # Of the session, not of the transaction; and it is the same each time.
    if connection.info.get("statement_seconds") != statement_seconds:
        connection.exec_driver_sql(f"SET SESSION max_statement_time = {statement_seconds:f}")
        connection.info["statement_seconds"] = statement_seconds
    connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    return _aware(connection.exec_driver_sql("SELECT UTC_TIMESTAMP(6)").scalar_one())


def _begin_on_postgresql(connection: Connection, statement_seconds: float) -> datetime:
    """All of it in one trip, of which SQLAlchemy would see the first result alone."""
    with named_as_sqlalchemys(connection):
        wire = wire_of(connection)
        wire.send(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
            f"SET LOCAL statement_timeout = {int(statement_seconds * 1000)}; "
            f"SET LOCAL idle_in_transaction_session_timeout = '{SNAPSHOT_IDLE_SECONDS}s'; "
            # What a policy hides is missing from an export: an error instead.
            "SET LOCAL row_security = off; SET LOCAL TimeZone = 'UTC'; "
            # The driver reads these texts; a server may have been set to print others.
            "SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres'; "
            "SET LOCAL extra_float_digits = 3; "
            "SELECT clock_timestamp()"
        )
        *_, (rows, _) = wire.read()
        taken_at: datetime = rows[0][0]
        return _aware(taken_at)


def wire_of(connection: Connection) -> Wire:
    """The connection's own protocol, on PostgreSQL, whose driver may not be installed elsewhere."""
    from backend.services.pg_wire import Wire

    raw: Any = connection.connection.dbapi_connection
    return Wire(raw)


def _aware(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
