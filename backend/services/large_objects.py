"""PostgreSQL's large objects: a column of type ``oid`` (or ``lo``) holds a number, not the content.

A section that declares the column in ``large_objects`` exports the content, as other octets in
base64. An object that is no longer there is null; one that this role may not read fails the export
with the server's own refusal, and is granted by ``GRANT SELECT ON LARGE OBJECT``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa

from backend.services.base_types import Kind, stored_type

_CATALOGUE: Final = sa.table("pg_largeobject_metadata", sa.column("oid"), schema="pg_catalog")


def content(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """The content of the object that a column names, as it is to be selected."""
    there = sa.exists().where(_CATALOGUE.c.oid == sa.type_coerce(column, sa.types.NullType()))
    read = sa.func.pg_catalog.lo_get(column, type_=sa.LargeBinary())
    return sa.case((there, read)).label(column.name)


def require_objects(names: Iterable[str], table: sa.Table) -> str | None:
    """What is wrong with these columns as large objects, for people; None if nothing is."""
    strange = sorted(each for each in names if not names_object(table.c[each].type))
    if not strange:
        return None
    return f"large_objects: {', '.join(strange)} must be of PostgreSQL's type oid"


def names_object(kind: Kind) -> bool:
    """Whether a type's values are the numbers of large objects."""
    return stored_type(kind).__visit_name__ == "OID"
