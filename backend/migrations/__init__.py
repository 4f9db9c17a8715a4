"""The schema's history, and the one function that brings a database up to date."""

from __future__ import annotations

from typing import Any

# What ``dsar migrate`` makes, and keeps up to date by itself.
_TABLES = frozenset({"dsar_requests", "dsar_attempts", "dsar_sweeps", "dsar_schema_version"})


def include_object(
    item: Any, name: str | None, type_: str, reflected: bool, compare_to: Any
) -> bool:
    """Leave this program's tables out of an application's own Alembic, in its ``env.py``.

    ::

        from backend.migrations import include_object

        context.configure(..., include_object=include_object)

    Without it ``flask db migrate`` proposes to drop them, or columns and indexes of a
    ``dsar_requests`` that the application has a model of. False for our tables, and what belongs to
    them; True for everything else.
    """
    table = name if type_ == "table" else getattr(getattr(item, "table", None), "name", None)
    return table not in _TABLES
