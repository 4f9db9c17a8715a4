"""A scratch copy of the tables that sections read, and two people in it, each value a token.

The copy is of the tables' shapes alone: fresh tables with the same names and columns, without
constraints, in a database that has none. Nothing is ever read from, or written to, the real ones.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import sqlalchemy as sa

from backend.errors import UsageError
from backend.services.collection import Collection
from backend.services.comparison import COLLATION, Collation, Family, Match, family_of, is_loose
from backend.services.row_conditions import LeftOut
from backend.services.scratch_values import (
    KINDS_OF_ALIKE,
    Token,
    Tokens,
    alike,
    copied,
    in_base64,
    stands_in,
)
from backend.services.sections import (
    Exported,
    Hop,
    OwnerPath,
    TableSection,
    Withheld,
)
from backend.services.subject_keys import KeyKind, canonical, kind_of, same_key

# PostgreSQL cuts off longer names.
_LONGEST_NAME: Final = 60
_TOKEN_DIGITS: Final = 10


@dataclass(slots=True)
class ScratchRow:
    """A row of the copy: what is written to it, and the tokens by column.

    ``parts`` holds the tokens within a JSON column, by dotted path; the one at ``""`` is free.
    """

    table: sa.Table
    values: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    parts: dict[str, dict[str, Token]] = field(default_factory=dict)


class ScratchCopy:
    """The copy of a collection's tables, sections over it, and the rows of two people.

    ``stand_ins`` names the columns that are text in the copy though their type is another, by
    section and column, with that type.
    """

    def __init__(self, source: Collection, dialect: str) -> None:
        self.metadata = sa.MetaData()
        self.stand_ins: dict[str, str] = {}
        self._dialects = (source.runtime.source.dialect.name, dialect)
        self._tokens = Tokens()
        self._tables: dict[sa.Table, sa.Table] = {}
        self._rows: dict[tuple[Any, ...], ScratchRow] = {}
        self._people_key = source.account.table.c[source.key.name]
        self.key = self._table_of(source.account.table).c[source.key.name]
        self.sections = [self._section(each) for each in _over_tables(source)]
        self.account = next(each for each in self.sections if each.name == source.account.name)
        # The one who is exported, others, and somebody whom only the last one's rows name.
        self.people = list(self._persons())
        self._fill()

    @property
    def rows(self) -> Sequence[ScratchRow]:
        """Every row, of both people."""
        return list(self._rows.values())

    def rows_of(self, section: TableSection, key: Any) -> list[ScratchRow]:
        """The rows that the section's declaration gives to a person; reckoned without SQL."""
        return [
            row
            for row in self._rows.values()
            if row.table is section.table
            and any(self._belongs(row, path, key) for path in section.owner_paths)
            and not _left_out(section, row)
        ]

    # -- the tables --------------------------------------------------------------------------

    def _table_of(self, real: sa.Table) -> sa.Table:
        if real not in self._tables:
            self._require_distinct(real)
            self._tables[real] = sa.Table(
                self._name_of(real), self.metadata, *map(self._column, real.columns)
            )
        return self._tables[real]

    def _name_of(self, real: sa.Table) -> str:
        """A name that no other table of the copy has, in any database, and that is not too long."""
        name = real.name if real.schema is None else f"{real.schema}__{real.name}"
        taken = {each.lower() for each in self.metadata.tables}
        if name.lower() in taken or len(name) > _LONGEST_NAME:
            name = f"{name[: _LONGEST_NAME - 5]}_{len(taken)}"
        return name

    def _require_distinct(self, real: sa.Table) -> None:
        """Raise where two columns' names are one to the copy's database."""
        names: dict[str, str] = {}
        for column in real.columns if self._dialects[1] != "postgresql" else ():
            first = names.setdefault(str(column.name).lower(), str(column.name))
            if first != column.name:
                raise UsageError(
                    f"{real.name} has the columns {first} and {column.name}, which a scratch copy "
                    f"in {self._dialects[1]} cannot hold both; name an empty PostgreSQL database "
                    "with --scratch-url"
                )

    def _column(self, real: sa.Column[Any]) -> sa.Column[Any]:
        """A column's copy. The people's key tells everybody apart; others are as loose as theirs.

        SQLite has none of the other databases' collations: there each that folds anything folds
        capitals.
        """
        source, scratch = self._dialects
        known: Collation | None = real.info.get(COLLATION)
        collation = None
        if scratch in ("mysql", "mariadb"):
            if real is self._people_key:
                collation = "utf8mb4_nopad_bin"
            elif known is not None and source in ("mysql", "mariadb"):
                collation = known.sql
        elif scratch == "sqlite" and real is not self._people_key and is_loose(real):
            collation = "NOCASE"
        return sa.Column(str(real.name), copied(real.type, source, scratch, collation))

    def _section(self, real: TableSection) -> TableSection:
        table = self._table_of(real.table)
        for column in real.table.columns:
            if stands_in(column.type, *self._dialects):
                self.stand_ins[f"{real.name}.{column.name}"] = _type_name(column)
        paths = tuple(
            OwnerPath(path.column, tuple(map(self._hop, path.hops)), _match(path), path.where)
            for path in real.owner_paths
        )
        order = real.order_by or tuple(str(each.name) for each in real.table.primary_key)
        return replace(
            real,
            table=table,
            owner_paths=paths,
            order_by=order,
            files={},
            history=False,
            large_objects=frozenset(),
        )

    def _hop(self, hop: Hop) -> Hop:
        table = self._table_of(hop.table)
        also = tuple((here, table.c[there.name]) for here, there in hop.also)
        return Hop(hop.column, table.c[hop.target.name], also, hop.ignore_case, hop.where)

    # -- the rows ----------------------------------------------------------------------------

    def _persons(self) -> Iterator[Any]:
        """Keys of people. Texts differ from the first one by what a loose comparison overlooks."""
        kind, family = kind_of(self.key), family_of(self.key)
        if kind is KeyKind.WHOLE or family is Family.DECIMAL:
            room = getattr(self.key.type, "precision", None) or _TOKEN_DIGITS
            first = 880_001_001 if room >= _TOKEN_DIGITS else 1
            yield from range(first, first + 3)
        elif kind in (KeyKind.UUID, KeyKind.OCTETS):
            yield from (uuid.UUID(int=0xDEADBEEF << 96 | number) for number in range(3))
        else:
            room = min(self._lengths_of_keys())
            text = "x-key-of-a-person"[: max(1, room - 1)]
            folded = any(p.match is Match.IGNORE_CASE for s in self.sections for p in s.owner_paths)
            kinds = 1 if folded else KINDS_OF_ALIKE + 1
            likes = [*(alike(text, number) for number in range(1, kinds)), "z" + text[1:]]
            keys = [text, *likes, "y" + text[1:]]
            yield from dict.fromkeys(each for each in keys if len(each) <= room)

    def _lengths_of_keys(self) -> Iterator[int]:
        """How long a text each column may be that holds a person's key."""
        ends = [self.key]
        for section in self.sections:
            for path in section.owner_paths:
                ends.append((path.hops[-1].table if path.hops else section.table).c[path.column])
        for column in ends:
            yield getattr(column.type, "length", None) or 20

    def _fill(self) -> None:
        for number in range(len(self.people) - 1):
            self._row(self.account.table, OwnerPath(str(self.key.name)), number)
            for section in self.sections:
                for path in section.owner_paths:
                    self._row(section.table, path, number)
                    if section.leave_out_deleted:
                        self._row(section.table, path, number, deleted=True)
                    if path.where:
                        self._row(section.table, path, number, other=True)

    def _row(
        self,
        table: sa.Table,
        path: OwnerPath,
        number: int,
        *,
        deleted: bool = False,
        other: bool = False,
    ) -> ScratchRow:
        """The row of a table that leads to a person by a path; made where it is missing.

        ``other``: one that would, if the path's own condition held of it.
        """
        signature = (table, _signature(path), number, deleted, other)
        if signature not in self._rows:
            row = self._fresh(table, number, deleted=deleted)
            self._rows[signature] = row
            for each in path.where:
                value = each.example(table.c[each.column], holds=not other)
                row.values[each.column], row.tokens[each.column] = value, Token(value, str(value))
            if not path.hops:
                self._set_key(row, path.column, number)
            else:
                hop = path.hops[0]
                parent = self._row(hop.table, path.beyond_first(), number)
                self._make_alike(parent, hop, path.beyond_first(), number)
                for here, there in zip(hop.columns, hop.targets, strict=True):
                    shared = replace(parent.tokens[str(there.name)], anywhere=False)
                    row.values[here] = parent.values[str(there.name)]
                    if here in hop.ignore_case:
                        text = str(row.values[here]).upper()
                        row.values[here], row.tokens[here] = text, Token(text, text)
                        continue
                    row.tokens[here] = parent.tokens[str(there.name)] = shared
        return self._rows[signature]

    def _make_alike(self, parent: ScratchRow, hop: Hop, path: OwnerPath, number: int) -> None:
        """Let texts by which others' rows are joined be like the first person's, as keys are."""
        first = self._rows.get((hop.table, _signature(path), 0, False, False))
        if number == 0 or first is None:
            return
        for here, column in zip(hop.columns, hop.targets, strict=True):
            if here in hop.ignore_case:
                continue  # two people who are alike so are refused
            name = str(column.name)
            own = first.values[name]
            if name in path.first_columns or not isinstance(own, str) or name in first.parts:
                continue
            text = alike(own, number)
            if len(text) <= (getattr(column.type, "length", None) or len(text)):
                parent.values[name], parent.tokens[name] = text, Token(text, text)

    def _fresh(self, table: sa.Table, number: int, *, deleted: bool) -> ScratchRow:
        """A row of tokens in which every column that may name a person names the next one."""
        row = ScratchRow(table)
        sections = [each for each in self.sections if each.table is table]
        for column in table.columns:
            name = str(column.name)
            shown = [each.columns.get(name) for each in sections]
            exported = next((d for d in shown if isinstance(d, Exported)), None)
            is_json = isinstance(column.type, sa.JSON)
            if exported is not None and (is_json or exported.as_json):
                self._fill_json(row, name, exported, as_text=not is_json)
            else:
                token = self._tokens.text() if is_json else self._tokens.next(column.type)
                row.values[name], row.tokens[name] = token.value, token
        for section in sections:
            for name in _naming_people(section):
                self._set_key(row, name, number + 1)
            if section.leave_out_deleted:
                self._mark(row, section.leave_out_deleted, deleted=deleted)
        return row

    def _fill_json(self, row: ScratchRow, name: str, exported: Exported, *, as_text: bool) -> None:
        """An object with a token at each path; what is hidden for all also stands in a string."""
        free = self._tokens.text()
        parts = {"": free}
        value: dict[str, Any] = {"free": free.value}
        again: dict[str, Any] = {}
        for path, part in exported.paths.items():
            token = self._tokens.text()
            parts[path] = token
            _put(value, path.split("."), token.value)
            if isinstance(part, Withheld) or part.unless_own is None:
                _put(again, path.upper().split("."), token.value)
        planted = [value, json.dumps(again)] if again else value
        row.values[name] = json.dumps(planted) if as_text else planted
        row.tokens[name] = Token(value, "")
        row.parts[name] = parts

    def _set_key(self, row: ScratchRow, name: str, number: int) -> None:
        """Let a column name a person; one that cannot hold their key keeps its token."""
        column = row.table.c[name]
        try:
            key = canonical(column, self.people[number])
        except ValueError:
            return
        if kind_of(column) is KeyKind.OCTETS:
            octets = key.bytes
            row.values[name], row.tokens[name] = octets, Token(octets, in_base64(octets))
        else:
            row.values[name], row.tokens[name] = key, Token(key, str(key))

    def _mark(self, row: ScratchRow, left_out: LeftOut, *, deleted: bool) -> None:
        mark = left_out.example(row.table.c[left_out.column], deleted=deleted)
        row.values[left_out.column], row.tokens[left_out.column] = mark, Token(mark, str(mark))

    def _belongs(self, row: ScratchRow, path: OwnerPath, key: Any) -> bool:
        if not all(row.values[each.column] in each.values for each in path.where):
            return False
        if not path.hops:
            own = row.values[path.column]
            if path.match is Match.IGNORE_CASE:
                return str(own).lower() == str(key).lower()
            return same_key(own, key)
        hop, inner = path.hops[0], path.beyond_first()
        return any(
            other.table is hop.table
            and all(
                _joins(row.values[here], other.values[str(there.name)], here in hop.ignore_case)
                for here, there in zip(hop.columns, hop.targets, strict=True)
            )
            and self._belongs(other, inner, key)
            for other in self._rows.values()
        )


