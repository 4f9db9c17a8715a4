"""A first ``sections.toml``, written from a database's foreign keys and the names of its columns.

What is sure is written down; what a person must decide stands as ``TODO``, and ``dsar coverage``
fails until none is left. The same schema gives the same text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from backend.errors import UsageError
from backend.services.credential_names import Secrecy, secrecy
from backend.services.draft_columns import Deciding, Plan, single
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
from backend.services.other_people import (
    Peopled,
    by_address,
    is_team,
    peopled,
    through_team,
)
from backend.services.polymorphic import notes_on_pairs
from backend.services.reflection import Name, shown
from backend.services.schema_graph import ForeignKey, Schema, TableShape, Way, joined_by
from backend.services.section_binding import ACCOUNT
from backend.services.sections import FACT_MEANINGS
from backend.services.telling_names import ADDRESSED, LIKE_A_PERSON, tells, words

# Where people usually are.
_PEOPLE: Final = (
    *("users", "user", "authuser", "accountsuser", "customers", "customer", "people", "persons"),
    *("person", "benutzer", "nutzer", "kunden", "kunde", "mitglieder", "personen"),
    *("utilisateurs", "personnes", "membres", "usuarios", "clientes", "personas"),
)
# And where they are if each row says so: by a name, a user name, a password.
_PERHAPS_PEOPLE: Final = ("members", "member", "clients", "client", "accounts", "account")
_WITHIN: Final = (
    "TODO: do credentials or other people stand in it? Withhold or mask their paths (json.…), and "
    "say what is left"
)
_GUESSED: Final = (
    "TODO: guessed from names. Look whether these rows are the person's, and say how you know"
)
_BY_ADDRESS: Final = (
    "TODO: guessed from names. Is an address never another person's? Say how you know; with ~ in "
    "place of = its capitals do not matter"
)
_SHARED: Final = (
    "TODO: {} may be shared by several people. Look whether all its rows are the person's, and say "
    "how you know"
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
    """The people's table: the one named (``schema.table`` too), else the only one of a usual name.

    Raises ``UsageError``.
    """
    if table is not None:
        # A name may hold a dot itself.
        parted = [(table[:dot], table[dot + 1 :]) for dot, sign in enumerate(table) if sign == "."]
        for name in [(None, table), *parted]:
            if found := schema.named(name):
                return found
    elif people := _usual_people(schema):
        if len(people) == 1:
            return people[0]
        several = ", ".join(shown(each.name) for each in people)
        raise UsageError(
            f"which table are the people in: {several}? Say --subject-table NAME, and draft once "
            "for each that answers requests"
        )
    there = ", ".join(sorted(shown(name) for name in schema.tables)) or "none at all"
    raise UsageError(f"which table are the people in? Say --subject-table NAME; there are: {there}")


def _usual_people(schema: Schema) -> list[TableShape]:
    """The tables that people are in by their names, without those whose rows belong to others."""
    found = {name: schema.tables[name] for each in _PEOPLE for name in schema.called(each)}
    for each in _PERHAPS_PEOPLE:
        for name in schema.called(each):
            if any(_is_of_a_person(schema.tables[name], c) for c in schema.tables[name].columns):
                found[name] = schema.tables[name]
    # A customer that refers to a user is further data of that user.
    return [
        table
        for name, table in found.items()
        if not any(key.target in found and key.target != name for key in schema.keys_of(name))
    ]


def _is_of_a_person(table: TableShape, column: str) -> bool:
    """Whether a column says that each row is a person; an address of a team's does not."""
    kind = table.columns[column].type
    if secrecy(column, kind, table.name[1], table.columns) is Secrecy.SURE:
        return True
    return tells(column, LIKE_A_PERSON) and not (is_team(table) and tells(column, ADDRESSED))


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


