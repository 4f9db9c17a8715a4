"""Several statements of one control transaction in one trip, where the database can be asked so.

A small person's export waited for its database most of the time: for eight answers to record one
request and to claim the next. What needs no other's answer is sent together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from backend.services.fetching import named_as_sqlalchemys
from backend.services.numbered import Numbered

# A statement that is built once, and its parameters: they tell an UPDATE what it sets.
Step = tuple[Any, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A statement's rows by their columns' names, and how many rows it changed."""

    rows: Sequence[Mapping[str, Any]]
    changed: int

    @property
    def row(self) -> Mapping[str, Any] | None:
        """The first row, if there is one."""
        return self.rows[0] if self.rows else None


def together(connection: Connection, *steps: Step) -> list[Answer]:
    """Execute statements in their order, and return their answers.

    On PostgreSQL they are one trip. Raises ``DBAPIError`` of the first that fails, as SQLAlchemy
    does; those after it were not executed, and the transaction is to be rolled back.
    """
    if connection.dialect.name != "postgresql":
        return [_alone(connection, statement, parameters) for statement, parameters in steps]
    try:
        with named_as_sqlalchemys(connection):
            return _pipelined(connection, steps)
    except DBAPIError as error:
        if error.connection_invalidated:
            connection.invalidate(error)
        raise


def _alone(connection: Connection, statement: Any, parameters: Mapping[str, Any]) -> Answer:
    result = connection.execute(statement, parameters)
    if result.returns_rows:
        return Answer(result.mappings().all(), 0)  # type: ignore[arg-type]
    return Answer((), result.rowcount)


def _pipelined(connection: Connection, steps: Sequence[Step]) -> list[Answer]:
    from psycopg import RawCursor

    raw: Any = connection.connection.dbapi_connection
    asked = [(_numbered(connection, *step), step[1]) for step in steps]
    with ExitStack() as cursors:
        sent = [cursors.enter_context(closing(RawCursor(raw))) for _ in asked]
        with raw.pipeline():
            for (numbered, parameters), cursor in zip(asked, sent, strict=True):
                cursor.execute(numbered.text.encode(), numbered.values(parameters))
        return [
            Answer([numbered.row(row) for row in cursor.fetchall()], 0)
            if cursor.description
            else Answer((), cursor.rowcount)
            for (numbered, _), cursor in zip(asked, sent, strict=True)
        ]


_compiled: WeakKeyDictionary[Engine, dict[tuple[int, frozenset[str]], tuple[Any, Numbered]]] = (
    WeakKeyDictionary()
)


def _numbered(connection: Connection, statement: Any, parameters: Mapping[str, Any]) -> Numbered:
    """The statement compiled for these parameters; as few as there are verbs."""
    known = _compiled.setdefault(connection.engine, {})
    key = id(statement), frozenset(parameters)
    found = known.get(key)
    if found is None:
        # The statement is kept beside it: an id is only its own as long as it lives.
        found = known[key] = statement, Numbered(statement, connection.dialect, parameters)
    return found[1]
