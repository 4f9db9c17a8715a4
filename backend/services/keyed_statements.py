"""Statements about one person, built once a process and told the key at each execution.

What it costs SQLAlchemy to build a statement is several times what it costs to run it, and for a
person of fifty rows a database has little else to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.engine import Dialect, Engine

from backend.services.fetching import Conversion
from backend.services.numbered import Numbered
from backend.services.per_section import PerSection
from backend.services.sections import TableSection
from backend.services.subject_keys import KeyPlaces

# Takes a key, or the places where it belongs, and returns the statement.
Build = Callable[[Any], sa.Select[Any]]


@dataclass(slots=True)
class Keyed:
    """A statement about anybody, and what tells it about whom. ``types``: of its columns."""

    query: sa.Select[Any]
    types: Sequence[sa.types.TypeEngine[Any]]
    _places: KeyPlaces
    _build: Build
    _numbered: Numbered | None = field(default=None, init=False)
    _conversions: dict[tuple[int, ...], Conversion] = field(default_factory=dict, init=False)

    def about(self, key: Any) -> tuple[sa.Select[Any], dict[str, Any]]:
        """The statement about one person, and its parameters."""
        try:
            return self.query, self._places.values(key)
        except ValueError:
            # Some column cannot hold such a key: a statement of its own leaves that path out.
            return self._build(key), {}

    def numbered(self, dialect: Dialect, key: Any) -> tuple[str, list[Any]] | None:
        """As ``about``, as text with ``$1`` and so on, and the parameters' values in order.

        For PostgreSQL's own protocol. None where the key wants a statement of its own.
        """
        try:
            values = self._places.values(key)
        except ValueError:
            return None
        if self._numbered is None:
            self._numbered = Numbered(self.query, dialect)
        return self._numbered.text, self._numbered.values(values)

    def conversion(self, dialect: Dialect, codes: Sequence[int]) -> Conversion:
        """What makes the types' own values of its rows, whose columns the driver says are these."""
        key = tuple(codes)
        found = self._conversions.get(key)
        if found is None:
            found = self._conversions[key] = Conversion(dialect, self.types, codes)
        return found


_statements: WeakKeyDictionary[Engine, PerSection[Keyed]] = WeakKeyDictionary()


def keyed(engine: Engine, section: TableSection, use: str, build: Build) -> Keyed:
    """The statement of a section for one ``use``; built now, if it is the engine's first time."""

    def make() -> Keyed:
        places = KeyPlaces()
        query = build(places)
        return Keyed(query, [column.type for column in query.selected_columns], places, build)

    return _statements.setdefault(engine, PerSection()).get(section, use, make)
