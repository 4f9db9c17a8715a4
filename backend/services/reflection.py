"""The shape of tables that no model describes, read from the database itself.

Only the tables that are named are read. What the database says of a column is taken as it is
(``snapshot`` reads values so that they survive it), but for JSON that is kept in a column of text
under a ``json_valid`` check, as MariaDB's JSON is and Django's on SQLite: that becomes JSON.
"""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.reflection import Inspector, ObjectKind

from backend.engines import named_errors
from backend.services.collations import mark_collations
from backend.services.json_checks import json_columns
from backend.services.nearest import hint
from backend.services.relations import foreign_tables, materialized_views, versioned_tables

# Of a table: its schema, or None for the connection's own, and its name.
Name = tuple[str | None, str]
# In a table's ``info``: whether the database keeps its earlier rows.
VERSIONED: Final = "dsar_versioned"


def shown(name: Name) -> str:
    """A table's name as people write it."""
    return name[1] if name[0] is None else f"{name[0]}.{name[1]}"


@dataclass(frozen=True, slots=True)
class Reflected:
    """Tables of a database. ``elsewhere`` holds, of the columns that were asked for, those whose
    foreign key ends in another table than the people's, with that table.
    """

    default_schema: str | None
    tables: dict[Name, sa.Table] = field(default_factory=dict)
    others: dict[str | None, list[str]] = field(default_factory=dict)
    elsewhere: dict[tuple[Name, str], Name] = field(default_factory=dict)

    def find(self, name: Name) -> sa.Table | None:
        """The table, or None where the database has none of that name."""
        return self.tables.get(plain_name(name, self.default_schema))

    def hint(self, name: Name) -> str:
        """What to say of a table that is not there."""
        schema, table = plain_name(name, self.default_schema)
        return hint([table], self.others.get(schema, []))


def plain_name(name: Name, default_schema: str | None) -> Name:
    """A table's name with the connection's own schema left out."""
    return (None, name[1]) if name[0] == default_schema else name


@contextmanager
def inspecting(engine: Engine) -> Iterator[Inspector]:
    """An inspector of the source database. Types that SQLAlchemy does not know are no trouble."""
    with (
        named_errors(engine.url, "the source database"),
        engine.connect() as connection,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", sa.exc.SAWarning)
        _parse_json(connection)
        if connection.dialect.name in ("mysql", "mariadb"):
            from backend.services.mariadb_tables import read_odd_names

            read_odd_names(connection)
        yield sa.inspect(connection)


def _parse_json(connection: Connection) -> None:
    """Have a PostgreSQL's JSON parsed on this connection, which the pool does not get back.

    SQLAlchemy asks the catalogue for an identity column's sequence as a JSON object, and the
    source's engine gives JSON as the text that it is.
    """
    if connection.dialect.name == "postgresql":
        from psycopg.types.json import set_json_loads

        driver: Any = connection.connection.driver_connection
        assert driver is not None  # without one they are set for all connections
        connection.detach()
        set_json_loads(json.loads, driver)


def reflect(
    engine: Engine, names: Iterable[Name], *, person: Name, ends: Iterable[tuple[Name, str]] = ()
) -> Reflected:
    """Read the tables, views and foreign tables of these names; what is not there is left out.

    ``person`` is the people's table, ``ends`` the columns that are said to hold its key. Raises
    ``DatabaseUnreachable`` or ``DatabaseBusy``.
    """
    with inspecting(engine) as inspector:
        default = inspector.default_schema_name
        found = Reflected(default)
        by_schema: defaultdict[str | None, set[str]] = defaultdict(set)
        for name in names:
            schema, table = plain_name(name, default)
            by_schema[schema].add(table)
        for schema, wanted in by_schema.items():
            views = {*inspector.get_view_names(schema), *materialized_views(inspector, schema)}
            foreign = foreign_tables(inspector, schema)
            there = [*inspector.get_table_names(schema), *sorted(views | foreign)]
            found.others[schema] = there
            plain = wanted.intersection(there) - foreign
            broken = {n for n in plain & views if not _is_readable(inspector, schema, n)}
            found.tables.update(_read(inspector, schema, sorted(plain - broken)))
            found.tables.update(_read_foreign(inspector, schema, sorted(wanted & foreign)))
        with inspector._operation_context() as connection:
            mark_collations(connection, found.tables.values(), default)
        goal = plain_name(person, default)
        starts = [(plain_name(end, default), column) for end, column in ends]
        starts = [each for each in starts if each[0] in found.tables]
        keys = _foreign_keys(inspector, {name for name, _ in starts})
        for start, column in starts:
            last = _follow(inspector, keys, start, column, goal)
            if last != start:
                found.elsewhere[start, column] = last
    return found


def _read(
    inspector: Inspector, schema: str | None, names: list[str]
) -> Iterator[tuple[Name, sa.Table]]:
    if not names:
        return
    metadata = sa.MetaData()
    metadata.reflect(inspector.bind, schema, views=True, only=names, resolve_fks=False)
    versioned = versioned_tables(inspector, schema)
    for table in metadata.tables.values():
        table.info[VERSIONED] = table.name in versioned
        mark_json(table, json_columns(inspector, schema, table.name))
        yield (schema, table.name), table


def _read_foreign(
    inspector: Inspector, schema: str | None, names: list[str]
) -> Iterator[tuple[Name, sa.Table]]:
    """PostgreSQL's foreign tables, which a reflection of many leaves out."""
    for name in names:
        table = sa.Table(
            name, sa.MetaData(), schema=schema, autoload_with=inspector.bind, resolve_fks=False
        )
        yield (schema, name), table


def _is_readable(inspector: Inspector, schema: str | None, view: str) -> bool:
    """Whether a view's columns can be read: not where a table of it is gone."""
    try:
        return bool(inspector.get_columns(view, schema))
    except (sa.exc.DBAPIError, sa.exc.UnreflectableTableError):
        return False


def mark_json(table: sa.Table, columns: set[str]) -> None:
    """Give these columns, named in small letters, the type JSON."""
    for column in table.columns:
        if column.name.lower() in columns:
            column.type = sa.JSON()


def _foreign_keys(inspector: Inspector, names: Set[Name]) -> dict[Name, Sequence[Any]]:
    """The foreign keys of these tables: read once a schema, as there may be thousands."""
    found: dict[Name, Sequence[Any]] = {}
    for schema in {name[0] for name in names}:
        wanted = sorted(table for each, table in names if each == schema)
        found.update(inspector.get_multi_foreign_keys(schema, wanted, kind=ObjectKind.ANY))
    return found


def _follow(
    inspector: Inspector,
    keys: dict[Name, Sequence[Any]],
    start: Name,
    column: str,
    goal: Name,
) -> Name:
    """Where foreign keys lead from a column: to ``goal``, or to the last table on the way.

    The start itself where there is no foreign key to say it, or where the goal is reached.
    """
    at, seen = (start, column), set[tuple[Name, str]]()
    while at not in seen:
        seen.add(at)
        if at[0] not in keys:
            keys[at[0]] = inspector.get_foreign_keys(at[0][1], at[0][0])
        target = _target(inspector, keys[at[0]], at[1])
        if target is None:
            return at[0]
        if target[0] == goal or at[0] == goal:
            return start
        at = target
    return at[0]


def _target(inspector: Inspector, keys: Sequence[Any], column: str) -> tuple[Name, str] | None:
    for key in keys:
        if key["constrained_columns"] == [column]:
            schema: Any = key["referred_schema"]
            name = plain_name((schema, key["referred_table"]), inspector.default_schema_name)
            return name, next(iter(key["referred_columns"]), "")
    return None
