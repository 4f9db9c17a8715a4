"""The shape of every table of a schema, read from the database: columns, keys, ancestors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.reflection import Inspector, ObjectKind

from backend.services.json_checks import json_columns, load_checks
from backend.services.reflection import Name, plain_name
from backend.services.relations import Lineage, kinds_with_rows, versioned_tables
from backend.services.telling_names import is_bookkeeping


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Columns of a table that name a row of ``target``."""

    columns: tuple[str, ...]
    target: Name
    target_columns: tuple[str, ...]
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class TableShape:
    """One table, or view, as the database has it.

    ``ancestors`` are the tables whose rows its rows are as well (PostgreSQL's INHERITS), nearest
    first. Of a ``versioned`` table the database keeps every earlier row. ``bases`` are the tables
    that a view reads.
    """

    name: Name
    columns: Mapping[str, sa.Column[Any]]
    primary_key: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...]
    ancestors: tuple[Name, ...] = ()
    versioned: bool = False
    bases: frozenset[Name] = frozenset()


def with_ancestors(
    tables: Mapping[Name, TableShape], lineage: Lineage
) -> Iterator[tuple[Name, TableShape]]:
    """The tables, each with its ancestors and their foreign keys; partitions of them left out.

    PostgreSQL lets a child inherit columns, and no key: what they mean is the same.
    """
    for name, table in tables.items():
        ancestors = tuple(each for each in lineage.ancestors(name) if each in tables)
        if ancestors and name in lineage.partitions:
            continue
        keys = list(table.foreign_keys)
        for key in (key for each in ancestors for key in tables[each].foreign_keys):
            known = {column for each in keys for column in each.columns}
            if known.isdisjoint(key.columns) and set(key.columns) <= set(table.columns):
                keys.append(key)
        yield name, replace(table, ancestors=ancestors, foreign_keys=tuple(keys))


def read_tables(
    inspector: Inspector,
    schema: str | None,
    names: Sequence[str] | None = None,
    kind: ObjectKind | None = None,
) -> Iterator[TableShape]:
    """The tables of a schema, or what else is of that ``kind``: all of them, or those ``names``."""
    kind = kinds_with_rows(inspector) if kind is None else kind
    columns = inspector.get_multi_columns(schema, names, kind=kind)
    keys = inspector.get_multi_pk_constraint(schema, names, kind=kind)
    foreign = inspector.get_multi_foreign_keys(schema, names, kind=kind)
    versioned = versioned_tables(inspector, schema)
    if names is None:
        load_checks(inspector, schema)
    there = {name: [each["name"] for each in found] for (_, name), found in columns.items()}
    for place in sorted(columns, key=str):
        table = place[1]
        if is_bookkeeping(table):
            continue
        as_json = json_columns(inspector, schema, table)
        shaped = sa.Table(table, sa.MetaData(), schema=schema)
        for each in columns[place]:
            type_ = sa.JSON() if each["name"].lower() in as_json else each["type"]
            shaped.append_column(sa.Column(each["name"], type_))
        yield TableShape(
            (schema, table),
            {str(column.name): column for column in shaped.columns},
            tuple(keys[place]["constrained_columns"]) if keys.get(place) else (),
            tuple(_foreign_keys(inspector, foreign.get(place) or (), place, there)),
            versioned=table in versioned,
        )


def _foreign_keys(
    inspector: Inspector,
    found: Sequence[Any],
    place: tuple[str | None, str],
    there: Mapping[str, Sequence[str]],
) -> Iterator[ForeignKey]:
    schema, table = place
    for key in sorted(found, key=lambda each: each["constrained_columns"]):
        target, columns = key["referred_table"], key["referred_columns"]
        if key["referred_schema"] in (None, schema):
            target = _as_made(target, there)
            columns = [_as_made(each, there.get(target, ())) for each in columns]
        yield ForeignKey(
            tuple(_as_made(each, there[table]) for each in key["constrained_columns"]),
            plain_name((key["referred_schema"], target), inspector.default_schema_name),
            tuple(columns),
        )


def _as_made(name: str, there: Iterable[str]) -> str:
    """A name as it was made: SQLite does not mind how a key writes a table or a column."""
    if name in there:
        return name
    return next((each for each in there if each.lower() == name.lower()), name)
