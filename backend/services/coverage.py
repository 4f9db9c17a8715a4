"""Is everything declared? The database's real schema against the sections, both ways.

Every table that leads to a person (see ``schema_graph``), and every column of it, must be exported,
withheld or masked by a section, or exempted with a reason; so must what looks personal elsewhere.
What a section or an exemption names must be there. Facts and reasons must be stated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from backend.errors import SectionError
from backend.extensions import Runtime
from backend.services.column_checks import exported_secrets, named_by_role
from backend.services.content_checks import content_elsewhere, history_elsewhere
from backend.services.declarations import Declared, declared, declared_in_file
from backend.services.disclosure import missing_settings
from backend.services.dsar_collectors import DSAR_REQUEST, collection
from backend.services.fact_checks import facts_missing, facts_of_others, is_todo
from backend.services.file_advice import advice_on_files, advice_on_json, advice_on_paths
from backend.services.file_checks import unusable
from backend.services.findings import Finding, Problem, Report
from backend.services.key_advice import advice_on_comparisons, advice_on_unique_key
from backend.services.owner_ways import astray, missed
from backend.services.polymorphic import paths_of_any_type, unfollowed_pairs
from backend.services.reflection import Name, inspecting, shown
from backend.services.relations import materialized_views
from backend.services.row_checks import look_at_rows
from backend.services.row_security import hidden_rows
from backend.services.schema_graph import (
    ForeignKey,
    Link,
    Schema,
    TableShape,
    joined_by,
    read_schema,
)
from backend.services.section_binding import exemptions_of
from backend.services.sections import (
    Exemption,
    Exported,
    TableSection,
)
from backend.services.sections_file import read_sections_file


def check_coverage(runtime: Runtime) -> Report:
    """Compare what this process declares with the source database's schema; reads it once.

    Adds advice on what no schema shows. Raises ``SectionError`` for a file that cannot be read at
    all, ``DatabaseUnreachable`` or ``DatabaseBusy``.
    """
    report = _compared(runtime)
    try:
        found = collection(runtime)
    except SectionError:
        return report  # which has the finding
    advice = (*advice_on_files(found.sections), *advice_on_paths(found.sections, found.exemptions))
    within = advice_on_json(found.sections, found.exemptions)
    keys = (*_advice_on_key(runtime, found.key), *advice_on_comparisons(found.sections, found.key))
    return replace(report, advice=(*advice, *within, *keys))


def _advice_on_key(runtime: Runtime, key: sa.Column[Any]) -> Iterator[str]:
    """Of a view no constraint is known."""
    table = key.table
    assert isinstance(table, sa.Table)
    with inspecting(runtime.source) as inspector:
        views = {
            *inspector.get_view_names(table.schema),
            *materialized_views(inspector, table.schema),
        }
    if table.name not in views:
        yield from advice_on_unique_key(key)


def _compared(runtime: Runtime) -> Report:
    path = runtime.settings.sections_file
    if path is None:
        found = collection(runtime)
        person: Name = (found.account.table.schema, found.account.table.name)
        tables = [
            declared(each)
            for each in found.sections
            if isinstance(each, TableSection) and each.database == "source"
        ]
        schemas = {None, *(each.table[0] for each in tables)}
        named = _named(person, tables, found.exemptions)
        schema = read_schema(runtime.source, schemas, named)
        check = _Check(schema, person, found.key.name, tables, found.exemptions)
        others = facts_of_others(found.sections)
        return check.report(
            [*check.findings(), *_hidden(runtime, tables), *facts_missing(others)],
            len(found.sections),
            missing_settings(runtime.settings),
        )
    file = read_sections_file(path)
    tables = [declared_in_file(file, each) for each in file.section]
    schemas = {None, *file.schemas, *(name[0] for name in file.table_names())}
    person, exemptions = file.subject.table_name, exemptions_of(file)
    schema = read_schema(runtime.source, schemas, _named(person, tables, exemptions))
    check = _Check(schema, person, file.subject.key, tables, exemptions)
    findings = [*check.findings(), *_hidden(runtime, tables)]
    findings += unusable(runtime, path, file, findings)
    findings += facts_missing(facts_of_others([DSAR_REQUEST]))
    missing = missing_settings(runtime.settings)
    return check.report(findings, len(file.section) + 1, missing)


def _named(
    person: Name, sections: Iterable[Declared], exemptions: Iterable[Exemption]
) -> set[Name]:
    """Every table or view that a declaration names."""
    exempt = {(each.schema, each.table) for each in exemptions}
    return {person, *exempt, *(name for each in sections for name, _ in each.named)}


def check_rows(runtime: Runtime, report: Report) -> Report:
    """Add to a report what a look at the tables' rows finds.

    Nothing of sections that cannot be used: the report says so. Raises ``DatabaseUnreachable``.
    """
    try:
        sections = collection(runtime).sections
    except SectionError:
        return report
    checks = look_at_rows(runtime, sections)
    return replace(
        report,
        findings=(*report.findings, *checks.findings),
        looked_at=checks.looked_at,
        not_looked_at=checks.not_looked_at,
    )


def _hidden(runtime: Runtime, tables: Sequence[Declared]) -> Iterator[Finding]:
    return hidden_rows(runtime.source, runtime.settings.source_key, tables)


class _Check:
    """The schema and the declarations, side by side."""

    def __init__(
        self,
        schema: Schema,
        person: Name,
        key: str,
        sections: Sequence[Declared],
        exemptions: Sequence[Exemption],
    ) -> None:
        shape = schema.named(person)
        self._schema = schema = schema if shape is None else schema.about(shape.name, key)
        self._person = person if shape is None else shape.name
        self._key = key
        self._sections = sections
        self._exemptions = exemptions
        self._exempted: defaultdict[Name, list[Exemption]] = defaultdict(list)
        for exemption in exemptions:
            if found := schema.named((exemption.schema, exemption.table)):
                self._exempted[found.name].append(exemption)
        self._by_table: defaultdict[Name, list[Declared]] = defaultdict(list)
        for each in sections:
            if found := schema.named(each.table):
                self._by_table[found.name].append(each)

    def report(
        self, findings: Iterable[Finding], sections: int, settings_missing: Sequence[str]
    ) -> Report:
        tables = self._schema.tables.values()
        columns = sum(len(table.columns) for table in tables)
        return Report(len(tables), columns, sections, tuple(findings), settings_missing)

    def findings(self) -> Iterator[Finding]:
        """Every gap between the two, tables in order of their names."""
        is_there = self._is_there(self._person)
        leading = self._schema.distances(self._person) if is_there else {}
        linked = self._schema.linked(self._person) if is_there else {}
        beyond = {n: self._passed(n) for n in self._by_table if is_there and n not in leading}
        for name in sorted({*self._schema.tables, *self._by_table}, key=str):
            table = self._schema.shape(name)
            refers = [key for key in self._schema.keys_of(name) if key.target in beyond]
            if name in self._by_table:
                yield from self._covered(table, beyond)
            elif any(each in self._by_table for each in table.ancestors):
                yield from self._beside_ancestors(table)
            elif name in leading:
                yield from self._uncovered(table, leading[name])
            elif name in linked or refers:
                yield from self._linked(table, linked.get(name, ()), refers)
            else:
                yield from self._looks_personal(table)
            yield from unfollowed_pairs(
                self._schema, table, self._by_table.get(name, ()), self._settled
            )
        for each in self._sections:
            yield from self._gone(each)
            yield from self._unreasoned(each)
            yield from astray(self._schema, (self._person, self._key), each, self._stated)
            yield from paths_of_any_type(self._schema, each, self._stated)
        yield from facts_missing((each.section, each.facts) for each in self._sections)
        for exemption in self._exemptions:
            yield from self._exemption(exemption)

    def _is_there(self, name: Name) -> bool:
        return self._schema.named(name) is not None

    def _exempt(self, table: TableShape) -> set[str]:
        """The columns of a table that were exempted, or all of them."""
        found: set[str] = set()
        for each in self._exempted.get(table.name, ()):
            found.update(each.columns or (() if each.history else table.columns))
        for ancestor in table.ancestors:
            found |= self._exempt(self._schema.shape(ancestor)).intersection(table.columns)
        return found

    def _stated(self, table: TableShape) -> set[str]:
        """The columns of a table that an exemption names one by one."""
        return {name for each in self._exempted.get(table.name, ()) for name in each.columns}

    def _covered(self, table: TableShape, beyond: Mapping[Name, Set[Name]]) -> Iterator[Finding]:
        sections = self._by_table[table.name]
        exempt = self._exempt(table)
        missing = [
            name
            for name in table.columns
            if name not in exempt and not any(name in each.columns for each in sections)
        ]
        if missing:
            yield Finding(
                Problem.COLUMN_UNCOVERED,
                "no disposition; declare each exported, withheld or masked",
                section=sections[0].section,
                table=shown(table.name),
                columns=missing,
            )
        yield from content_elsewhere(table, sections, exempt)
        history_exempt = any(e.history or not e.columns for e in self._exempted.get(table.name, ()))
        if not history_exempt:
            yield from history_elsewhere(table, sections)
        if self._is_there(self._person):
            yield from self._unmasked(table, sections)
            stated = self._stated(table)
            yield from exported_secrets(self._schema, self._person, table, sections, stated)
            # What joins them to people is no further way.
            further = [name for name, passed in beyond.items() if table.name not in passed]
            yield from missed(self._schema, self._person, table, sections, self._settled, further)

    def _unmasked(self, table: TableShape, sections: Sequence[Declared]) -> Iterator[Finding]:
        """Columns that are exported, and are called as if they held another person's key."""
        decided = self._settled(table).union(*(each.owners for each in sections))
        if names := [
            n for n in self._schema.like_keys(table.name, self._person) if n not in decided
        ]:
            yield Finding(
                Problem.LOOKS_PERSONAL,
                "looks like a person's key, though no foreign key says so; mask it, add it to "
                "owner, or exempt the column with a reason",
                section=sections[0].section,
                table=shown(table.name),
                columns=names,
            )
        yield from named_by_role(self._schema, self._person, table, sections[0].section, decided)

    def _passed(self, name: Name) -> set[Name]:
        """The tables that owner paths from this one pass."""
        hops = [hop for s in self._by_table[name] for path in s.paths for hop in path.hops]
        found = (self._schema.named(hop.target) for hop in hops)
        return {shape.name for shape in found if shape is not None}

    def _settled(self, table: TableShape) -> set[str]:
        """The columns of a table that are exempt, or that a section does not show."""
        hidden = {
            name
            for each in self._by_table.get(table.name, ())
            for name, disposition in each.columns.items()
            if not isinstance(disposition, Exported)
        }
        return hidden | self._exempt(table)

    def _beside_ancestors(self, table: TableShape) -> Iterator[Finding]:
        """Columns of rows that the section over an ancestor reads without them."""
        over = [name for name in table.ancestors if name in self._by_table]
        shown_there = {n for name in over for each in self._by_table[name] for n in each.columns}
        exempt = self._exempt(table)
        missing = [n for n in table.columns if n not in shown_there and n not in exempt]
        if missing:
            yield Finding(
                Problem.TABLE_UNCOVERED,
                f"its rows are rows of {', '.join(map(shown, over))} too, whose section holds none "
                "of these columns; add a section over this table, or exempt them with a reason",
                table=shown(table.name),
                columns=missing,
            )

    def _uncovered(self, table: TableShape, distance: int) -> Iterator[Finding]:
        missing = [name for name in table.columns if name not in self._exempt(table)]
        if not missing:
            return
        way = next(iter(self._schema.ways(table.name, self._person)), ())
        through = " → ".join(shown(key.target) for key in way)
        guessed = " by the names of its columns" if any(key.guessed for key in way) else ""
        yield Finding(
            Problem.TABLE_UNCOVERED,
            f"leads to a person{guessed} ({through}) and no section covers it; add one, or exempt "
            "the table with a reason",
            table=shown(table.name),
            columns=missing,
        )

    def _linked(
        self, table: TableShape, links: Sequence[Link], refers: Sequence[ForeignKey]
    ) -> Iterator[Finding]:
        missing = [name for name in table.columns if name not in self._exempt(table)]
        if not missing:
            return
        ways = [f"linked to people by {each}" for each in dict.fromkeys(map(joined_by, links))]
        ways += [
            f"refers by {', '.join(key.columns)} to {shown(key.target)}, whose rows a section holds"
            for key in refers
        ]
        yield Finding(
            Problem.LINKED,
            f"{'; '.join(ways)}; cover it by a section whose owner goes that way, or exempt it "
            "with a reason",
            table=shown(table.name),
            columns=missing,
        )

    def _looks_personal(self, table: TableShape) -> Iterator[Finding]:
        exempt = self._exempt(table)
        looks = self._schema.personal(table.name)
        if self._is_there(self._person):
            looks += self._schema.like_keys(table.name, self._person)
        personal = [name for name in dict.fromkeys(looks) if name not in exempt]
        if personal:
            yield Finding(
                Problem.LOOKS_PERSONAL,
                "looks personal, though no foreign key leads to a person; cover the table by a "
                "section, or exempt it (or these columns) with a reason",
                table=shown(table.name),
                columns=personal,
            )

    def _gone(self, section: Declared) -> Iterator[Finding]:
        table = self._schema.named(section.table)
        gone: dict[Name, list[str]] = {}
        for name, column in section.named:
            shape = self._schema.named(name)
            if shape is None:
                gone.setdefault(name, [])
            elif column not in shape.columns and column not in gone.get(name, ()):
                gone.setdefault(name, []).append(column)
        for name, columns in gone.items():
            what = "these columns" if columns else "this table"
            yield Finding(
                Problem.COLUMN_GONE if columns else Problem.TABLE_GONE,
                f"the section names {what}, and the database has none; take it out, or mend it",
                section=section.section,
                table=shown(name if table is None or name != section.table else table.name),
                columns=columns,
            )

    def _unreasoned(self, section: Declared) -> Iterator[Finding]:
        if places := [place for place, reason in section.reasons.items() if is_todo(reason)]:
            yield Finding(
                Problem.REASON_MISSING,
                "a person must decide here: give the reason, or export it",
                section=section.section,
                table=shown(section.table),
                columns=places,
            )

    def _exemption(self, exemption: Exemption) -> Iterator[Finding]:
        name = (exemption.schema, exemption.table)
        shape = self._schema.named(name)
        gone = [] if shape is None else [c for c in exemption.columns if c not in shape.columns]
        if shape is None or gone:
            yield Finding(
                Problem.COLUMN_GONE if gone else Problem.TABLE_GONE,
                "exempted, and the database has none; take the exemption out",
                table=shown(name),
                columns=gone,
            )
        if is_todo(exemption.reason):
            yield Finding(
                Problem.REASON_MISSING,
                "a person must decide here: say why it is exempt, or cover it by a section",
                table=shown(name),
                columns=exemption.columns,
            )