def _over_tables(source: Collection) -> Iterator[TableSection]:
    for section in source.sections:
        if isinstance(section, TableSection) and section.database == "source":
            yield section


def _type_name(column: sa.Column[Any]) -> str:
    return "a type unknown here" if isinstance(column.type, sa.types.NullType) else str(column.type)


def _naming_people(section: TableSection) -> set[str]:
    """The columns of a section's table that hold a person's key."""
    owners = {path.column for path in section.owner_paths if not path.hops}
    return owners | section.deciding_columns()


def _left_out(section: TableSection, row: ScratchRow) -> bool:
    mark = section.leave_out_deleted
    return mark is not None and mark.marks(row.values[mark.column])


def _signature(path: OwnerPath) -> tuple[Any, ...]:
    return (path.column, path.where, *((hop.table, hop.columns, hop.where) for hop in path.hops))


def _match(path: OwnerPath) -> Match:
    """How the copy compares: nothing in it is unique."""
    return Match.EXACT if path.match is Match.AS_KEY else path.match


def _joins(mine: Any, theirs: Any, ignore_case: bool) -> bool:
    return bool(mine == theirs) or (ignore_case and str(mine).lower() == str(theirs).lower())


def _put(value: dict[str, Any], keys: Sequence[str], item: Any) -> None:
    for key in keys[:-1]:
        value = value.setdefault("any" if key == "*" else key, {})
    value["any" if keys[-1] == "*" else keys[-1]] = item
