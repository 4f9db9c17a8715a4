"""Keys that no database declares, guessed from the names and the types of columns.

A column that is called after a table (``order_id`` beside ``orders``) is a key of that table. One
that is called as a person's (``author_id``) is a key of the people's, where nothing declared leads
there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from backend.services.reflection import Name
from backend.services.subject_keys import KeyKind, kind_of
from backend.services.table_names import TableNames, is_number, referred
from backend.services.table_shapes import ForeignKey, TableShape
from backend.services.telling_names import acts, is_polymorphic, names_a_person, words

Keys = Mapping[Name, Sequence[ForeignKey]]


class KeyGuesses:
    """The keys of all tables, of which some are ``people``'s, by their names."""

    def __init__(self, tables: Mapping[Name, TableShape], people: Name | None) -> None:
        self._tables = tables
        self._people = people

    @cached_property
    def names(self) -> TableNames:
        """The tables by what they are called."""
        return TableNames(self._tables)

    def keys(self) -> Mapping[Name, tuple[ForeignKey, ...]]:
        """Each table's keys: the declared ones, then those that are guessed."""
        keys = {
            name: (*table.foreign_keys, *self._called_after_tables(table))
            for name, table in self._tables.items()
        }
        if self._people is not None and self._people in self._tables:
            for name, more in self._of_people(self._tables[self._people], keys):
                keys[name] += more
        return keys

    def _called_after_tables(self, table: TableShape) -> Iterator[ForeignKey]:
        known = {name for key in table.foreign_keys for name in key.columns}
        for name in table.columns:
            if name not in known and (target := self._target(table, name)):
                yield ForeignKey((name,), target.name, target.primary_key, guessed=True)

    def _target(self, table: TableShape, column: str) -> TableShape | None:
        """The table that a column is called after, whose key is of the column's kind."""
        reference = referred(column)
        if reference is None:
            return None
        for name in self.names.called(reference.base, table.name):
            target = self._tables[name]
            if len(target.primary_key) != 1:
                continue
            (key,) = target.primary_key
            if reference.is_number and not is_number(key):
                continue  # a number of its own, such as a line's
            if kind_of(target.columns[key]) is not kind_of(table.columns[column]):
                continue
            # Its own key is called after itself.
            return None if target is table and table.primary_key == (column,) else target
        return None

    def _of_people(
        self, people: TableShape, keys: Keys
    ) -> Iterator[tuple[Name, tuple[ForeignKey, ...]]]:
        """Guessed keys by columns that are called as a person's: ``author_id``, ``user_id``.

        For tables that the database's own keys lead nowhere: beside these a column so called is
        for a person to judge. Of several those that say who acted on the row come second.
        """
        if len(people.primary_key) != 1:
            return
        declared = measured(people.name, {n: t.foreign_keys for n, t in self._tables.items()})
        for name, table in self._tables.items():
            if name in declared:
                continue
            like = [
                each
                for each in like_keys(table, people, keys[name])
                if kind_of(table.columns[each]) is not KeyKind.TEXT or referred(each)
                if not is_polymorphic(each, table.columns)
            ]
            whose = [each for each in like if not acts(each)]
            others = (key.columns[0] for key in keys[name] if key.target == people.name)
            chosen = whose if any(not acts(each) for each in others) else whose or like
            found = (ForeignKey((c,), people.name, people.primary_key, True) for c in chosen)
            yield name, tuple(found)


def like_keys(table: TableShape, people: TableShape, keys: Sequence[ForeignKey]) -> list[str]:
    """The columns of a table that are called as a person's key, and none of ``keys``.

    They hold what the people's keys are: a name alone (``sort_by``) tells too little.
    """
    known = {column for key in keys for column in key.columns}
    kinds = {kind_of(people.columns[each]) for each in people.primary_key}
    return [
        each
        for each, column in table.columns.items()
        if each not in known
        and (names_a_person(each) or _is_peoples_own(each, table, people))
        and kind_of(column) in kinds
        and not (table.primary_key == (each,) and _is_own(table, each, people))
    ]


def _is_peoples_own(column: str, table: TableShape, people: TableShape) -> bool:
    """Whether a column is called as the people's own key, where that says more than ``id``."""
    keys = {key.lower() for key in people.primary_key} - {"id", "uuid", "guid", "oid", "nr"}
    return table is not people and column.lower() in keys


def _is_own(table: TableShape, key: str, people: TableShape) -> bool:
    """Whether a key is called after its own table, as ``actor.actor_id`` is, or the people's."""
    return table is people or any(e.startswith(words(key)[0]) for e in words(table.name[1]))


def measured(person: Name, keys: Keys) -> Mapping[Name, int]:
    """Every table that leads to the person's, by its number of keys on the way."""
    referring: defaultdict[Name, set[Name]] = defaultdict(set)
    for name, mine in keys.items():
        for key in mine:
            referring[key.target].add(name)
    found = {person: 0}
    last = [person]
    while last:
        near = {each for name in last for each in referring.get(name, ())}
        distance = found[last[0]] + 1
        last = sorted(near.difference(found), key=str)
        found.update(dict.fromkeys(last, distance))
    return found
