"""``sections.toml``: sections for any database, without Python. What it may say, and reading it.

The file says the same as a ``TableSection`` over models does; ``section_binding`` puts the two
together. Here nothing is known of the database: an unknown key, a missing one, a value of another
type, a column with two dispositions are refused, each by file, section and key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from backend.errors import SectionError
from backend.services.file_names import conditions, literals, parse_join
from backend.services.member_names import is_portable
from backend.services.nearest import hint
from backend.services.row_conditions import ColumnIs
from backend.services.row_conditions import Literal as Value
from backend.services.sections import Disposition, Exported, Facts, Masked, Withheld
from backend.services.wording import Wording
from backend.trusted_files import require_trusted_file

# A section's name becomes a file's in the archive.
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
# Ours, or files of the archive's own.
_RESERVED: Final = frozenset({"dsar_request", "meta", "index", "schemas"})
_FACT_NAMES: Final = tuple(each.name for each in fields(Facts))

Name = tuple[str | None, str]  # of a table: schema, or None for the connection's own, and name


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Join(_Strict):
    """One hop: ``here = table.there``, several pairs for a key of several columns.

    ``ignore_case``: the columns here of pairs that are written with ``~``.
    """

    table: Name
    pairs: tuple[tuple[str, str], ...]
    ignore_case: frozenset[str] = frozenset()


class Where(_Strict):
    """A condition on rows of ``table``, or of the section's own."""

    table: Name | None
    column: str
    values: tuple[Value, ...]

    @property
    def condition(self) -> ColumnIs:
        return ColumnIs(self.column, self.values)


class Owner(_Strict):
    """How rows lead to the person: joins in order, then the column with the person's key."""

    column: str
    path: tuple[Join, ...] = ()
    where: tuple[Where, ...] = ()
    reason: str | None = None  # how that is known, where no foreign key says it
    ignore_case: bool = False

    @field_validator("where", mode="before")
    @classmethod
    def _parse_where(cls, where: object) -> object:
        return conditions(where)

    @field_validator("path", mode="before")
    @classmethod
    def _parse_path(cls, path: object) -> object:
        if not isinstance(path, list):
            raise ValueError('must be a list of joins, for example ["order_id = orders.id"]')
        return tuple(parse_join(text) for text in path)

    @property
    def conditions(self) -> Mapping[Name | None, tuple[ColumnIs, ...]]:
        """What must hold, by table; None for the section's own."""
        return {
            table: tuple(each.condition for each in self.where if each.table == table)
            for table in {each.table for each in self.where}
        }


class Mask(_Strict):
    """A masked column; ``unless_own`` names the column with the key of the person it is about."""

    reason: str
    unless_own: str | None = None


class JsonParts(_Strict):
    """What becomes of parts of a JSON column, by dotted path."""

    withheld: dict[str, str] = {}
    masked: dict[str, Mask] = {}

    @field_validator("masked", mode="before")
    @classmethod
    def _short_masks(cls, masked: object) -> object:
        return _masks(masked)


class Deleted(_Strict):
    """Soft-deleted rows that are left out; ``deleted_when`` holds the values that mark them."""

    column: str
    reason: str
    deleted_when: tuple[Value, ...] = ()

    @field_validator("deleted_when", mode="before")
    @classmethod
    def _values(cls, values: object) -> object:
        return literals(values)


