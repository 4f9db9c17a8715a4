"""What sections say, be it over models or in a file that no database was compared with yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backend.services.reflection import Name
from backend.services.sections import Disposition, Exported, Facts, OwnerPath, TableSection
from backend.services.sections_file import Owner, SectionEntry, SectionsFile


@dataclass(frozen=True, slots=True)
class DeclaredHop:
    """A join of an owner path: pairs of a column of ``table`` and one of ``target``."""

    table: Name
    pairs: tuple[tuple[str, str], ...]
    target: Name


@dataclass(frozen=True, slots=True)
class DeclaredPath:
    """An owner path: its hops, then the table and the column with the person's key.

    ``where`` holds the columns whose values it asks for, with their tables.
    """

    hops: tuple[DeclaredHop, ...]
    end: Name
    column: str
    where: frozenset[tuple[Name, str]] = frozenset()

    @property
    def first_columns(self) -> tuple[str, ...]:
        """The columns of the section's own table that it begins with."""
        return tuple(here for here, _ in self.hops[0].pairs) if self.hops else (self.column,)

    @property
    def named(self) -> Sequence[tuple[Name, str]]:
        """Every column that it names, with its table."""
        pairs = [(hop, here, there) for hop in self.hops for here, there in hop.pairs]
        found = [(hop.table, here) for hop, here, _ in pairs]
        found += [(hop.target, there) for hop, _, there in pairs]
        return [*found, (self.end, self.column), *sorted(self.where, key=str)]


@dataclass(frozen=True, slots=True)
class Declared:
    """What a section over a table says, whoever says it: a model's or a file's."""

    section: str
    table: Name
    columns: Mapping[str, Disposition]
    facts: Facts
    paths: Sequence[DeclaredPath]
    order_by: Sequence[str] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    history: bool = False
    large_objects: frozenset[str] = frozenset()  # columns whose objects' content is exported

    @property
    def owners(self) -> frozenset[str]:
        """Columns of its own table that an owner path begins with."""
        return frozenset(name for path in self.paths for name in path.first_columns)

    @property
    def named(self) -> Sequence[tuple[Name, str]]:
        """Whatever columns it names, with their tables."""
        own = [(self.table, each) for each in (*self.columns, *self.order_by)]
        return [*own, *(each for path in self.paths for each in path.named)]


def declared(section: TableSection) -> Declared:
    """What a section over a model's table says."""
    name: Name = (section.table.schema, section.table.name)
    deleted = section.leave_out_deleted
    return Declared(
        section.name,
        name,
        section.columns,
        section.facts,
        [_path_of_model(name, each) for each in section.owner_paths],
        (),
        _reasons(section.columns, None if deleted is None else deleted.reason),
        section.history,
        section.large_objects,
    )


def _path_of_model(at: Name, path: OwnerPath) -> DeclaredPath:
    hops = []
    where = {(at, each.column) for each in path.where}
    for hop in path.hops:
        target: Name = (hop.table.schema, hop.table.name)
        there = (column.name for column in hop.targets)
        hops.append(DeclaredHop(at, tuple(zip(hop.columns, there, strict=True)), target))
        at = target
        where |= {(at, each.column) for each in hop.where}
    return DeclaredPath(tuple(hops), at, path.column, frozenset(where))


def declared_in_file(file: SectionsFile, entry: SectionEntry) -> Declared:
    """What one ``[[section]]`` says."""
    owners = entry.owner
    if entry.table_name == file.subject.table_name and not owners:
        owners = (Owner(column=file.subject.key),)
    deleted = entry.leave_out_deleted
    return Declared(
        entry.name,
        entry.table_name,
        entry.dispositions(),
        file.facts_of(entry),
        [_path_in_file(entry.table_name, each) for each in owners],
        entry.order_by,
        _reasons(entry.dispositions(), None if deleted is None else deleted.reason)
        | _reasons_of_owners(entry),
        entry.history,
        frozenset(entry.large_objects),
    )


def _reasons_of_owners(entry: SectionEntry) -> dict[str, str]:
    return {
        f"owner {', '.join(_path_in_file(entry.table_name, each).first_columns)}": each.reason
        for each in entry.owner
        if each.reason is not None
    }


def _path_in_file(at: Name, owner: Owner) -> DeclaredPath:
    hops = []
    where = frozenset((each.table or at, each.column) for each in owner.where)
    for join in owner.path:
        hops.append(DeclaredHop(at, join.pairs, join.table))
        at = join.table
    return DeclaredPath(tuple(hops), at, owner.column, where)


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
