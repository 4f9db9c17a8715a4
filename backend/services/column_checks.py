"""Do exported columns hold what their names say: a credential, or somebody else by a role?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from backend.services.declarations import Declared
from backend.services.findings import Finding, Problem
from backend.services.other_people import names_others
from backend.services.reflection import Name, shown
from backend.services.schema_graph import Schema, TableShape
from backend.services.sections import Disposition, Exported


def exported_secrets(
    schema: Schema,
    person: Name,
    table: TableShape,
    sections: Sequence[Declared],
    stated: Set[str],
) -> Iterator[Finding]:
    """Columns that a section exports whole, and that are called as a credential.

    ``stated`` are those that an exemption names.
    """
    secret = schema.secret(table.name, person)
    for each in sections:
        exported = [name for name in secret if _is_whole(each.columns.get(name))]
        if names := [name for name in exported if name not in stated]:
            yield Finding(
                Problem.LOOKS_SECRET,
                "is exported, and looks like a credential; withhold it, or exempt the column "
                "with the reason why it opens nothing",
                section=each.section,
                table=shown(table.name),
                columns=names,
            )


def named_by_role(
    schema: Schema, person: Name, table: TableShape, section: str, decided: Set[str]
) -> Iterator[Finding]:
    """Columns of text that name or address somebody by a role, and that nobody decided about."""
    to_person = [
        key.columns[0]
        for key in schema.keys_of(table.name)
        if key.target == person and len(key.columns) == 1
    ]
    if names := [name for name in names_others(table, to_person) if name not in decided]:
        yield Finding(
            Problem.LOOKS_PERSONAL,
            "is exported, and names or addresses somebody by a role, who may be another person; "
            "mask it, or exempt the column with a reason",
            section=section,
            table=shown(table.name),
            columns=names,
        )


def _is_whole(disposition: Disposition | None) -> bool:
    """Whether a column is exported without a word on what stands within."""
    return isinstance(disposition, Exported) and not disposition.paths
