"""Do owner paths go where the database's foreign keys go, and wherever these lead to a person?

A path that joins by a wrong column (a line's number beside orders' keys) finds rows all the same:
other people's. So where the database says how two tables belong together, a path must go that way.
And a table whose rows are people's by two keys needs two paths, or half of the rows are missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set

from backend.services.declarations import Declared, DeclaredHop, DeclaredPath
from backend.services.findings import Finding, Problem
from backend.services.reflection import Name, shown
from backend.services.schema_graph import ForeignKey, Schema, TableShape

Key = tuple[Name, str]  # the people's table, and its column by which a request names a person
Stated = Callable[[TableShape], Set[str]]  # columns that somebody gave a reason for
_Pairs = frozenset[tuple[str, str]]


def astray(schema: Schema, person: Key, section: Declared, stated: Stated) -> Iterator[Finding]:
    """Each step of the section's owner paths that leaves a foreign key aside.

    A step between two tables without any foreign key is nobody's but the declarer's to judge.
    """
    for path in section.paths:
        for hop in path.hops:
            yield from _hop_astray(schema, section, hop, stated)
        yield from _end_astray(schema, person, section, path, stated)


def missed(
    schema: Schema,
    person: Name,
    table: TableShape,
    sections: Sequence[Declared],
    settled: Callable[[TableShape], Set[str]],
    beyond: Iterable[Name],
) -> Iterator[Finding]:
    """Each key by which a table's rows are people's, and that no owner path of its sections goes.

    ``settled`` gives the columns of a table for which somebody stated a reason, ``beyond`` covered
    tables that lead to no person by themselves.
    """
    for way in schema.ways_by_key(table.name, person, dict.fromkeys(beyond, ())):
        first = way[0]
        turned = first not in schema.keys_of(table.name)
        at, columns = (
            (schema.shape(person), first.target_columns) if turned else (table, first.columns)
        )
        if settled(at) >= set(columns):
            continue
        if any(_follows(schema, path, first, turned) for each in sections for path in each.paths):
            continue
        if turned:
            what = f"refers to {shown(table.name)}, but no owner path of that goes this way"
        else:
            through = " → ".join(shown(key.target) for key in way)
            what = f"leads to a person ({through}), but no owner path begins with it"
        yield Finding(
            Problem.OWNER_UNUSED,
            f"{what}, so that rows may be missed; add it to owner, mask it, or exempt the column "
            "with a reason",
            section=sections[0].section,
            table=shown(at.name),
            columns=columns,
        )


def _follows(schema: Schema, path: DeclaredPath, key: ForeignKey, turned: bool) -> bool:
    if not set(path.first_columns).issuperset(key.columns):
        return False
    if not turned or not path.hops:
        return True
    target = schema.named(path.hops[0].target)
    there = {there for _, there in path.hops[0].pairs}
    return target is not None and target.name == key.target and there.issuperset(key.target_columns)


def _hop_astray(
    schema: Schema, section: Declared, hop: DeclaredHop, stated: Stated
) -> Iterator[Finding]:
    here, there = schema.named(hop.table), schema.named(hop.target)
    if here is None or there is None:
        return  # told as gone
    keys = list(_between(here, there))
    mine = frozenset(hop.pairs)
    columns = [name for name, _ in hop.pairs]
    if not keys or any(key <= mine for _, key in keys) or stated(here) >= set(columns):
        return
    told = ", ".join(f"{shown(hop.table)}.{a} = {shown(hop.target)}.{b}" for a, b in hop.pairs)
    yield _finding(section, here, columns, told, [text for text, _ in keys])


def _end_astray(
    schema: Schema, person: Key, section: Declared, path: DeclaredPath, stated: Stated
) -> Iterator[Finding]:
    end, people = schema.named(path.end), schema.named(person[0])
    if end is None or people is None or path.column in stated(end):
        return
    if end is people and path.column == person[1]:
        return
    keys = [text for text, _ in _between(end, people, only_from=True)]
    if end is people:
        keys.insert(0, f"{shown(person[0])}.{person[1]}, the key itself")
    if keys and not _leads_to_key(schema, person, end, path.column):
        yield _finding(section, end, [path.column], f"{shown(path.end)}.{path.column}", keys)


def _finding(
    section: Declared, table: TableShape, columns: list[str], step: str, keys: list[str]
) -> Finding:
    return Finding(
        Problem.OWNER_ASTRAY,
        f"the owner path goes by {step}, and the database's own key is {'; or '.join(keys)}: other "
        "people's rows may be exported; go by that key, or exempt the column of "
        f"{shown(table.name)} with a reason",
        section=section.section,
        table=shown(table.name),
        columns=columns,
    )


def _between(
    here: TableShape, there: TableShape, *, only_from: bool = False
) -> Iterator[tuple[str, _Pairs]]:
    """The declared foreign keys between two tables, as text and as pairs of columns."""
    for key in here.foreign_keys:
        if key.target == there.name:
            pairs = list(zip(key.columns, _targets(key, there), strict=False))
            yield _shown(here.name, there.name, pairs), frozenset(pairs)
    if only_from:
        return
    for key in there.foreign_keys:
        if key.target == here.name:
            pairs = list(zip(key.columns, _targets(key, here), strict=False))
            yield _shown(there.name, here.name, pairs), frozenset((b, a) for a, b in pairs)


def _targets(key: ForeignKey, target: TableShape) -> tuple[str, ...]:
    return key.target_columns or target.primary_key


def _shown(here: Name, there: Name, pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{shown(here)}.{a} → {shown(there)}.{b}" for a, b in pairs)


def _leads_to_key(schema: Schema, person: Key, table: TableShape, column: str) -> bool:
    """Whether a column's foreign keys lead to the person's key, be it over other tables."""
    seen: set[Key] = set()
    to_see = [(table.name, column)]
    while to_see:
        at = to_see.pop()
        if at in seen:
            continue
        seen.add(at)
        shape = schema.named(at[0])
        for key in () if shape is None else shape.foreign_keys:
            target = schema.named(key.target)
            if target is None or len(key.columns) > 1 or key.columns[0] != at[1]:
                continue
            to_see.append((target.name, _targets(key, target)[0]))
            if to_see[-1] == person:
                return True
    return False
