"""PostgreSQL's ``char(n)`` and ``bpchar``, which it compares without the blanks at their end."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from backend.services.base_types import narrowed_by

# In place of the name of such a column's collation.
BPCHAR: Final = "bpchar"


def give_text_type(column: sa.Column[Any]) -> None:
    """Give a ``bpchar`` without a length, which SQLAlchemy does not know, the type of a text."""
    if narrowed_by(column.type) is None:
        column.type = sa.Text()
    else:
        domain: Any = column.type
        domain.data_type = sa.Text()


class Padded(FunctionElement[Any]):
    """A key as these types are compared, of whatever length it is."""

    type = sa.types.NullType()
    inherit_cache = True
    name = "padded"


@compiles(Padded)
def _padded(element: Padded, compiler: SQLCompiler, **options: Any) -> str:
    (value,) = element.clauses
    return str(compiler.process(value, **options))


@compiles(Padded, "postgresql")
def _padded_on_postgresql(element: Padded, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({_padded(element, compiler, **options)} AS bpchar)"
