"""Which value was too large for its database to hand over; asked once it has refused to.

PostgreSQL prints a row as text of at most 1 GB, octets as two digits each; MariaDB sends a row in
packets of at most ``max_allowed_packet``, SQLite has a limit of its own.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from backend.errors import ValueTooLarge
from backend.services.base_types import stored_type
from backend.services.sections import Subject, TableSection

_LIMITS: Final = {
    "postgresql": "PostgreSQL prints a row of at most 1 GB, octets as two digits each",
    "sqlite": "SQLite hands over a value of at most 1,000,000,000 octets",
}
_HALF_OF_THE_LIMIT: Final = 2**28
_LIMIT: Final = "the server sends a row of at most max_allowed_packet"
_REMEDY: Final = (
    "withhold the column with a reason and hand the value over by itself, or keep such values as "
    "files; then dsar retry"
)


def too_large(connection: Connection, section: TableSection, subject: Subject) -> ValueTooLarge:
    """The error that names the column whose value was too large.

    ``connection``: the one that failed, which is of no further use; another one is asked.
    """
    found = "unknown"
    with suppress(DBAPIError), connection.engine.connect() as other:
        found = _largest(other, section, subject)
    where = f"section {section.name}, column {section.table.name}.{found}"
    return ValueTooLarge(where, _LIMITS.get(connection.dialect.name, _LIMIT), _REMEDY)


def _largest(connection: Connection, section: TableSection, subject: Subject) -> str:
    """The column with the person's largest value."""
    columns = [each for each in section.read_columns() if _may_be_large(each.type)]
    if not columns:
        return "unknown"
    length = sa.func.length if connection.dialect.name == "sqlite" else sa.func.octet_length
    as_text = connection.dialect.name == "postgresql"
    query = (
        sa.select(*(sa.func.max(length(_measured(each, as_text=as_text))) for each in columns))
        .select_from(section.table)
        .where(section.owned_by(subject.user_id))
    )
    sizes: dict[str, int | None] = dict(
        zip((each.name for each in columns), connection.execute(query).one(), strict=True)
    )
    largest = max(sizes, key=lambda name: sizes[name] or 0)
    if section.large_objects and (sizes[largest] or 0) < _HALF_OF_THE_LIMIT:
        return ", ".join(sorted(section.large_objects))  # whose sizes are the superuser's to see
    return largest


def _measured(column: sa.Column[Any], *, as_text: bool) -> sa.ColumnElement[Any]:
    kind = stored_type(column.type)
    is_plain = isinstance(kind, (sa.String, sa.types._Binary)) or not as_text
    return sa.type_coerce(column, sa.Text()) if is_plain else sa.cast(column, sa.Text())


def _may_be_large(kind: sa.types.TypeEngine[Any]) -> bool:
    small = (sa.Integer, sa.Float, sa.Boolean, sa.Date, sa.DateTime, sa.Time, sa.Uuid, sa.Numeric)
    return not isinstance(stored_type(kind), small)
