"""What a section is: where one part of a person's data lives, and what becomes of every column.

A section declares its table, one or more *owner paths* (how its rows lead to the person), and a
*disposition* for every column: exported, withheld or masked. From that one declaration come the
query and the JSON; a column without a disposition, or a disposition without a column, is a
``SectionError`` when the section is declared, not a surprise in somebody's export.

A plain function that yields rows can be a section too (``FunctionSection``), for what lives
outside the database.

The same is declared in three ways: over models (``dsar_collectors``), by functions, and in a
``sections.toml`` over any database (``sections_file``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from backend.errors import SectionError
from backend.services.file_values import require_paths
from backend.services.large_objects import require_objects
from backend.services.nearest import hint
from backend.services.owner_paths import Hop as Hop  # noqa: PLC0414  declared beside sections
from backend.services.owner_paths import OwnerPath as OwnerPath  # noqa: PLC0414
from backend.services.row_conditions import LeftOut
from backend.services.wording import FALLBACK_LANGUAGE, Text, Wording, in_language


class Reason(StrEnum):
    """Why a value is withheld or masked; stated in the export's ``meta.json``."""

    CREDENTIAL = "credential"  # a secret that gives access: never exported
    TRADE_SECRET = "trade secret"  # noqa: S105  GDPR recital 63
    OTHER_PERSON = "another person"  # GDPR Art. 15(4)
    INTERNAL = "internal bookkeeping, not personal data"


@dataclass(frozen=True, slots=True)
class Withheld:
    """The column is never even read (for a path within JSON: the value is replaced by a note).

    ``reason`` is a ``Reason``, or one in the declarer's own words.
    """

    reason: str

    @property
    def note(self) -> str:
        return f"[withheld: {self.reason}]"


# In place of a whole value of which a part is withheld or masked, and which cannot be parsed.
UNREADABLE: Final = Withheld("cannot be read as JSON, and a part of it is not to be shown")


@dataclass(frozen=True, slots=True)
class Masked:
    """The row is exported, this value replaced by a note; Art. 15(4) asks for no more.

    With ``unless_own`` (a column of the same table that holds a person's key) the value stays
    where that key is the data subject's; so it does for a path within JSON.
    """

    reason: str
    unless_own: str | None = None

    @property
    def note(self) -> str:
        return f"[masked: {self.reason}]"


@dataclass(frozen=True, slots=True)
class Exported:
    """The value is exported as it is.

    For a JSON column ``paths`` gives parts of it a disposition of their own: dotted keys, ``*``
    for any key or element, for example ``connections.*.secret``; of an array of JSON they lead from
    each element. What may hold such a part and cannot be taken apart is replaced whole; the rules
    are ``json_paths``'s. ``as_json`` says that a column of text holds JSON; it is then exported as
    JSON where it is that, else as the text.
    """

    paths: Mapping[str, Withheld | Masked] = field(default_factory=dict)
    as_json: bool = False