class SectionEntry(_Strict):
    """One ``[[section]]``."""

    name: str
    table: str
    schema_: str | None = Field(default=None, alias="schema")
    owner: tuple[Owner, ...] = ()
    exported: tuple[str, ...] = ()
    withheld: dict[str, str] = {}
    masked: dict[str, Mask] = {}
    json_: dict[str, JsonParts] = Field(default={}, alias="json")
    single: bool = False
    history: bool = False
    order_by: tuple[str, ...] = ()
    leave_out_deleted: Deleted | None = None
    facts: dict[str, Any] = {}
    title: Any = ""
    description: Any = ""
    labels: dict[str, Any] = {}
    units: dict[str, Any] = {}
    language: str | None = None
    files: dict[str, str] = {}
    large_objects: tuple[str, ...] = ()

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name) or name in _RESERVED or not is_portable(name):
            raise ValueError(
                f"{name!r} cannot be a section's name; use a-z, 0-9, '_' and '-', and not "
                + ", ".join(sorted(_RESERVED))
                + ", nor what Windows reserves (con, aux, nul, com1)"
            )
        return name

    @field_validator("owner", mode="before")
    @classmethod
    def _several_owners(cls, owner: object) -> object:
        owners = owner if isinstance(owner, list) else [owner]
        return tuple({"column": each} if isinstance(each, str) else each for each in owners)

    @field_validator("exported", "order_by", "large_objects", mode="before")
    @classmethod
    def _tuple(cls, names: object) -> object:
        return tuple(names) if isinstance(names, list) else names

    @field_validator("masked", mode="before")
    @classmethod
    def _short_masks(cls, masked: object) -> object:
        return _masks(masked)

    @field_validator("facts")
    @classmethod
    def _check_facts(cls, facts: dict[str, Any]) -> dict[str, Any]:
        return _known_facts(facts)

    @field_validator("title", "description")
    @classmethod
    def _check_text(cls, text: object) -> object:
        return _text(text)

    @field_validator("labels", "units")
    @classmethod
    def _check_texts(cls, texts: dict[str, Any]) -> dict[str, Any]:
        return {name: _text(text) for name, text in texts.items()}

    @property
    def table_name(self) -> Name:
        return (self.schema_, self.table)

    @property
    def wording(self) -> Wording:
        """How the readable page calls the section and its columns."""
        return Wording(
            title=self.title, description=self.description, labels=self.labels, units=self.units
        )

    def dispositions(self) -> dict[str, Disposition]:
        """Every column's disposition. Raises ``ValueError`` for a column that has two."""
        found: dict[str, Disposition] = {}
        for name, disposition in self._stated():
            if name in found:
                raise ValueError(f"the column {name!r} is declared twice; choose one disposition")
            found[name] = disposition
        if strange := sorted(set(self.json_) - set(self.exported)):
            raise ValueError(f"json: {', '.join(strange)} must stand in exported as well")
        return found

    def _stated(self) -> Iterator[tuple[str, Disposition]]:
        for name in self.exported:
            parts = self.json_.get(name)
            yield name, Exported() if parts is None else Exported(_paths(parts), as_json=True)
        for name, reason in self.withheld.items():
            yield name, Withheld(reason)
        for name, mask in self.masked.items():
            yield name, Masked(mask.reason, mask.unless_own)


class SubjectEntry(_Strict):
    """``[subject]``: the people's table, and the column by which a request names its person."""

    table: str
    key: str
    schema_: str | None = Field(default=None, alias="schema")

    @property
    def table_name(self) -> Name:
        return (self.schema_, self.table)


class ExemptEntry(_Strict):
    """One ``[[exempt]]``: a table, or columns of it, that no section needs to cover."""

    table: str
    reason: str
    schema_: str | None = Field(default=None, alias="schema")
    columns: tuple[str, ...] = ()
    history: bool = False

    @field_validator("columns", mode="before")
    @classmethod
    def _tuple(cls, names: object) -> object:
        return tuple(names) if isinstance(names, list) else names


class SectionsFile(_Strict):
    """The whole file. ``facts`` hold for every section that does not state its own."""

    version: Literal[1]
    subject: SubjectEntry
    section: list[SectionEntry]
    schemas: list[str] = []
    facts: dict[str, Any] = {}
    exempt: list[ExemptEntry] = []

    @field_validator("facts")
    @classmethod
    def _check_facts(cls, facts: dict[str, Any]) -> dict[str, Any]:
        return _known_facts(facts)

    def facts_of(self, section: SectionEntry) -> Facts:
        """The section's facts; one that nobody states is empty, and fails ``dsar coverage``."""
        required = dict.fromkeys(("purpose", "recipients", "retention"), "")
        return Facts(**(required | self.facts | section.facts))

    def table_names(self) -> set[Name]:
        """Every table that the file needs to know the columns of."""
        names = {self.subject.table_name, *(each.table_name for each in self.section)}
        return names | {
            join.table for each in self.section for owner in each.owner for join in owner.path
        }


