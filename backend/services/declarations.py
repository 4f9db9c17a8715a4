"""What sections say, be it over models or in a file that no database was compared with yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backend.services.reflection import Name
from backend.services.sections import Disposition, Exported, Facts, TableSection
from backend.services.sections_file import SectionEntry, SectionsFile


@dataclass(frozen=True, slots=True)
class Declared:
    """What a section over a table says, whoever says it: a model's or a file's."""

    section: str
    table: Name
    columns: Mapping[str, Disposition]
    facts: Facts
    owners: frozenset[str]  # columns of its own table that an owner path begins with
    named: Sequence[tuple[Name, str]]  # whatever other columns it names
    reasons: Mapping[str, str] = field(default_factory=dict)


def declared(section: TableSection) -> Declared:
    """What a section over a model's table says."""
    named = [
        ((hop.table.schema, hop.table.name), target.name)
        for path in section.owner_paths
        for hop in path.hops
        for target in hop.targets
    ]
    named += [
        ((path.hops[-1].table.schema, path.hops[-1].table.name), path.column)
        for path in section.owner_paths
        if path.hops
    ]
    deleted = section.leave_out_deleted
    return Declared(
        section.name,
        (section.table.schema, section.table.name),
        section.columns,
        section.facts,
        frozenset(name for path in section.owner_paths for name in path.first_columns),
        named,
        _reasons(section.columns, None if deleted is None else deleted.reason),
    )


def declared_in_file(file: SectionsFile, entry: SectionEntry) -> Declared:
    """What one ``[[section]]`` says."""
    owners: set[str] = set()
    named: list[tuple[Name, str]] = [(entry.table_name, each) for each in entry.order_by]
    for owner in entry.owner:
        at = entry.table_name
        for join in owner.path:
            named += [(at, here) for here, _ in join.pairs]
            named += [(join.table, there) for _, there in join.pairs]
            at = join.table
        named.append((at, owner.column))
        first = owner.path[0].pairs if owner.path else [(owner.column, "")]
        owners.update(here for here, _ in first)
    if entry.table_name == file.subject.table_name:
        owners.add(file.subject.key)
    deleted = entry.leave_out_deleted
    return Declared(
        entry.name,
        entry.table_name,
        entry.dispositions(),
        file.facts_of(entry),
        frozenset(owners),
        named,
        _reasons(entry.dispositions(), None if deleted is None else deleted.reason),
    )


def _reasons(columns: Mapping[str, Disposition], deleted: str | None) -> dict[str, str]:
    """Every reason that was given, by the place that it is for."""
    reasons: dict[str, str] = {}
    for name, disposition in columns.items():
        if isinstance(disposition, Exported):
            parts = disposition.paths.items()
            reasons.update({f"{name}.{path}": str(part.reason) for path, part in parts})
        else:
            reasons[name] = str(disposition.reason)
    return reasons if deleted is None else reasons | {"deleted rows": deleted}
