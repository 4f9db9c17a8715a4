"""Column types that mean the same on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import TypeCompiler
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

# SQLite gives only a column declared INTEGER its own row numbers.
BigKey = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: aware in Python, UTC in the database, with microseconds.

    MariaDB has no zoned type and drops fractions unless asked (``DATETIME(6)``); SQLite has
    neither. Both hold UTC without a zone. A naive value is refused: it could mean anything.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            from sqlalchemy.dialects import mysql  # only here: 19 modules

            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime has no place in a UtcDateTime column")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if not isinstance(value, datetime):
            return value  # NULL, or a time that Python has no value for, as the driver gave it
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class PersonKey(UserDefinedType[Any]):
    """The key of a person whose table this program need not know: a number, a UUID or a text.

    A new column of models alone is a big integer; ``dsar migrate`` makes it of the type that the
    people's key has, and an adopted one keeps its own. So nothing is cast in a statement, and a
    value is read as the driver gives it.
    """

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "BIGINT"

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        if dialect.name == "sqlite":
            return lambda value: value if value is None or isinstance(value, int) else str(value)
        # A text of no declared type, which PostgreSQL reads as the column's own.
        return lambda value: None if value is None else str(value)


@compiles(PersonKey, "sqlite")
def _as_integer(kind: PersonKey, compiler: TypeCompiler, **_: Any) -> str:
    return "INTEGER"
