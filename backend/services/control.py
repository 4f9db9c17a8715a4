"""Control transactions: short, on connections of their own, each one a visible block.

``begin`` opens one; ``Controller.run`` runs a function in one and tries again when it lost a
fight for a lock (SQLite's busy writer, a deadlock, a serialization failure): the transaction was
rolled back whole, so nothing is done twice. ``Controller.read`` does the same for single reads
that share no view of the data (on MariaDB there is a transaction around them, so be short): on a
server whose default is SERIALIZABLE even these can lose.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from backend.clock import Clock
from backend.engines import BEGINS_LATE, CONTROL_KEY, SETTLED, named_errors, reading
from backend.errors import DatabaseBusy

_TRIES: Final = 4
_PAUSE_SECONDS: Final = 0.2

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Controller:
    """Runs control transactions on one engine; tells the time that its machines agree on."""

    engine: Engine
    clock: Clock
    key: str = CONTROL_KEY  # what an error calls the place that named the database

    @contextmanager
    def begin(self, *, late: bool = False) -> Iterator[Connection]:
        """One control transaction: committed when the block ends well, else rolled back.

        ``late``: on PostgreSQL the BEGIN goes with the first statement, which must be asked by
        ``together``: one trip less.

        Raises ``DatabaseBusy`` or ``DatabaseUnreachable`` instead of the driver's errors. When
        that comes out of the COMMIT itself, the transaction may or may not have taken effect.
        """
        with named_errors(self.engine.url, self.key), self.engine.connect() as connection:
            if late:
                connection.execution_options(**{BEGINS_LATE: True})
            with connection.begin():
                yield connection
            connection.info[SETTLED] = True

    def run(self, work: Callable[[Connection], Result], *, late: bool = False) -> Result:
        """Run ``work`` in a control transaction, again (a bounded number of times) when busy.

        ``late``: see ``begin``.
        """
        return _again_when_busy(partial(self.begin, late=True) if late else self.begin, work)

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Run ``work``, which only reads, and not for long; again as ``run`` does."""
        return _again_when_busy(self._bare, work)

    @contextmanager
    def _bare(self) -> Iterator[Connection]:
        with named_errors(self.engine.url, self.key), reading(self.engine) as connection:
            yield connection

    def instant(self) -> sa.ColumnElement[datetime]:
        """The database's clock as a column, to be read beside others; see ``aware``.

        The database's, because two machines compare these times; on SQLite, which is used by one
        machine, the host's.
        """
        name = self.engine.dialect.name
        if name == "postgresql":
            return sa.func.clock_timestamp(type_=sa.DateTime(timezone=True))
        if name == "sqlite":
            # Asked at each execution, so that a statement may be built once.
            kind: Any = sa.String()
            return sa.bindparam(None, callable_=lambda: self.clock.now().isoformat(), type_=kind)
        return sa.func.utc_timestamp(6, type_=sa.DateTime())

    def statement_instant(self) -> Any:
        """The current instant, for a condition within a single statement.

        On PostgreSQL ``now()``, not ``clock_timestamp()``: an index cannot serve a comparison
        with a function that may change from row to row.
        """
        name = self.engine.dialect.name
        if name == "postgresql":
            return sa.func.now()
        return self.clock.now() if name == "sqlite" else sa.func.utc_timestamp(6)

    def now(self, connection: Connection) -> datetime:
        """The current instant, by the clock that every machine on this database shares."""
        if self.engine.dialect.name == "sqlite":
            return self.clock.now()
        return aware(connection.execute(sa.select(self.instant())).scalar_one())


def _again_when_busy(
    opened: Callable[[], AbstractContextManager[Connection]],
    work: Callable[[Connection], Result],
) -> Result:
    for tries_left in range(_TRIES - 1, -1, -1):
        try:
            with opened() as connection:
                return work(connection)
        except DatabaseBusy:
            if not tries_left:
                raise
            # Two that collided must not collide again at the same instant.
            time.sleep(_PAUSE_SECONDS * random.random())
    raise AssertionError("unreachable")


def aware(value: datetime | str) -> datetime:
    """What ``Controller.instant`` was read as, as an aware instant in UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