def read_sections_file(path: Path) -> SectionsFile:
    """Read and check a ``sections.toml``. Raises ``SectionError`` naming file, section and key;
    ``SettingsError`` if another ordinary user could have written it, or it is no regular file.
    """
    require_trusted_file(path, "DSAR_SECTIONS_FILE")
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SectionError(
            f"{path} (DSAR_SECTIONS_FILE) cannot be read ({error.strerror}); check the path, or "
            "make one with: dsar sections draft"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SectionError(f"{path}: not TOML: {error}") from None
    try:
        file = SectionsFile.model_validate(content)
    except ValidationError as error:
        raise SectionError(f"{path}: " + ", and ".join(_problems(error, content))) from None
    _check_names(path, file)
    return file


def _check_names(path: Path, file: SectionsFile) -> None:
    names = [section.name for section in file.section]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise SectionError(f"{path}: two sections are named {', '.join(doubled)}; rename one")
    for section in file.section:
        try:
            section.dispositions()
        except ValueError as error:
            raise SectionError(f"{path}: section {section.name!r}: {error}") from None


def _paths(parts: JsonParts) -> Mapping[str, Withheld | Masked]:
    withheld = {path: Withheld(reason) for path, reason in parts.withheld.items()}
    masked = {path: Masked(mask.reason, mask.unless_own) for path, mask in parts.masked.items()}
    return withheld | masked


def _masks(masked: object) -> object:
    """Masks, of which a text alone is the reason."""
    if not isinstance(masked, dict):
        return masked
    return {k: {"reason": v} if isinstance(v, str) else v for k, v in masked.items()}


def _known_facts(facts: dict[str, Any]) -> dict[str, Any]:
    for name, text in facts.items():
        if name not in _FACT_NAMES:
            raise ValueError(_unknown(name, _FACT_NAMES))
        try:
            _text(text)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    return facts


def _text(text: object) -> object:
    texts = text.values() if isinstance(text, dict) else [text]
    if not all(isinstance(each, str) for each in texts):
        raise ValueError("must be a text, or one text a language")
    return text


def _unknown(name: str, known: tuple[str, ...]) -> str:
    meant = hint([name], known) or f"; known are {', '.join(known)}"
    return f"there is no key {name!r}{meant}"


_KEYS: Final[dict[str, type[BaseModel]]] = {
    "": SectionsFile,
    "subject": SubjectEntry,
    "section": SectionEntry,
    "exempt": ExemptEntry,
    "owner": Owner,
    "masked": Mask,
    "json": JsonParts,
    "leave_out_deleted": Deleted,
}


def _problems(error: ValidationError, content: Mapping[str, Any]) -> Iterator[str]:
    """Each problem as: section, key: what is wrong and what to do."""
    for problem in error.errors(include_url=False, include_input=False):
        parts = list(problem["loc"])
        where, rest = _where(parts, content)
        reason = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden" and rest:
            model = _KEYS[str(next((p for p in reversed(parts[:-1]) if p in _KEYS), ""))]
            known = tuple(each.alias or name for name, each in model.model_fields.items())
            reason, rest = _unknown(str(rest[-1]), known), rest[:-1]
        elif problem["type"] == "missing":
            reason = "is missing; state it"
        key = ".".join(str(part) for part in rest)
        yield ": ".join(filter(None, (where, key, f"{reason[:1].lower()}{reason[1:]}")))


def _where(parts: list[int | str], content: Mapping[str, Any]) -> tuple[str, list[int | str]]:
    if len(parts) > 1 and parts[0] in ("section", "exempt") and isinstance(parts[1], int):
        entry = content[parts[0]][parts[1]]
        label = entry.get("name") or entry.get("table") if isinstance(entry, dict) else None
        number = f"number {parts[1] + 1}"
        return f"{parts[0]} {repr(label) if isinstance(label, str) else number}", parts[2:]
    return "", parts
