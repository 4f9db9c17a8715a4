"""SQLAlchemy's statements as PostgreSQL's own protocol wants them: ``$1``, values in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect


class Numbered:
    """A statement, compiled once; of an INSERT or UPDATE for these ``names`` of columns.

    What SQLAlchemy does at each execution beside sending it takes three times as long as sending
    it; this is the part of it that matters: the types' conversions, of parameters and of rows.
    """

    def __init__(
        self, statement: Any, dialect: Dialect, names: Collection[str] | None = None
    ) -> None:
        kind: Any = type(dialect)
        compiled: Any = statement.compile(
            dialect=kind(paramstyle="numeric_dollar"),
            column_keys=None if names is None else list(names),
        )
        self.text: str = compiled.string
        self._constants: dict[str, Any] = compiled.params
        self._order: list[tuple[str, Callable[[Any], Any] | None]] = [
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
            for name in compiled.positiontup or ()
        ]
        self._columns: list[tuple[str, Callable[[Any], Any] | None]] = []
        if isinstance(statement, sa.Select):
            self._columns = [
                (str(c.name), c.type.dialect_impl(dialect).result_processor(dialect, None))
                for c in statement.selected_columns
            ]

    def values(self, values: Mapping[str, Any]) -> list[Any]:
        """All parameters' values in order; those that are not named are the statement's own."""
        known = {**self._constants, **values}
        return [
            known[name] if process is None else process(known[name])
            for name, process in self._order
        ]

    def row(self, row: tuple[Any, ...]) -> dict[str, Any]:
        """A row of the statement's, by its columns' names."""
        return {
            name: value if process is None else process(value)
            for (name, process), value in zip(self._columns, row, strict=True)
        }
