"""A first ``sections.toml``, written from a database's foreign keys and the names of its columns.

What is sure is written down; what a person must decide stands as ``TODO``, and ``dsar coverage``
fails until none is left. The same schema gives the same text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from backend.errors import UsageError
from backend.services.base_types import stored_type
from backend.services.credential_names import Secrecy
from backend.services.draft_text import (
    comment_lines,
    join_text,
    key_text,
    list_lines,
    quoted,
    section_table_lines,
    table_lines,
)
from backend.services.member_names import is_portable
from backend.services.polymorphic import notes_on_pairs
from backend.services.reflection import Name, shown
from backend.services.schema_graph import ForeignKey, Schema, TableShape, Way, joined_by
from backend.services.section_binding import ACCOUNT
from backend.services.sections import FACT_MEANINGS, Reason
from backend.services.subject_keys import kind_of
from backend.services.telling_names import (
    ACTING,
    AUDIT,
    LIKE_A_PERSON,
    ORIGIN,
    looks_personal,
    tells,
    words,
)

# Where people usually are; the first that is there.
_PEOPLE: Final = (
    *("users", "user", "auth_user", "accounts_user", "customers", "customer", "people", "persons"),
    *("person", "members", "member", "clients", "client", "accounts", "account"),
    *("benutzer", "nutzer", "kunden", "kunde", "mitglieder", "personen"),
    *("utilisateurs", "personnes", "membres", "usuarios", "clientes", "personas"),
)
_DOUBT: Final = "TODO: does it give access? Say why it is withheld, or export it"
_WHOSE: Final = "TODO: whose key is it? Say why it is masked, export it, or add it to owner"
_WITHIN: Final = (
    "TODO: do credentials or other people stand in it? Withhold or mask their paths (json.…), and "
    "say what is left"
)
_NOT_BY_IT: Final = "TODO: why no rows are a person's by it"
_UNCOVERED: Final = "TODO: why no section needs to cover it"
_HEAD: Final = """\
# What an export holds of each person: drafted by `dsar sections draft`. Read it all, then settle
# every TODO; `dsar coverage` tells what is left.
#
# - exported: as it is. withheld: never even read, with the reason. masked: the row is kept, the
#   value replaced by a note; with unless_own only where that column names somebody else.
# - owner: how a row leads to the person. Several owners are united.
# - Soft-deleted rows are in. To leave them out:
#   leave_out_deleted = { column = "deleted_at", reason = "..." }
# - What the page calls a section, its columns and their units, where their names do not do:
#   title = "..."; labels.unit_price = "..."; units.weight = "kg". The README has every key.
version = 1
"""
_ABOUT_FACTS: Final = """\
# What Art. 15 of the GDPR wants told beside the data. These hold for every section; a section may
# state its own: facts.purpose = "...". Each may be one text a language: { en = "...", de = "..." }.
"""


def find_person(schema: Schema, table: str | None) -> TableShape:
    """The people's table: the one named (``schema.table`` too), else one of a usual name.

    Raises ``UsageError``.
    """
    if table is not None:
        # A name may hold a dot itself.
        parted = [(table[:dot], table[dot + 1 :]) for dot, sign in enumerate(table) if sign == "."]
        for name in [(None, table), *parted]:
            if found := schema.named(name):
                return found
    else:
        by_name = {name[1].lower(): shape for name, shape in schema.tables.items()}
        for usual in _PEOPLE:
            if usual in by_name:
                return by_name[usual]
    there = ", ".join(sorted(shown(name) for name in schema.tables)) or "none at all"
    raise UsageError(f"which table are the people in? Say --subject-table NAME; there are: {there}")


def find_key(person: TableShape, key: str | None) -> str:
    """The column by which a request names a person: the one given, else the primary key.

    Raises ``UsageError``.
    """
    if key is not None and key in person.columns:
        return key
    if key is None and len(person.primary_key) == 1:
        return person.primary_key[0]
    raise UsageError(
        f"by which column of {shown(person.name)} does a request name a person? Say --subject-key "
        f"COLUMN; there are: {', '.join(person.columns)}"
    )


def draft(schema: Schema, person: TableShape, key: str, schemas: Sequence[str] = ()) -> str:
    """The text of a first ``sections.toml``; valid, and told by ``coverage`` what it lacks.

    ``schemas`` are those that coverage is to look at beside the connection's own.
    """
    return "\n".join(_Drafting(schema, person, key, schemas).lines()) + "\n"


@dataclass
class _Plan:
    """What will be said of one table."""

    table: TableShape
    name: str
    owners: Sequence[Way]
    notes: list[str] = field(default_factory=list)
    exported: list[str] = field(default_factory=list)
    withheld: dict[str, str] = field(default_factory=dict)
    masked: dict[str, str | None] = field(default_factory=dict)  # unless_own
    asked: Sequence[str] = ()  # masked, and a person must say why
    structured: list[str] = field(default_factory=list)  # exported, and holds what no name tells


class _Drafting:
    def __init__(
        self, schema: Schema, person: TableShape, key: str, schemas: Sequence[str]
    ) -> None:
        self._schema = schema.about(person.name, key)
        self._schemas = schemas
        self._person = person
        self._key = key
        self._distances = self._schema.distances(person.name)
        # Of tables that lead to no person by themselves, and get a section all the same.
        self._beyond = {table.name: ways[0] for table, ways in self._referred()}
        self._names = {ACCOUNT, "dsar_request", "meta", "index", "schemas"}

    def lines(self) -> Iterator[str]:
        yield _HEAD
        if self._schemas:
            yield from list_lines("schemas", list(self._schemas))
            yield ""
        yield "[subject]"
        yield from table_lines(self._person.name)
        yield f"key = {quoted(self._key)}"
        yield ""
        yield _ABOUT_FACTS + "[facts]"
        for name, (meaning, article) in FACT_MEANINGS.items():
            yield f"{name} = {quoted(f'TODO: {meaning} ({article})')}"
        plans = list(self._plans())
        for plan in plans:
            yield from self._section(plan)
        for plan in plans:
            if plan.structured:
                yield from self._exempted(plan.table, plan.structured, (), _WITHIN)
        for table, columns, notes in (*self._missed(plans), *notes_on_pairs(self._schema)):
            yield from self._exempted(table, columns, notes, _NOT_BY_IT)
        for table, notes in self._exempt():
            yield from self._exempted(table, (), notes, _UNCOVERED)

    def _exempted(
        self, table: TableShape, columns: Sequence[str], notes: Sequence[str], reason: str
    ) -> Iterator[str]:
        yield from ("", *comment_lines(notes), "[[exempt]]")
        yield from table_lines(table.name)
        if columns:
            yield from list_lines("columns", columns)
        yield f"reason = {quoted(reason)}"

    # -- which tables ------------------------------------------------------------------------

    def _plans(self) -> Iterator[_Plan]:
        yield self._decide(_Plan(self._person, ACCOUNT, ((),)))
        for name in sorted(self._distances, key=lambda each: (self._distances[each], str(each))):
            if name != self._person.name and not self._schema.is_shown_by_ancestors(
                name, self._distances
            ):
                owners = self._schema.ways(name, self._person.name)
                table = self._schema.tables[name]
                yield self._decide(
                    _Plan(table, self._named(name), owners, self._notes(name, owners))
                )
        for table, ways in self._referred():
            names = ", ".join(name for (back,) in ways for name in back.target_columns)
            note = f"The person's own row refers to it: {shown(self._person.name)}.{names}."
            yield self._decide(_Plan(table, self._named(table.name), ways, [note]))

    def _referred(self) -> Iterator[tuple[TableShape, Sequence[Way]]]:
        """Tables that the person's row refers to and that look personal, such as an address."""
        targets = dict.fromkeys(key.target for key in self._schema.keys_of(self._person.name))
        for name in targets:
            table = self._schema.tables.get(name)
            if table is None or name in self._distances:
                continue
            if self._schema.personal(name) and not _is_people(table):
                yield table, list(self._schema.ways_by_key(name, self._person.name))

    def _missed(
        self, plans: Sequence[_Plan]
    ) -> Iterator[tuple[TableShape, Sequence[str], Sequence[str]]]:
        """Keys by which a table's rows may be people's beside those that its owner goes."""
        hidden = {plan.table.name: {*plan.withheld, *plan.masked} for plan in plans}
        for plan in plans:
            taken = {(way[0].columns, way[0].target) for way in plan.owners if way}
            ways = self._schema.ways_by_key(plan.table.name, self._person.name, self._beyond)
            for way in ways:
                key = way[0]
                turned = key not in self._schema.keys_of(plan.table.name)
                table = self._person if turned else plan.table
                columns = key.target_columns if turned else key.columns
                if (key.columns, key.target) in taken or hidden[table.name] >= set(columns):
                    continue
                which = f"{shown(table.name)}.{', '.join(columns)}"
                yield (
                    table,
                    columns,
                    [
                        f"By {which}, too, rows of {plan.name} may be a person's. If they are, add "
                        "to its owner",
                        f"  {self._way(way)}",
                        "Or say here why not.",
                    ],
                )

    def _exempt(self) -> Iterator[tuple[TableShape, list[str]]]:
        covered = {*self._distances, *self._beyond}
        linked = self._schema.linked(self._person.name)
        for name in sorted(self._schema.tables, key=str):
            table = self._schema.tables[name]
            if name in covered:
                continue
            notes = []
            for link in linked.get(name, ()):
                notes += self._as_section(f"Linked to people by {joined_by(link)}.", link.way)
            for key in self._schema.keys_of(name):
                if key.target in self._beyond:
                    what = f"Refers by {', '.join(key.columns)} to {shown(key.target)}."
                    notes += self._as_section(what, (key, *self._beyond[key.target]))
            looks = self._schema.personal(name) + self._schema.like_keys(name, self._person.name)
            if personal := dict.fromkeys(looks):
                notes.append(
                    f"{', '.join(personal)}: looks personal, and no foreign key leads to a person."
                )
            if notes:
                yield table, [*notes, "Say here why it is exempt, or cover it by a section."]

    def _as_section(self, what: str, way: Way) -> list[str]:
        return [
            f"{what} To export such rows make it a section instead, with",
            f"  owner = {self._way(way)}",
        ]

    def _named(self, name: Name) -> str:
        base = "_".join(words(name[1])) or "table"
        base = base if base.isascii() and is_portable(base) else "table"
        found, number = base, 1
        while found in self._names:
            number += 1
            found = f"{base}_{number}"
        self._names.add(found)
        return found

    def _notes(self, name: Name, ways: Sequence[Way]) -> list[str]:
        notes = []
        if ancestors := self._schema.tables[name].ancestors:
            notes.append(
                f"Inherits {', '.join(map(shown, ancestors))}: its rows are shown there as well, "
                f"without {', '.join(self._schema.own_columns(name))}."
            )
        if any(key.guessed for way in ways for key in way):
            notes.append(
                "No foreign key says so: guessed from the columns' names. Check the owner."
            )
        return notes

    # -- which columns -----------------------------------------------------------------------

    def _decide(self, plan: _Plan) -> _Plan:
        table = plan.table
        keys = {key.columns[0]: key for key in self._schema.keys_of(table.name) if _single(key)}
        to_person = [name for name, key in keys.items() if key.target == self._person.name]
        acting = self._acting(table, to_person)
        secret = self._schema.secret(table.name, self._person.name)
        plan.asked = self._schema.like_keys(table.name, self._person.name)
        for name, column in table.columns.items():
            if name in secret and (table is not self._person or name != self._key):
                sure = secret[name] is Secrecy.SURE
                plan.withheld[name] = str(Reason.CREDENTIAL) if sure else _DOUBT
            elif name in keys:
                self._decide_reference(plan, name, keys[name], to_person)
            elif self._is_of_who_acted(table, name, acting):
                plan.masked[name] = acting
            elif name in plan.asked:
                plan.masked[name] = name if self._is_like_the_key(column) else None
            else:
                plan.exported.append(name)
            if name in plan.exported and _is_structured(column.type):
                plan.structured.append(name)
                plan.notes.append(
                    f"{name} is JSON. Secrets in it: "
                    f'json.{key_text(name)}.withheld = {{ "a.*.b" = "credential" }}'
                )
        return plan

    def _decide_reference(
        self, plan: _Plan, name: str, key: ForeignKey, to_person: Sequence[str]
    ) -> None:
        if key.target == self._person.name:
            # With one such column the row is theirs; with several it may name somebody else.
            if len(to_person) > 1 or plan.table is self._person:
                plan.masked[name] = name
                return
        else:
            target = self._schema.tables.get(key.target)
            if target is not None and key.target not in self._distances and _is_people(target):
                plan.masked[name] = None
                return
        plan.exported.append(name)

    def _is_like_the_key(self, column: sa.Column[Any]) -> bool:
        return kind_of(column) is kind_of(self._person.columns[self._key])

    def _acting(self, table: TableShape, to_person: Sequence[str]) -> str | None:
        """The column that says who did what an audit log tells."""
        return next((name for name in to_person if tells(name, ACTING)), None)

    def _is_of_who_acted(self, table: TableShape, name: str, acting: str | None) -> bool:
        """Whether a column of an audit log tells of whoever acted, who may be staff."""
        if not tells(table.name[1], AUDIT):
            return False
        if tells(name, ORIGIN):
            return acting is not None
        return tells(name, ACTING) and looks_personal("", name)

    # -- as text -----------------------------------------------------------------------------

    def _section(self, plan: _Plan) -> Iterator[str]:
        yield from ("", *comment_lines(plan.notes), "[[section]]")
        yield f"name = {quoted(plan.name)}"
        yield from section_table_lines(plan.table, single=plan.table is self._person)
        if plan.table is not self._person:
            yield from self._owner(plan.owners)
        yield from list_lines("exported", plan.exported)
        for name, reason in plan.withheld.items():
            yield f"withheld.{key_text(name)} = {quoted(reason)}"
        for name, own in plan.masked.items():
            reason = quoted(_WHOSE if name in plan.asked else str(Reason.OTHER_PERSON))
            own_part = "" if own is None else f", unless_own = {quoted(own)}"
            value = f"{{ reason = {reason}{own_part} }}" if own_part else reason
            yield f"masked.{key_text(name)} = {value}"

    def _owner(self, ways: Sequence[Way]) -> Iterator[str]:
        entries = [self._way(way) for way in ways]
        if len(entries) == 1:
            yield f"owner = {entries[0]}"
        elif all(entry.startswith('"') for entry in entries):
            yield f"owner = [{', '.join(entries)}]"
        else:
            yield from ("owner = [", *(f"  {entry}," for entry in entries), "]")

    def _way(self, way: Way) -> str:
        *joins, last = way
        column = last.columns[0]
        if last.target_columns != (self._key,) or not _single(last):
            joins.append(last)
            column = self._key
        if not joins:
            return quoted(column)
        path = ", ".join(join_text(key) for key in joins)
        return f"{{ path = [{path}], column = {quoted(column)} }}"


def _is_structured(kind: sa.types.TypeEngine[Any]) -> bool:
    """Whether values have parts of any name: JSON and its like, or an array of such."""
    kind = stored_type(kind)
    if isinstance(kind, sa.ARRAY):
        return _is_structured(kind.item_type)
    return isinstance(kind, sa.JSON) or kind.__visit_name__ in ("HSTORE", "XML")


def _single(key: ForeignKey) -> bool:
    return len(key.columns) == 1


def _is_people(table: TableShape) -> bool:
    """Whether a table looks as if each row were a person: staff, for example."""
    return any(tells(name, LIKE_A_PERSON) for name in table.columns)