class _Drafting:
    def __init__(
        self, schema: Schema, person: TableShape, key: str, schemas: Sequence[str]
    ) -> None:
        self._schema = schema = schema.about(person.name, key)
        self._schemas = schemas
        self._person = person = schema.shape(person.name)
        self._key = key
        self._distances = schema.distances(person.name)
        self._deciding = Deciding(schema, person, key)
        # Of tables that lead to no person by themselves, and get a section all the same.
        self._beyond = {table.name: ways[0] for table, ways in self._referred()}
        self._addressed = dict(self._by_address())
        self._beyond |= {
            name: (keys[0],)
            for name, keys in self._addressed.items()
            if name not in {*self._distances, *self._beyond}
            and self._is_found_by(schema.tables[name], [key.columns[0] for key in keys])
        }
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

    def _plans(self) -> Iterator[Plan]:
        yield self._deciding.decide(Plan(self._person, ACCOUNT, ((),)))
        for name in sorted(self._distances, key=lambda each: (self._distances[each], str(each))):
            if name != self._person.name and not self._schema.is_shown_by_ancestors(
                name, self._distances
            ):
                owners = self._schema.ways(name, self._person.name)
                table = self._schema.tables[name]
                yield self._deciding.decide(
                    Plan(table, self._named(name), owners, self._notes(name, owners))
                )
        for table, ways in self._referred():
            names = ", ".join(name for (back,) in ways for name in back.target_columns)
            note = f"The person's own row refers to it: {shown(self._person.name)}.{names}."
            yield self._deciding.decide(Plan(table, self._named(table.name), ways, [note]))

        referred = {table.name for table, _ in self._referred()}
        for name in sorted(self._beyond.keys() - referred, key=str):
            table, ways = self._schema.tables[name], [(key,) for key in self._addressed[name]]
            plan = Plan(table, self._named(name), ways, self._notes(name, ways))
            yield self._deciding.decide(plan)

    @staticmethod
    def _is_found_by(table: TableShape, addresses: Sequence[str]) -> bool:
        """Whether rows with a person's address are theirs; people and teams have one themselves."""
        return not is_team(table) and peopled(table, beside=addresses) is not Peopled.YES

    def _by_address(self) -> Iterator[tuple[Name, list[ForeignKey]]]:
        """The tables that hold people's e-mail addresses or user names."""
        for name, table in self._schema.tables.items():
            known = {column for key in self._schema.keys_of(name) for column in key.columns}
            if keys := by_address(table, self._person, known):
                yield name, keys

    def _referred(self) -> Iterator[tuple[TableShape, Sequence[Way]]]:
        """Tables that the person's row refers to and that look personal, such as an address."""
        targets = dict.fromkeys(key.target for key in self._schema.keys_of(self._person.name))
        for name in targets:
            table = self._schema.tables.get(name)
            if table is None or name in self._distances:
                continue
            if self._schema.personal(name) and peopled(table) is Peopled.NO and not is_team(table):
                yield table, list(self._schema.ways_by_key(name, self._person.name))

    def _missed(
        self, plans: Sequence[Plan]
    ) -> Iterator[tuple[TableShape, Sequence[str], Sequence[str]]]:
        """Keys by which a table's rows may be people's beside those that its owner goes."""
        hidden = {plan.table.name: {*plan.withheld, *plan.masked} for plan in plans}
        for plan in plans:
            taken = {(way[0].columns, way[0].target) for way in plan.owners if way}
            by_address = self._addressed.get(plan.table.name, ())
            ways = self._schema.ways_by_key(plan.table.name, self._person.name, self._beyond)
            for way in (*ways, *((key,) for key in by_address)):
                key = way[0]
                turned = key not in (*self._schema.keys_of(plan.table.name), *by_address)
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
            for address in self._addressed.get(name, ()):
                notes += self._as_section("A person may be in it by an address.", (address,))
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

    # -- as text -----------------------------------------------------------------------------

    def _section(self, plan: Plan) -> Iterator[str]:
        yield from ("", *comment_lines(plan.notes), "[[section]]")
        yield f"name = {quoted(plan.name)}"
        yield from section_table_lines(plan.table, single=plan.table is self._person)
        if plan.table is not self._person:
            yield from self._owner(plan.table.name, plan.owners)
        yield from list_lines("exported", plan.exported)
        for name, reason in plan.withheld.items():
            yield f"withheld.{key_text(name)} = {quoted(reason)}"
        for name, mask in plan.masked.items():
            value = quoted(mask.reason)
            if mask.own is not None:
                value = f"{{ reason = {value}, unless_own = {quoted(mask.own)} }}"
            yield f"masked.{key_text(name)} = {value}"

    def _owner(self, of: Name, ways: Sequence[Way]) -> Iterator[str]:
        entries = [self._way(way, self._reason(of, way)) for way in ways]
        if len(entries) == 1:
            yield f"owner = {entries[0]}"
        elif all(entry.startswith('"') for entry in entries):
            yield f"owner = [{', '.join(entries)}]"
        else:
            yield from ("owner = [", *(f"  {entry}," for entry in entries), "]")

    def _reason(self, of: Name, way: Way) -> str | None:
        """What a person must decide about a way; None where the database's own keys say it."""
        if way[0] in self._addressed.get(of, ()):
            return _BY_ADDRESS
        if any(key.guessed for key in way):
            return _GUESSED
        team = through_team(self._schema, way, self._person.name)
        return None if team is None else _SHARED.format(shown(team))

    def _way(self, way: Way, reason: str | None = None) -> str:
        *joins, last = way
        column = last.columns[0]
        if last.target_columns != (self._key,) or not single(last):
            joins.append(last)
            column = self._key
        parts = [f"column = {quoted(column)}"]
        if joins:
            parts.insert(0, f"path = [{', '.join(join_text(key) for key in joins)}]")
        elif reason is None:
            return quoted(column)
        if reason is not None:
            parts.append(f"reason = {quoted(reason)}")
        return f"{{ {', '.join(parts)} }}"
