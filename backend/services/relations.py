"""What a database has beside plain tables: partitions, inherited tables, foreign ones, history.

Read from its catalogue, for coverage, the draft and the binding of sections alike.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine.reflection import Inspector, ObjectKind

Name = tuple[str | None, str]  # of a table: schema, or None for the connection's own, and name

# Not those of a session: a temporary table is seen by no other.
_INHERITED: Final = """
    SELECT cn.nspname, c.relname, pn.nspname, p.relname, c.relispartition
    FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
    JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
    WHERE c.relpersistence <> 't' AND c.relkind IN ('r', 'p', 'f')
    ORDER BY 1, 2, i.inhseqno
"""
_VERSIONED: Final = (
    "SELECT table_name FROM information_schema.tables"
    " WHERE table_type = 'SYSTEM VERSIONED' AND table_schema = COALESCE(:schema, DATABASE())"
)


_BASES: Final = """
    SELECT DISTINCT n.nspname, c.relname
    FROM pg_class v JOIN pg_namespace vn ON vn.oid = v.relnamespace
    JOIN pg_rewrite r ON r.ev_class = v.oid
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
        AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> v.oid
    JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE vn.nspname = :schema AND v.relname = :view
"""
_QUOTED: Final = re.compile("`([^`]+)`")
_PAIR: Final = re.compile("`([^`]+)`\\.`([^`]+)`")
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Inherited:
    """A table whose rows are among its parent's. ``is_partition``: it has no column of its own."""

    child: Name
    parent: Name
    is_partition: bool


class Lineage:
    """Which tables of a PostgreSQL are parts of which."""

    def __init__(self, inherited: Iterable[Inherited] = ()) -> None:
        self._parents: defaultdict[Name, list[Name]] = defaultdict(list)
        self.partitions: set[Name] = set()
        for each in inherited:
            self._parents[each.child].append(each.parent)
            if each.is_partition:
                self.partitions.add(each.child)

    @property
    def children(self) -> Sequence[Name]:
        """Every table that has a parent."""
        return list(self._parents)

    def ancestors(self, name: Name) -> list[Name]:
        """A table's parents and theirs, nearest first."""
        found: dict[Name, None] = {}
        to_see = [*self._parents.get(name, ())]
        while to_see:
            each = to_see.pop(0)
            if each not in found:
                found[each] = None
                to_see += self._parents.get(each, ())
        return list(found)


def read_lineage(inspector: Inspector) -> Lineage:
    """Every table that is part of another, in any schema."""
    if inspector.dialect.name != "postgresql":
        return Lineage()
    default = inspector.default_schema_name

    def named(schema: str, table: str) -> Name:
        return (None if schema == default else schema, table)

    with inspector._operation_context() as connection:
        rows = connection.exec_driver_sql(_INHERITED).all()
    return Lineage(Inherited(named(r[0], r[1]), named(r[2], r[3]), bool(r[4])) for r in rows)


def versioned_tables(inspector: Inspector, schema: str | None) -> set[str]:
    """The tables of which the database keeps every earlier row (MariaDB's system versioning)."""
    if inspector.dialect.name not in ("mysql", "mariadb"):
        return set()
    with inspector._operation_context() as connection:
        return {row[0] for row in connection.execute(sa.text(_VERSIONED), {"schema": schema})}


def foreign_tables(inspector: Inspector, schema: str | None) -> set[str]:
    """The tables that stand for another server's or a file's rows."""
    if inspector.dialect.name != "postgresql":
        return set()
    return set(inspector.get_foreign_table_names(schema))  # type: ignore[attr-defined]


def materialized_views(inspector: Inspector, schema: str | None) -> set[str]:
    """The views that hold rows of their own."""
    if inspector.dialect.name != "postgresql":
        return set()
    return set(inspector.get_materialized_view_names(schema))


def kinds_with_rows(inspector: Inspector) -> ObjectKind:
    """What holds rows: tables (foreign ones too) and materialized views, not plain views."""
    if inspector.dialect.name != "postgresql":
        return ObjectKind.TABLE
    return ObjectKind.TABLE | ObjectKind.MATERIALIZED_VIEW


def base_tables(inspector: Inspector, view: Name) -> set[Name]:
    """The tables that a view reads; on MariaDB and SQLite whatever its text names, and so more."""
    schema, default = view[0] or inspector.default_schema_name, inspector.default_schema_name
    if inspector.dialect.name == "postgresql":
        with inspector._operation_context() as connection:
            rows = connection.execute(sa.text(_BASES), {"schema": schema, "view": view[1]}).all()
        return {(None if row[0] == default else row[0], row[1]) for row in rows}
    text = inspector.get_view_definition(view[1], view[0])
    if inspector.dialect.name == "sqlite":
        return {(view[0], name) for name in _WORD.findall(text)}
    pairs = [(None if first == default else first, name) for first, name in _PAIR.findall(text)]
    return {*pairs, *((view[0], name) for name in _QUOTED.findall(text))}
