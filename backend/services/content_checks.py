"""What a covered table has beside its columns: large objects, and the history of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from backend.services.base_types import stored_type
from backend.services.declarations import Declared
from backend.services.findings import Finding, Problem
from backend.services.reflection import shown
from backend.services.sections import Exported
from backend.services.table_shapes import TableShape


def content_elsewhere(
    table: TableShape, sections: Sequence[Declared], exempt: set[str]
) -> Iterator[Finding]:
    """Exported columns that name PostgreSQL's large objects, whose content no section holds."""
    held = exempt.union(*(each.large_objects for each in sections))
    exported = {
        name
        for each in sections
        for name, disposition in each.columns.items()
        if isinstance(disposition, Exported)
    }
    names = [
        name
        for name, column in table.columns.items()
        if name in exported - held and _names_objects(column.type)
    ]
    if names:
        yield Finding(
            Problem.LARGE_OBJECT,
            "names large objects, and the export holds their numbers alone, not their content; "
            "state the column in large_objects, or exempt it with a reason",
            section=sections[0].section,
            table=shown(table.name),
            columns=names,
        )


def _names_objects(kind: sa.types.TypeEngine[object]) -> bool:
    stored = stored_type(kind)
    if isinstance(stored, sa.ARRAY):
        return _names_objects(stored.item_type)
    return stored.__visit_name__ == "OID"


def history_elsewhere(table: TableShape, sections: Sequence[Declared]) -> Iterator[Finding]:
    """A table of which the database keeps every earlier row, and no section exports these."""
    if table.versioned and not any(each.history for each in sections):
        yield Finding(
            Problem.HISTORY,
            "the database keeps every earlier version of its rows, and no section holds them; "
            "state history = true, in a section of its own if this one is a single object, or "
            "exempt them: history = true, with a reason",
            section=sections[0].section,
            table=shown(table.name),
        )
    for each in sections:
        if each.history and not table.versioned:
            yield Finding(
                Problem.SECTION_WRONG,
                "history: the database keeps no earlier rows of this table; take it out",
                section=each.section,
                table=shown(table.name),
            )
