"""How the rows of a table lead to the person: joins, then the column with the person's key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from backend.services.comparison import Match, joining, matching
from backend.services.row_conditions import ColumnIs
from backend.services.subject_keys import bound


@dataclass(frozen=True, slots=True)
class Hop:
    """A join on the way to the person: ``column`` here equals ``target`` of the next table.

    ``also`` holds the further pairs of a key of several columns. ``ignore_case`` names columns here
    whose capitals A to Z do not matter, ``where`` what must hold of the next table's row.
    """

    column: str
    target: sa.Column[Any]
    also: tuple[tuple[str, sa.Column[Any]], ...] = ()
    ignore_case: frozenset[str] = frozenset()
    where: tuple[ColumnIs, ...] = ()

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
    people one, but for ``IGNORE_CASE``. ``where``: only rows of the section's own table of which
    these hold, such as those of a pair (``record_type``, ``record_id``) that name a person.
    """

    column: str
    hops: tuple[Hop, ...] = ()
    match: Match = Match.EXACT
    where: tuple[ColumnIs, ...] = ()

    def condition(self, table: sa.Table, key: Any) -> ColumnElement[bool]:
        """The rows of ``table`` that this path gives to the person with that key.

        Joins become ``IN (SELECT …)``, so that no row comes twice however many ways lead to it.
        """
        leads = self._leads(table, key)
        return sa.and_(leads, *(each.holds(table) for each in self.where)) if self.where else leads

    def _leads(self, table: sa.Table, key: Any) -> ColumnElement[bool]:
        if not self.hops:
            column = table.c[self.column]
            parameter = bound(column, key)
            return sa.false() if parameter is None else matching(column, parameter, self.match)
        hop = self.hops[0]
        inner = self.beyond_first().condition(hop.table, key)
        pairs = [
            (table.c[name], target, name in hop.ignore_case)
            for name, target in zip(hop.columns, hop.targets, strict=True)
        ]
        return joining(pairs, inner)

    def beyond_first(self) -> OwnerPath:
        """The path from the table that its first hop leads to."""
        return replace(self, hops=self.hops[1:], where=self.hops[0].where)

    def problem(self, table: sa.Table) -> str | None:
        """What is wrong with a ``where`` on the way from ``table``; None if nothing is."""
        found = (each.problem(table) for each in self.where)
        problem = next((each for each in found if each is not None), None)
        if problem is not None or not self.hops:
            return problem
        return self.beyond_first().problem(self.hops[0].table)

    @property
    def first_columns(self) -> tuple[str, ...]:
        """The columns of the section's own table that the path begins with."""
        return self.hops[0].columns if self.hops else (self.column,)
