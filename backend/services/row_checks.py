"""What ``dsar coverage --look`` looks for in the rows themselves; without it no row is read.

Whether a mark of soft deletion leaves out every row of a table: one that says the opposite of what
was declared (``is_active`` for ``is_deleted``) does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from backend.errors import DatabaseBusy
from backend.extensions import Runtime
from backend.services.findings import Finding, Problem
from backend.services.reflection import shown
from backend.services.row_conditions import LeftOut
from backend.services.sections import Section, TableSection
from backend.services.snapshot import open_snapshot

# For each of the few statements about a table.
_SECONDS: Final = 30


@dataclass(slots=True)
class RowChecks:
    """What was looked at, and what took the database too long or failed: by section and column."""

    findings: list[Finding] = field(default_factory=list)
    looked_at: list[str] = field(default_factory=list)
    not_looked_at: list[str] = field(default_factory=list)


def look_at_rows(runtime: Runtime, sections: Sequence[Section]) -> RowChecks:
    """Check the marks of soft deletion against the rows of each section's table.

    Asks only whether rows exist, for at most 30 seconds a statement on a server. Raises
    ``DatabaseUnreachable``.
    """
    checks = RowChecks()
    for section, deleted in _with_marks(sections):
        place = f"{section.name}.{deleted.column}"
        try:
            if _leaves_out_all(runtime, section, deleted):
                checks.findings.append(_all_left_out(section, deleted))
            checks.looked_at.append(place)
        except (DBAPIError, DatabaseBusy):  # its message may quote a value
            checks.not_looked_at.append(place)
    return checks


def _with_marks(sections: Iterable[Section]) -> Iterator[tuple[TableSection, LeftOut]]:
    for section in sections:
        if isinstance(section, TableSection) and section.leave_out_deleted:
            yield section, section.leave_out_deleted


def _leaves_out_all(runtime: Runtime, section: TableSection, deleted: LeftOut) -> bool:
    row = sa.select(sa.literal(1)).select_from(section.table).limit(1)
    with open_snapshot(runtime.source, runtime.clock, statement_seconds=_SECONDS) as snapshot:
        ask = snapshot.connection.execute
        kept = ask(row.where(deleted.kept(section.table))).first()
        return kept is None and ask(row).first() is not None


def _all_left_out(section: TableSection, deleted: LeftOut) -> Finding:
    return Finding(
        Problem.ALL_LEFT_OUT,
        "leave_out_deleted leaves out every row of the table; name the value that marks a deleted "
        "row (deleted_when), another column, or take it out",
        section=section.name,
        table=shown((section.table.schema, section.table.name)),
        columns=[deleted.column],
    )
