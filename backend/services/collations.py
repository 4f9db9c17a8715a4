"""How the database compares the columns of reflected tables; see ``comparison``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from backend.services.comparison import COLLATION, UNIQUE, UNTYPED, Collation, Family, family_of
from backend.services.padded_texts import BPCHAR, give_text_type
from backend.services.sqlite_collations import loose_collations, unique_columns

# Whatever the release: before PostgreSQL 12 no collation is nondeterministic.
_ON_POSTGRESQL: Final = """
WITH RECURSIVE base (oid, type, length) AS (
  SELECT oid, oid, -1 FROM pg_type WHERE typtype <> 'd'
  UNION ALL
  SELECT t.oid, b.type, greatest(t.typtypmod, b.length)
  FROM pg_type t JOIN base b ON b.oid = t.typbasetype WHERE t.typtype = 'd'
)
SELECT n.nspname, c.relname, a.attname, b.type = to_regtype('citext')::oid,
       coalesce((to_jsonb(co) ->> 'collisdeterministic')::boolean, true),
       quote_ident(cn.nspname) || '.' || quote_ident(co.collname),
       b.type = 'pg_catalog.bpchar'::regtype, greatest(a.atttypmod, b.length) > 0
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_collation co ON co.oid = a.attcollation
JOIN pg_namespace cn ON cn.oid = co.collnamespace
JOIN base b ON b.oid = a.atttypid
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relname = ANY(%(tables)s)
"""
_ON_MARIADB: Final = """
SELECT table_schema, table_name, column_name, collation_name
FROM information_schema.columns
WHERE collation_name IS NOT NULL AND table_name IN ({})
"""


def mark_collations(
    connection: Connection, tables: Iterable[sa.Table], default_schema: str | None
) -> None:
    """Note in each column's ``info`` how the database compares it; one statement."""
    tables = list(tables)
    names = sorted({table.name for table in tables})
    if not names:
        return
    name = connection.dialect.name
    if name == "postgresql":
        found = _read_on_postgresql(connection, names)
    elif name == "sqlite":
        found = _read_on_sqlite(connection, tables, default_schema)
    else:
        found = _read_on_mariadb(connection, names)
    for table in tables:
        for column in table.columns:
            place = (table.schema or default_schema, table.name, column.name)
            if place in found:
                column.info[COLLATION] = found[place]
                if found[place].keeps_blanks:
                    give_text_type(column)
            elif name == "sqlite" and family_of(column) is not Family.WHOLE:
                untyped = family_of(column) is Family.UNKNOWN
                column.info[COLLATION] = UNTYPED if untyped else Collation("unknown")


def _read_on_postgresql(
    connection: Connection, names: list[str]
) -> Mapping[tuple[Any, ...], Collation]:
    found = {}
    rows = connection.exec_driver_sql(_ON_POSTGRESQL, {"tables": names})
    for schema, table, column, citext, deterministic, sql, padded, has_length in rows:
        name = BPCHAR if padded else "citext" if citext else sql
        exact = deterministic and not citext and not padded
        collation = Collation(name, exact, sql, keeps_blanks=padded and not has_length)
        found[schema, table, column] = collation
    return found


def _read_on_sqlite(
    connection: Connection, tables: Iterable[sa.Table], default_schema: str | None
) -> Mapping[tuple[Any, ...], Collation]:
    found = {}
    for table in tables:
        if table.schema not in (None, default_schema):
            continue
        loose, unique = loose_collations(connection, table), unique_columns(connection, table)
        for column in table.columns:
            own = loose.get(column.name, "BINARY")
            by = {collation for name, collation in unique if name == column.name}
            if own in by:
                column.info[UNIQUE] = True
            if own != "BINARY" and family_of(column) is Family.TEXT:
                # A unique index of another collation makes no values unique by the column's own.
                sql = own if by <= {own} else ""
                found[default_schema, table.name, column.name] = Collation(own, sql=sql)
    return found


def _read_on_mariadb(
    connection: Connection, names: list[str]
) -> Mapping[tuple[Any, ...], Collation]:
    query = _ON_MARIADB.format(", ".join(["%s"] * len(names)))
    rows = connection.exec_driver_sql(query, tuple(names))
    return {
        (schema, table, column): Collation(name, name.endswith("_nopad_bin"), name)
        for schema, table, column, name in rows
    }
