"""Pairs of columns that name rows of several tables: ``record_type`` and ``record_id``.

Django's ``content_type_id`` and ``object_id`` are such a pair. No foreign key says to whom such a
row belongs, and an owner path by the second column alone would give a person what belongs to
another table's row of the same number. So a path that goes by it must say which type it means, and
a pair that no path goes by must be exempted with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import sqlalchemy as sa

from backend.services.base_types import stored_type
from backend.services.declarations import Declared, DeclaredPath
from backend.services.findings import Finding, Problem
from backend.services.reflection import Name, shown
from backend.services.schema_graph import Schema, TableShape
from backend.services.telling_names import words

# The last words of a column that says which table is meant, and of one that says which row.
_TYPES: Final = (
    *(("content", "type", "id"), ("content", "type")),
    *((first, "name") for first in ("type", "class", "table", "model", "entity", "object")),
    *((each,) for each in ("type", "typ", "kind", "class", "klass", "model", "table", "entity")),
)
_KEYS: Final = frozenset({"id", "ids", "uuid", "guid", "pk", "key", "ref", "no", "nr", "num"})
# What rows of any table are called.
_ANY: Final = frozenset(
    (
        *("object", "record", "row", "entity", "item", "resource", "subject", "target", "parent"),
        *("model", "content", "instance", "source", "reference", "ref", "related", "linked"),
        *("foreign", "owner", "holder"),
    )
)
# A column that is called so alone says which table is meant.
_ALONE: Final = frozenset({"table", "model", "entity", "resource", "record", "object"})


@dataclass(frozen=True, slots=True)
class Pair:
    """A column with a row's key, and one that says of which table the row is."""

    type_column: str
    id_column: str


def pairs_of(schema: Schema, table: TableShape) -> list[Pair]:
    """The pairs of a table; none of a column whose foreign key says which table it means."""
    declared = {name for key in table.foreign_keys for name in key.columns}
    guessed = {key.columns[0]: key.target for key in schema.keys_of(table.name) if key.guessed}
    types = [
        (name, prefix, is_content)
        for name, column in table.columns.items()
        for prefix, is_content in [_type_prefix(name)]
        if prefix is not None and _may_say_type(column) and (is_content or name not in declared)
    ]
    found = []
    for name in table.columns:
        prefix = _key_prefix(name)
        if prefix is None or name in declared or table.primary_key == (name,):
            continue
        for type_name, type_prefix, is_content in types:
            if type_name != name and _belong(type_prefix, prefix, is_content=is_content):
                if not _says_its_table(schema, guessed.get(name), prefix):
                    found.append(Pair(type_name, name))
                break
    return found


def _says_its_table(schema: Schema, guessed: Name | None, prefix: tuple[str, ...]) -> bool:
    """Whether the column is called after one table, whatever the type beside it says of that.

    Not where that is a table that people may be: ``user_type`` may say ``Admin`` as well.
    """
    return guessed is not None and not _ANY.intersection(prefix) and not schema.is_person(guessed)


def _may_say_type(column: sa.Column[object]) -> bool:
    kind = stored_type(column.type)
    return isinstance(kind, (sa.String, sa.Integer, sa.types.NullType))


@lru_cache(1 << 16)
def _type_prefix(name: str) -> tuple[tuple[str, ...] | None, bool]:
    """What stands before the words for a type, and whether it is one of Django's content types."""
    found = _parted(name, "type")
    for ending in _TYPES:
        if found[-len(ending) :] == ending:
            return found[: -len(ending)], ending[0] == "content"
    return (found, False) if found and found[-1] in _ALONE else (None, False)


@lru_cache(1 << 16)
def _key_prefix(name: str) -> tuple[str, ...] | None:
    found = _parted(name, "id")
    return found[:-1] if len(found) > 1 and found[-1] in _KEYS else None


def _parted(name: str, ending: str) -> tuple[str, ...]:
    """A name's words, the last one parted from an ending that is written to it."""
    found = words(name)
    if found and found[-1].endswith(ending) and found[-1][: -len(ending)] in _ANY:
        return (*found[:-1], found[-1][: -len(ending)], ending)
    return tuple(found)


def _belong(types: tuple[str, ...], keys: tuple[str, ...], *, is_content: bool) -> bool:
    if is_content:
        return keys[: len(types)] == types and _ANY.issuperset(keys[len(types) :])
    if types == keys:
        return True
    if not types or (len(types) == 1 and types[0] in _ANY | _ALONE):  # table_name, row_id
        return len(keys) == 1 and keys[0] in _ANY
    return False


# -- findings --------------------------------------------------------------------------------------


def unfollowed_pairs(
    schema: Schema,
    table: TableShape,
    sections: Sequence[Declared],
    settled: Callable[[TableShape], Set[str]],
) -> Iterator[Finding]:
    """Each pair of a table by which rows may be a person's, and that no owner path goes by."""
    if table.name in schema.views:
        return  # whose rows it gives was decided where it was made
    for pair in pairs_of(schema, table):
        if pair.id_column in settled(table):
            continue
        if any(pair.id_column in each.owners for each in sections):
            continue  # by which type is looked at by path
        yield Finding(
            Problem.POLYMORPHIC,
            f"name rows of several tables, a person's maybe; {_remedy(pair)}",
            section=sections[0].section if sections else None,
            table=shown(table.name),
            columns=[pair.type_column, pair.id_column],
        )


def _remedy(pair: Pair) -> str:
    return (
        f'cover such rows by a section with the owner {{ column = "{pair.id_column}", where = '
        f'{{ {pair.type_column} = "..." }} }}, or exempt {pair.id_column} with a reason'
    )


def paths_of_any_type(
    schema: Schema, section: Declared, stated: Callable[[TableShape], Set[str]]
) -> Iterator[Finding]:
    """Each step of the section's owner paths by the key of such a pair, whatever the type says."""
    for path in section.paths:
        for name, columns in _steps(path):
            table = schema.named(name)
            if table is None or table.name in schema.views:
                continue
            asked = {column for at, column in path.where if schema.named(at) is table}
            for pair in pairs_of(schema, table):
                if pair.id_column not in columns or pair.id_column in stated(table):
                    continue
                if pair.type_column not in asked:
                    yield _of_any_type(section, table, pair)


def _of_any_type(section: Declared, table: TableShape, pair: Pair) -> Finding:
    return Finding(
        Problem.POLYMORPHIC,
        f"the owner path goes by {pair.id_column} whatever {pair.type_column} says: what belongs "
        f"to other tables' rows of the same number may be exported; {_remedy(pair)}",
        section=section.section,
        table=shown(table.name),
        columns=[pair.type_column, pair.id_column],
    )


def _steps(path: DeclaredPath) -> Iterator[tuple[Name, set[str]]]:
    """The tables of a path, with the columns of each that it goes by."""
    for hop in path.hops:
        yield hop.table, {here for here, _ in hop.pairs}
        yield hop.target, {there for _, there in hop.pairs}
    yield path.end, {path.column}


def notes_on_pairs(schema: Schema) -> Iterator[tuple[TableShape, Sequence[str], Sequence[str]]]:
    """For the draft: each pair's table, the column to decide about, and what to say of it."""
    for name in sorted(schema.tables, key=str):
        table = schema.tables[name]
        for pair in pairs_of(schema, table):
            note = (
                f"{pair.type_column} and {pair.id_column} name rows of several tables. Those that "
                "name a person are theirs by a section with"
            )
            owner = f'{{ column = "{pair.id_column}", where = {{ {pair.type_column} = "..." }} }}'
            yield table, [pair.id_column], [note, f"  owner = {owner}", "Or say here why not."]
