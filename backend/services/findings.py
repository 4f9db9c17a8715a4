"""What a comparison of schema and sections may find, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Problem(StrEnum):
    """What may be wrong; stable, for scripts."""

    TABLE_UNCOVERED = "table_uncovered"
    COLUMN_UNCOVERED = "column_uncovered"
    OWNER_UNUSED = "owner_path_unused"
    OWNER_ASTRAY = "owner_path_no_foreign_key"
    LINKED = "linked_to_person"
    LOOKS_PERSONAL = "looks_personal"
    LOOKS_SECRET = "looks_secret"  # noqa: S105
    TABLE_GONE = "table_gone"
    COLUMN_GONE = "column_gone"
    FACT_MISSING = "fact_missing"
    REASON_MISSING = "reason_missing"
    LARGE_OBJECT = "large_object_uncovered"
    HISTORY = "history_uncovered"
    POLYMORPHIC = "polymorphic"
    SECTION_WRONG = "section_wrong"
    ROWS_HIDDEN = "rows_hidden_by_policy"
    ALL_LEFT_OUT = "all_rows_left_out"


@dataclass(frozen=True, slots=True)
class Finding:
    """One gap. ``message`` says what it is and what to do."""

    problem: Problem
    message: str
    section: str | None = None
    table: str | None = None
    columns: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at, and what is missing.

    ``settings_missing`` are told and no findings: a CI that has the schema and the sections need
    not have the settings of the machine that exports. So it is with ``advice``.
    """

    tables: int
    columns: int
    sections: int
    findings: Sequence[Finding]
    settings_missing: Sequence[str] = ()
    advice: Sequence[str] = ()
    looked_at: Sequence[str] = ()
    not_looked_at: Sequence[str] = ()