Disposition = Exported | Withheld | Masked
EXPORTED = Exported()


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What Art. 15(1)(a)–(h) and 15(2) want told beside a section's rows.

    Each is one text, or one a language, and nobody but who declares the section knows it: an empty
    one is not stated, which ``dsar coverage`` finds. What holds for the controller as a whole (who
    it is, the rights, whom to complain to) stands in the settings: ``backend.services.disclosure``.
    """

    purpose: Text  # (a)
    categories: Text = ""  # (b)
    recipients: Text  # (c)
    retention: Text  # (d), or the criteria that decide it
    source: Text = ""  # (g)
    automated_decisions: Text = ""  # (h); "none" if none
    transfers: Text = ""  # 15(2): to where outside the EEA, and the safeguards; "none" if none

    def told(self, language: str = FALLBACK_LANGUAGE) -> dict[str, str]:
        """Every fact by its name, in a language where it has that one."""
        return {name: in_language(getattr(self, name), language) for name in FACT_NAMES}


FACT_NAMES: Final = tuple(fact.name for fact in fields(Facts))
# What each fact says, and where the law wants it.
FACT_MEANINGS: Final = {
    "purpose": ("what the data is used for", "Art. 15(1)(a)"),
    "categories": ("what kinds of data these are", "Art. 15(1)(b)"),
    "recipients": ("who else gets it, or none", "Art. 15(1)(c)"),
    "retention": ("how long it is kept, or what decides that", "Art. 15(1)(d)"),
    "source": ("where it came from: the person, or from whom else", "Art. 15(1)(g)"),
    "automated_decisions": (
        "what a machine alone decides about the person, how, and what follows, or none",
        "Art. 15(1)(h)",
    ),
    "transfers": (
        "to where outside the EEA it goes and with what safeguards, or none",
        "Art. 15(2)",
    ),
}


def missing_facts(facts: Facts) -> list[str]:
    """The names of the facts that nobody stated yet. One in several languages must be in each."""
    return [name for name in FACT_NAMES if not is_stated(getattr(facts, name))]


def is_stated(text: Text) -> bool:
    """Whether somebody stated it: not empty, and not beginning with ``TODO``."""
    if isinstance(text, str):
        return bool(text.strip()) and not text.strip().upper().startswith("TODO")
    return bool(text) and all(map(is_stated, text.values()))


@dataclass(frozen=True, kw_only=True)
class TableSection:
    """A section read from one table. See the module's docstring.

    ``large_objects`` names columns of PostgreSQL's ``oid`` whose objects' content is exported.
    ``history`` exports each version of a row that MariaDB keeps (``WITH SYSTEM VERSIONING``).
    ``single`` makes the JSON file one object instead of an array. ``database`` says where the
    table lives: ``source`` (the people's data) or ``control`` (the requests). ``order_by`` must
    be what an index gives, or the database sorts. Soft-deleted rows are in, unless
    ``leave_out_deleted`` says which column marks them, and why they may be left out.
    ``language`` names the column with the person's language tag, if this section has one: the
    readable page is written in it. ``files`` names the columns that hold paths below a folder,
    with that folder: the files go into the archive. ``{key}`` in it stands for the person's key.
    ``key`` names the column with the person's own key, in the section of the people's table: a row
    that a database found by it, and whose key is another, is left out. ``created`` names the column
    that says when such a row was made.
    """

    name: str
    table: sa.Table
    owner_paths: tuple[OwnerPath, ...]
    columns: Mapping[str, Disposition]
    facts: Facts
    single: bool = False
    history: bool = False
    database: Literal["source", "control"] = "source"
    order_by: tuple[str, ...] = ()
    leave_out_deleted: LeftOut | None = None
    wording: Wording = field(default_factory=Wording)
    language: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    large_objects: frozenset[str] = frozenset()
    key: str | None = None
    created: str | None = None

    def __post_init__(self) -> None:
        real = {column.name for column in self.table.columns}
        declared = set(self.columns)
        where = f"section {self.name!r} ({self.table.name})"
        named = {*self.order_by, *(c for path in self.owner_paths for c in path.first_columns)}
        if self.leave_out_deleted:
            named.add(self.leave_out_deleted.column)
        if self.language:
            named.add(self.language)
        named |= {*self.deciding_columns(), *self.wording.labels, *self.wording.units, *self.files}
        named |= self.large_objects
        if unknown := sorted((declared | named) - real):
            lacks = f"the table has no column {', '.join(unknown)}"
            raise SectionError(f"{where}: {lacks}{hint(unknown, real)}")
        # Second: a column whose name is misspelt has no disposition either.
        if missing := sorted(real - declared):
            lacks = f"no disposition for {', '.join(missing)}"
            raise SectionError(f"{where}: {lacks}; declare each one exported, withheld or masked")
        shown = {name for name, each in self.columns.items() if isinstance(each, Exported)}
        for key, columns in (("files", set(self.files)), ("large_objects", self.large_objects)):
            if hidden := sorted(columns - shown):
                raise SectionError(f"{where}: {key}: {', '.join(hidden)} must be exported as well")
        if problem := require_objects(self.large_objects, self.table):
            raise SectionError(f"{where}: {problem}")
        parts = {n for n, d in self.columns.items() if isinstance(d, Exported) and d.paths}
        require_paths(where, {n: self.table.c[n].type for n in self.files}, parts)
        if not self.owner_paths:
            raise SectionError(f"{where}: no owner path leads to the person")
        if self.history and self.single:
            raise SectionError(
                f"{where}: history: one object cannot hold it; add a section over the same table"
            )
        for path in self.owner_paths:
            if problem := path.problem(self.table):
                raise SectionError(f"{where}: owner: where: {problem}")
        deleted = self.leave_out_deleted
        if deleted and (problem := deleted.problem(self.table)):
            raise SectionError(f"{where}: leave_out_deleted: {problem}")

    def read_columns(self) -> list[sa.Column[Any]]:
        """The columns that the query reads, in the table's order: never a withheld one."""
        wanted = {name for name, d in self.columns.items() if not isinstance(d, Withheld)}
        return [column for column in self.table.columns if column.name in wanted]

    def deciding_columns(self) -> set[str]:
        """The columns that masks, of columns or of paths, depend on."""
        whole = self.columns.values()
        parts = (part for d in whole if isinstance(d, Exported) for part in d.paths.values())
        masks = (each for each in (*whole, *parts) if isinstance(each, Masked))
        return {each.unless_own for each in masks if each.unless_own is not None}

    def proving_columns(self) -> set[str]:
        """The columns that say whose row it is, and since when."""
        return {name for name in (self.key, self.created) if name is not None}

    def extra_columns(self) -> list[sa.Column[Any]]:
        """Withheld columns that are read to decide about a mask, or whose row it is."""
        needed = self.deciding_columns() | self.proving_columns()
        return [
            column
            for column in self.table.columns
            if column.name in needed and isinstance(self.columns[column.name], Withheld)
        ]

    def owned_by(self, key: Any) -> ColumnElement[bool]:
        """The condition that a row belongs to the person with that key, by any owner path."""
        owned = self.owned_or_deleted(key)
        deleted = self.leave_out_deleted
        return owned if deleted is None else owned & deleted.kept(self.table)

    def owned_or_deleted(self, key: Any) -> ColumnElement[bool]:
        """As ``owned_by``, of the rows that are marked as deleted too."""
        return sa.or_(*(path.condition(self.table, key) for path in self.owner_paths))

    def reading(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        """A statement about rows of the section's table, of which it sees every version."""
        if not self.history:
            return statement
        for dialect in ("mariadb", "mysql"):
            statement = statement.with_hint(self.table, "FOR SYSTEM_TIME ALL", dialect)
        return statement

    def ordering(self) -> list[sa.Column[Any]]:
        """The order of the rows: as declared, else by primary key."""
        if self.order_by:
            return [self.table.c[name] for name in self.order_by]
        return list(self.table.primary_key.columns)


@dataclass(frozen=True, slots=True)
class Exemption:
    """A table, or columns of it, that no section needs to cover, and why. For ``dsar coverage``."""

    table: str
    reason: str
    columns: tuple[str, ...] = ()  # none: all of it
    schema: str | None = None
    history: bool = False  # of its rows; alone, where no column is named


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose data is collected, and for which request. Its repr shows nothing of it."""

    user_id: Any = field(repr=False)
    reference_id: str | None = field(repr=False)
    request_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class FunctionSection:
    """A section whose rows a function yields, for data that no table here holds.

    ``rows`` gets the ``Subject`` and yields mappings of names to values; it must yield that
    person's rows only, and may be called again for the same person.
    """

    name: str
    rows: Callable[[Subject], Iterable[Mapping[str, Any]]]
    facts: Facts
    single: bool = False
    wording: Wording = field(default_factory=Wording)


@dataclass(frozen=True, kw_only=True)
class FilesSection:
    """A section of files that a function yields: uploads in a store that no table here names.

    ``files`` gets the ``Subject`` and yields names and contents, each content in pieces; it must
    yield that person's files only, and may be called again for the same person. The section's own
    JSON lists them.
    """

    name: str
    files: Callable[[Subject], Iterable[tuple[str, Iterable[bytes]]]]
    facts: Facts
    single: Literal[False] = False
    wording: Wording = field(default_factory=Wording)

    def rows(self, subject: Subject) -> Iterator[Mapping[str, Any]]:
        """The files' names, without a byte of them read."""
        for name, _ in self.files(subject):
            yield {"name": name}


Section = TableSection | FunctionSection | FilesSection


def left_out(section: TableSection) -> tuple[dict[str, str], dict[str, str]]:
    """What is withheld, and what is masked: by column, or by column and path, with its reason."""
    withheld: dict[str, str] = {}
    masked: dict[str, str] = {}
    for name, disposition in section.columns.items():
        if isinstance(disposition, Withheld):
            withheld[name] = disposition.reason
        elif isinstance(disposition, Masked):
            masked[name] = disposition.reason
        else:
            for path, part in disposition.paths.items():
                target = withheld if isinstance(part, Withheld) else masked
                target[f"{name}.{path}"] = part.reason
    return withheld, masked
