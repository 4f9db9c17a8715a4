"""A database's real schema, and which of its tables lead to a person.

Every table is read, with its foreign keys. Where an application declares none (many do not), a
column that is named after another table (``user_id`` beside ``users``) counts as one: ``guessed``.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.engine.reflection import ObjectKind

from backend.services.credential_names import Secrecy, secrecy
from backend.services.key_guesses import KeyGuesses, like_keys, measured
from backend.services.reflection import Name, inspecting, plain_name, shown
from backend.services.relations import base_tables, read_lineage
from backend.services.table_shapes import ForeignKey, TableShape, read_tables, with_ancestors
from backend.services.telling_names import (
    LIKE_A_PERSON,
    OF_A_LINK,
    TIMES,
    looks_personal,
    tells,
)

__all__ = [
    "ForeignKey",
    "Link",
    "Schema",
    "TableShape",
    "Way",
    "joined_by",
    "read_schema",
]

# More ways than these from one table are of no help to anybody.
_WAYS: Final = 12


Way = tuple[ForeignKey, ...]  # from a table to the person, in order


@dataclass(frozen=True, slots=True)
class Link:
    """How a table's rows are people's though no key of its own says so.

    ``through`` is a link table (many to many), or the people's own, whose rows refer to it. ``way``
    leads from the table to the person; its first key is one turned around.
    """

    through: Name
    way: Way


def joined_by(link: Link) -> str:
    """What links: a table, or the columns of the people's own."""
    back, *rest = link.way
    if rest:
        return shown(link.through)
    return ", ".join(f"{shown(link.through)}.{name}" for name in back.target_columns)


