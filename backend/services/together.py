"""Several statements of one control transaction in one trip, where the database can be asked so.

A small person's export waited for its database most of the time: for eight answers to record one
request and to claim the next. What needs no other's answer is sent together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from backend.driver_errors import is_read_only
from backend.engines import BEGINS_LATE, PG_CONTROL_BEGINNING
from backend.services.fetching import named_as_sqlalchemys
from backend.services.numbered import Numbered

# A statement that is built once, and its parameters: they tell an UPDATE what it sets.
Step = tuple[Any, Mapping[str, Any]]

_BEGINNING: Final = [(text, ()) for text in PG_CONTROL_BEGINNING]
_COMMIT: Final = ("COMMIT", ())


@dataclass(frozen=True, slots=True)
class Answer:
    """A statement's rows by their columns' names, and how many rows it changed."""

    rows: Sequence[Mapping[str, Any]]
    changed: int

    @property
    def row(self) -> Mapping[str, Any] | None:
        """The first row, if there is one."""
        return self.rows[0] if self.rows else None


def together(connection: Connection, *steps: Step, last: bool = False) -> list[Answer]:
    """Execute statements in their order, and return their answers.

    On PostgreSQL they are one trip; so are, with them, the BEGIN of a transaction that begins
    late, and where they are its ``last`` statements the COMMIT: SQLAlchemy's own finds nothing
    more to do. Raises ``DBAPIError`` of the first that fails, as SQLAlchemy does; those after it
    were not executed, and the transaction is to be rolled back. Left by another exception, Ctrl-C
    say, the connection is thrown away; whether the COMMIT took effect is then as unknown as when
    the connection was lost.
    """
    if connection.dialect.name != "postgresql":
        return [_alone(connection, statement, parameters) for statement, parameters in steps]
    try:
        with named_as_sqlalchemys(connection):
            return _on_the_wire(connection, steps, last=last)
    except DBAPIError as error:
        if error.connection_invalidated or is_read_only(error):
            connection.invalidate(error)
        raise
    except BaseException as error:
        connection.invalidate(error)
        raise


def _alone(connection: Connection, statement: Any, parameters: Mapping[str, Any]) -> Answer:
    result = connection.execute(statement, parameters)
    if result.returns_rows:
        return Answer(result.mappings().all(), 0)  # type: ignore[arg-type]
    return Answer((), result.rowcount)


def _on_the_wire(connection: Connection, steps: Sequence[Step], *, last: bool) -> list[Answer]:
    from backend.services.pg_wire import Wire

    raw: Any = connection.connection.dbapi_connection
    wire = Wire(raw)
    asked = [(_numbered(connection, *step), step[1]) for step in steps]
    first = (
        _BEGINNING if connection.get_execution_options().get(BEGINS_LATE) and wire.is_idle else []
    )
    questions = [(numbered.text, numbered.values(parameters)) for numbered, parameters in asked]
    replies = wire.ask([*first, *questions, *([_COMMIT] if last else [])])
    return [
        Answer([numbered.row(row) for row in rows], changed)
        for (numbered, _), (rows, changed) in zip(asked, replies[len(first) :], strict=False)
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
