"""How the rows of a table lead to the person: joins, then the column with the person's key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from backend.services.comparison import Match, joining, matching
from backend.services.subject_keys import bound


@dataclass(frozen=True, slots=True)
class Hop:
    """A join on the way to the person: ``column`` here equals ``target`` of the next table.

    ``also`` holds the further pairs of a key of several columns. ``ignore_case`` names columns here
    whose capitals A to Z do not matter.
    """

    column: str
    target: sa.Column[Any]
    also: tuple[tuple[str, sa.Column[Any]], ...] = ()
    ignore_case: frozenset[str] = frozenset()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns here, in the order of ``targets``."""
        return (self.column, *(name for name, _ in self.also))

    @property
    def targets(self) -> tuple[sa.Column[Any], ...]:
        """The columns of the next table."""
        return (self.target, *(target for _, target in self.also))

    @property
    def table(self) -> sa.Table:
        """The next table."""
        found = self.target.table
        assert isinstance(found, sa.Table)
        return found


@dataclass(frozen=True, slots=True)
class OwnerPath:
    """How a row leads to the person: ``hops`` (none, usually), then the column with their key.

    ``match`` says how that column is compared with the key; nothing that is declared makes two
    people one, but for ``IGNORE_CASE``.
    """

    column: str
    hops: tuple[Hop, ...] = ()
    match: Match = Match.EXACT

    def condition(self, table: sa.Table, key: Any) -> ColumnElement[bool]:
        """The rows of ``table`` that this path gives to the person with that key.

        Joins become ``IN (SELECT …)``, so that no row comes twice however many ways lead to it.
        """
        if not self.hops:
            column = table.c[self.column]
            parameter = bound(column, key)
            return sa.false() if parameter is None else matching(column, parameter, self.match)
        hop, *rest = self.hops
        inner = replace(self, hops=tuple(rest)).condition(hop.table, key)
        pairs = [
            (table.c[name], target, name in hop.ignore_case)
            for name, target in zip(hop.columns, hop.targets, strict=True)
        ]
        return joining(pairs, inner)

    @property
    def first_columns(self) -> tuple[str, ...]:
        """The columns of the section's own table that the path begins with."""
        return self.hops[0].columns if self.hops else (self.column,)