@dataclass(frozen=True)
class Schema:
    """Tables that an application made; bookkeeping tables (ours, a migration tool's) left out.

    ``views`` are those that a declaration names. They hold no rows of their own, so that none
    needs to be covered; a foreign table or a materialized view is among the tables.
    """

    default_schema: str | None
    tables: Mapping[Name, TableShape] = field(default_factory=dict)
    views: Mapping[Name, TableShape] = field(default_factory=dict)
    people: Name | None = None

    def about(self, person: Name, key: str) -> Schema:
        """This schema with what holds only of these people and their key.

        A row of a table that inherits theirs is theirs by the key itself. Where a view stands for
        the people, a key of its own tables leads to it.
        """

        def keys(table: TableShape) -> Iterator[ForeignKey]:
            if person in table.ancestors:
                yield ForeignKey((key,), person, (key,))
            for each in table.foreign_keys:
                if each.target in self.shape(person).bases:
                    yield replace(each, target=person)
                elif each.target != person or person not in table.ancestors:
                    yield each

        tables = {n: replace(t, foreign_keys=tuple(keys(t))) for n, t in self.tables.items()}
        views = {
            n: replace(v, primary_key=(key,)) if n == person else v for n, v in self.views.items()
        }
        return Schema(self.default_schema, tables, views, person)

    def named(self, name: Name) -> TableShape | None:
        """A table or view by its name, its schema written or not."""
        plain = plain_name(name, self.default_schema)
        return self.tables.get(plain) or self.views.get(plain)

    def is_person(self, name: Name) -> bool:
        """Whether a table is the people's, or looks as if each of its rows were a person."""
        return name == self.people or any(
            tells(column, LIKE_A_PERSON) for column in self._shapes[name].columns
        )

    def own_columns(self, name: Name) -> list[str]:
        """The columns of a table that none of its ancestors has."""
        table = self.tables[name]
        inherited = {column for each in table.ancestors for column in self.tables[each].columns}
        return [column for column in table.columns if column not in inherited]

    def is_shown_by_ancestors(self, name: Name, leading: Container[Name]) -> bool:
        """Whether a table has no column but those of its ancestors, some of which are covered."""
        covered = any(each in leading for each in self.tables[name].ancestors)
        return covered and not self.own_columns(name)

    def shape(self, name: Name) -> TableShape:
        """A table, or a view that a declaration names, by the name that it has here."""
        return self._shapes[name]

    @cached_property
    def _shapes(self) -> Mapping[Name, TableShape]:
        return {**self.views, **self.tables}

    @cached_property
    def _keys(self) -> Mapping[Name, tuple[ForeignKey, ...]]:
        return self._guesses.keys()

    @cached_property
    def _guesses(self) -> KeyGuesses:
        return KeyGuesses(self._shapes, self.people)

    def called(self, name: str) -> list[Name]:
        """The tables of this name, in small letters; without a prefix that others have, too."""
        return [each for each in self._guesses.names.of(name) if each in self.tables]

    def keys_of(self, name: Name) -> tuple[ForeignKey, ...]:
        """A table's foreign keys, declared first, then guessed ones."""
        return self._keys[name]

    def personal(self, name: Name) -> list[str]:
        """The columns of a table that look personal; a reference to another row does not."""
        keys = {column for key in self._keys[name] for column in key.columns}
        columns = self._shapes[name].columns
        return [each for each in columns if each not in keys and looks_personal(name[1], each)]

    def like_keys(self, name: Name, person: Name) -> list[str]:
        """The columns of a table that are called as a person's key, and no key says so.

        They hold what the people's keys are: a name alone (``sort_by``) tells too little.
        """
        return like_keys(self._shapes[name], self._shapes[person], self._keys[name])

    def secret(self, name: Name, person: Name) -> dict[str, Secrecy]:
        """The columns of a table that hold a credential, or may; one with a person's key does not.

        A key of another table's rows may be what opens them, as a session's is.
        """
        table = self._shapes[name]
        targets = {column: key.target for key in self._keys[name] for column in key.columns}
        found: dict[str, Secrecy] = {}
        for each, column in table.columns.items():
            target = targets.get(each)
            if target == person or (name == person and table.primary_key == (each,)):
                continue
            level = secrecy(each, column.type, name[1], table.columns)
            if level is not Secrecy.NO:
                found[each] = level if target is None else Secrecy.PERHAPS
        return found

    def distances(self, person: Name) -> Mapping[Name, int]:
        """Every table that leads to the person's, by its number of foreign keys on the way.

        Kept: each table's ways ask for it, and a schema may have thousands of tables.
        """
        if person not in self._distances:
            keys = {name: self._keys[name] for name in self.tables}
            self._distances[person] = measured(person, keys)
        return self._distances[person]

    @cached_property
    def _distances(self) -> dict[Name, Mapping[Name, int]]:
        return {}

    def ways(self, name: Name, person: Name) -> list[Way]:
        """The shortest ways from a table to the person's."""
        return list(islice(self._ways(name, self.distances(person)), _WAYS))

    def _ways(self, name: Name, distances: Mapping[Name, int]) -> Iterator[Way]:
        if distances[name] == 0:
            yield ()
            return
        for key in self._keys[name]:
            if distances.get(key.target) == distances[name] - 1:
                for rest in self._ways(key.target, distances):
                    yield (key, *rest)

    def ways_by_key(
        self, name: Name, person: Name, beyond: Mapping[Name, Way] = MappingProxyType({})
    ) -> Iterator[Way]:
        """A table's way to the person by each key that leads there, direct or not.

        Then, the first key turned around, by each key of the people's own table that leads here.
        ``beyond`` gives the way from tables whose rows are people's though no key says so.
        """
        distances = self.distances(person)
        for key in self._keys[name]:
            if name == person != key.target:
                continue  # whom else a person's own row leads to is another person
            if key.target in distances:
                yield (key, *next(self._ways(key.target, distances)))
            elif key.target in beyond:
                yield (key, *beyond[key.target])
        for key in self._keys[person] if name != person else ():
            if key.target == name:
                yield (ForeignKey(key.target_columns, person, key.columns, key.guessed),)

    def linked(self, person: Name) -> dict[Name, list[Link]]:
        """The tables that lead to no person themselves, and whose rows are joined to some.

        By a link table, as groups are by ``user_groups``, or by the people's own rows, as a
        profile is by ``users.profile_id``. What a person must decide: such rows may be theirs,
        other people's, or nobody's.
        """
        leading = self.distances(person)
        found: dict[Name, list[Link]] = {}
        for name in sorted(leading, key=str):
            if name != person and not self._is_link(self.tables[name]):
                continue
            (way, *_) = self.ways(name, person)
            for key in self._keys[name]:
                if key.target in self.tables and key.target not in leading:
                    back = ForeignKey(key.target_columns, name, key.columns, key.guessed)
                    found.setdefault(key.target, []).append(Link(name, (back, *way)))
        return found

    def _is_link(self, table: TableShape) -> bool:
        """Whether a table does little but link two others."""
        keys = self._keys[table.name]
        if len({key.target for key in keys}) < 2:
            return False
        linking = {name for key in keys for name in key.columns}
        if len(table.primary_key) > 1 and linking.issuperset(table.primary_key):
            return True
        return all(
            name in linking
            or name in table.primary_key
            or isinstance(column.type, (sa.Date, sa.DateTime))
            or tells(name, TIMES | OF_A_LINK)
            for name, column in table.columns.items()
        )


def read_schema(
    engine: Engine, schemas: Iterable[str | None] = (None,), named: Iterable[Name] = ()
) -> Schema:
    """Read every table of these schemas (None: the connection's own), and the ``named`` views.

    Raises ``DatabaseUnreachable`` or ``DatabaseBusy``.
    """
    with inspecting(engine) as inspector:
        default = inspector.default_schema_name
        lineage = read_lineage(inspector)
        tables: dict[Name, TableShape] = {}
        for schema in sorted({None if s == default else s for s in schemas}, key=str):
            tables.update((table.name, table) for table in read_tables(inspector, schema))
        # A child's own columns are people's wherever the child is.
        for child in lineage.children:
            if child not in tables and any(each in tables for each in lineage.ancestors(child)):
                tables.update((t.name, t) for t in read_tables(inspector, child[0], [child[1]]))
        views: dict[Name, TableShape] = {}
        for schema, view in {plain_name(name, default) for name in named}.difference(tables):
            with suppress(sa.exc.DBAPIError, sa.exc.UnreflectableTableError):  # of a table gone
                for found in read_tables(inspector, schema, [view], ObjectKind.VIEW):
                    bases = frozenset(base_tables(inspector, found.name).intersection(tables))
                    views[found.name] = replace(found, bases=bases)
    return Schema(default, dict(with_ancestors(tables, lineage)), views)
