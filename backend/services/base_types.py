"""A column's type below what an application or a database put around it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from backend.models.types import UtcDateTime

Kind = sa.types.TypeEngine[Any]


def base_type(kind: Kind) -> Kind:
    """The type whose values these are: what a domain narrows, or a decorator leaves as it is.

    A decorator that converts what it reads stands, ``sa.Interval`` among them: its values can be
    of any type.
    """
    while True:
        if (narrowed := narrowed_by(kind)) is not None:
            kind = narrowed
        elif isinstance(kind, TypeDecorator) and not converts(kind):
            kind = kind.impl_instance
        else:
            return kind


def stored_type(kind: Kind) -> Kind:
    """The type that the database keeps: below every decorator and every domain."""
    while True:
        if (narrowed := narrowed_by(kind)) is not None:
            kind = narrowed
        elif isinstance(kind, TypeDecorator):
            kind = kind.impl_instance
        else:
            return kind


def is_structured(kind: Kind) -> bool:
    """Whether values have parts of any name: JSON and its like, or an array of such."""
    kind = stored_type(kind)
    if isinstance(kind, sa.ARRAY):
        return is_structured(kind.item_type)
    return isinstance(kind, sa.JSON) or kind.__visit_name__ in ("HSTORE", "XML")


def narrowed_by(kind: Kind) -> Kind | None:
    """The type that a domain narrows; None of what is no domain."""
    # PostgreSQL's; importing it would cost every start.
    return kind.data_type if kind.__visit_name__ == "DOMAIN" else None  # type: ignore[attr-defined]


def converts(kind: TypeDecorator[Any]) -> bool:
    """Whether a decorator makes something else of what it reads; ours makes a zone of none."""
    own = type(kind)
    return not isinstance(kind, UtcDateTime) and (
        own.process_result_value is not TypeDecorator.process_result_value
        or own.result_processor is not TypeDecorator.result_processor
    )
