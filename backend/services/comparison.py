"""Comparing keys: beside what an index can serve, what takes no two people for one.

A database may compare more loosely than the people's own key: MariaDB's collations fold case,
accents and trailing blanks, PostgreSQL's citext and nondeterministic collations do, so do NOCASE
and the affinities of SQLite; and a text beside a number is compared as a floating-point number.

Every comparison of an owner path keeps the form that an index serves. Where that form may be
looser, the same values are compared as their octets as well. What no octets can repair (a column
that stores less than the key has) is refused: ``refusal``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement

from backend.services.base_types import narrowed_by, stored_type
from backend.services.padded_texts import BPCHAR, Padded

# In a column's ``info``: how its database compares it, where that was read from the database.
COLLATION: Final = "dsar_collation"
# And that a unique index was read from it, where SQLAlchemy may have missed the constraint.
UNIQUE: Final = "dsar_unique"
_OCTETS_OF_A_UUID: Final = 16
# Dialects whose statements are written by MariaDB's compiler.
_MARIADB: Final = ("mysql", "mariadb")


@dataclass(frozen=True, slots=True)
class Collation:
    """How a database compares a column. ``exact``: by its octets alone.

    ``sql`` is what makes another value be compared so, for this column's index; "" where nothing
    is known to do that. ``keeps_blanks``: of a ``bpchar`` of PostgreSQL's, without a length.
    """

    name: str
    exact: bool = False
    sql: str = ""
    keeps_blanks: bool = field(default=False, compare=False)


# SQLite's, of a column without a type: it may hold one key as a number, and as a text.
UNTYPED: Final = Collation("no type")


class Family(StrEnum):
    """What a column holds, as far as comparing goes."""

    WHOLE = "whole numbers"
    DECIMAL = "decimal numbers"
    FLOAT = "floating-point numbers"
    TEXT = "text"
    UUID = "UUIDs"
    OCTETS = "octets"
    UNKNOWN = "values of an unknown type"
    OTHER = "values of another type"


_NUMBERS: Final = frozenset({Family.WHOLE, Family.DECIMAL, Family.FLOAT})


def family_of(column: sa.Column[Any]) -> Family:
    """What this column holds, below domains and decorators."""
    kind = stored_type(column.type)
    for family, types in _TYPES:
        if isinstance(kind, types):
            return family
    return Family.OTHER


# In this order: a Float is a Numeric, an Enum a String.
_TYPES: Final[Sequence[tuple[Family, Any]]] = (
    (Family.OTHER, (sa.Boolean, sa.Enum)),
    (Family.WHOLE, sa.Integer),
    (Family.FLOAT, sa.Float),
    (Family.DECIMAL, sa.Numeric),
    (Family.UUID, sa.Uuid),
    (Family.OCTETS, sa.types._Binary),
    (Family.TEXT, sa.String),
    (Family.UNKNOWN, (sa.types.NullType, sa.types.UserDefinedType)),
)


def refusal(
    here: sa.Column[Any], target: sa.Column[Any], dialect: str, *, is_key: bool = False
) -> str | None:
    """Why this column cannot be compared with ``target`` without taking two values for one.

    None where it can. ``is_key``: the target is the people's key, which is written as the column
    holds it.
    """
    mine, theirs = family_of(here), family_of(target)
    if dialect == "sqlite":
        return _refusal_on_sqlite(mine, theirs)
    if mine is Family.OTHER and theirs is Family.OTHER:
        same = _plain_type(here) == _plain_type(target)
        return None if same else f"it is {_plain_type(here)}, and that {_plain_type(target)}"
    if dialect == "postgresql" and mine is not theirs and Family.UNKNOWN in (mine, theirs):
        return _differ(mine, theirs)  # PostgreSQL has no comparison of the two, or an own one
    if Family.UNKNOWN in (mine, theirs) or (mine is theirs is not Family.FLOAT):
        return None
    if (mine, theirs) == (Family.FLOAT, Family.FLOAT) and not is_key:
        return None if _plain_type(here) == _plain_type(target) else "they round differently"
    if {mine, theirs} == {Family.WHOLE, Family.DECIMAL}:
        return None
    if (mine, theirs) == (Family.TEXT, Family.WHOLE):
        return None
    if is_key and {mine, theirs} <= {Family.TEXT, Family.UUID, Family.OCTETS}:
        return None  # ``subject_keys`` writes a UUID in each way
    if {mine, theirs} == {Family.TEXT, Family.UUID} and (dialect in _MARIADB or mine is not theirs):
        return None if dialect in _MARIADB or mine is Family.TEXT else _differ(mine, theirs)
    return _differ(mine, theirs)


def _differ(mine: Family, theirs: Family) -> str:
    return f"it holds {mine}, and that {theirs}"


def _refusal_on_sqlite(mine: Family, theirs: Family) -> str | None:
    """SQLite keeps any value in any column, but a column of numbers makes numbers of texts."""
    numeric = (*_NUMBERS, Family.OTHER)
    if mine is Family.FLOAT and theirs is not Family.FLOAT:
        return _differ(mine, theirs)
    if mine in numeric and theirs not in numeric:
        return (
            f"SQLite makes numbers of the texts in it ('012' becomes 12), and that holds {theirs}"
        )
    return None


def _plain_type(column: sa.Column[Any]) -> str:
    return str(stored_type(column.type).__visit_name__)


# -- conditions ----------------------------------------------------------------------------------


class Match(StrEnum):
    """How the last column of an owner path is compared with the person's key."""

    EXACT = "exact"  # by its octets, beside what an index serves
    AS_KEY = "as the key"  # it is compared as the people's own unique key is
    UUID_TEXT = "UUID as text"  # the key is a UUID, which a text may write in capitals
    IGNORE_CASE = "ignore case"  # declared so


def is_padded(column: sa.Column[Any]) -> bool:
    """Whether the database may compare the column without the blanks at its end, by its type."""
    known: Collation | None = column.info.get(COLLATION)
    named = known is not None and known.name == BPCHAR
    return named or stored_type(column.type).__visit_name__ in ("CHAR", "NCHAR")


def is_loose(column: sa.Column[Any]) -> bool:
    """Whether the database may take two of this column's values for one."""
    known: Collation | None = column.info.get(COLLATION)
    if known is not None:
        return not known.exact
    return family_of(column) in (Family.TEXT, Family.UNKNOWN)


def compared_alike(here: sa.Column[Any], target: sa.Column[Any]) -> bool:
    """Whether ``target`` is unique, and this column is compared just as it is.

    Then the database itself takes no two of the target's values for one, and what it takes for a
    value of the target is that one's: a foreign key between the two says the same.
    """
    mine, theirs = here.info.get(COLLATION), target.info.get(COLLATION)
    return mine is not None and mine == theirs and mine.sql != "" and is_unique(target)


def is_unique(column: sa.Column[Any]) -> bool:
    """Whether the database keeps every value of the column to one row."""
    table = column.table
    if not isinstance(table, sa.Table):
        return False
    if column.info.get(UNIQUE):
        return True
    alone = {str(column.name)}
    unique: list[Any] = [table.primary_key]
    unique += [each for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
    for index in table.indexes:
        # One of PostgreSQL's or SQLite's may be of some rows alone.
        partial = any(index.dialect_options[name].get("where") is not None for name in _PARTIAL)
        if index.unique and not partial and len(index.expressions) == 1:
            unique.append(index)
    return any({str(each.name) for each in found.columns} == alone for found in unique)


_PARTIAL: Final = ("postgresql", "sqlite")


def matching(
    column: sa.Column[Any], parameter: ColumnElement[Any], match: Match
) -> ColumnElement[bool]:
    """The condition that a column holds the person's key."""
    if match is Match.IGNORE_CASE:
        return Folded(column) == Folded(parameter)
    if match is Match.UUID_TEXT:
        capitals = sa.func.upper(parameter, type_=column.type)
        return sa.or_(_equal(column, parameter), _equal(column, capitals))
    if match is Match.AS_KEY or not is_loose(column):
        return _compared(column) == _for_column(column, parameter)
    if column.info.get(COLLATION) == UNTYPED:
        written = (sa.cast(parameter, each) for each in (sa.BigInteger, sa.Text))
        return sa.or_(column == parameter, *(column == each for each in written)) & (
            Octets(column) == Octets(parameter)
        )
    return _equal(column, parameter)


def _equal(column: sa.Column[Any], value: ColumnElement[Any]) -> ColumnElement[bool]:
    served = _compared(column) == _for_column(column, value)
    return sa.and_(served, Octets(column) == Octets(value))


def _for_column(column: sa.Column[Any], value: ColumnElement[Any]) -> ColumnElement[Any]:
    """The value as this column's index can be searched for it."""
    return Padded(value) if is_padded(column) else value


def _compared(column: sa.Column[Any]) -> ColumnElement[Any]:
    """The column, of whose type SQLAlchemy knows how to compare it: a domain's it does not."""
    if narrowed_by(column.type) is None:
        return column
    return sa.type_coerce(column, stored_type(column.type))


def joining(
    pairs: Sequence[tuple[sa.Column[Any], sa.Column[Any], bool]], inner: ColumnElement[bool]
) -> ColumnElement[bool]:
    """The condition that columns here equal columns of a row for which ``inner`` holds.

    ``pairs``: each column here, the one there, and whether capitals do not matter. As ``IN
    (SELECT …)`` that refers to nothing outside, so that it is a join with the indexes of both.
    """
    here: list[ColumnElement[Any]] = []
    there: list[ColumnElement[Any]] = []
    for column, target, ignore_case in pairs:
        if ignore_case:
            here.append(Folded(column))
            there.append(Folded(target))
            continue
        if _as_uuid_text(column, target):
            here.append(Folded(column))
            there.append(Octets(target))
            continue
        here.append(_compared(column))
        there.append(_for_index_of(column, target))
        if not _joins_exactly(column, target):
            here.append(Octets(column))
            there.append(Octets(target))
    local = here[0] if len(here) == 1 else sa.tuple_(*here)
    return local.in_(sa.select(*there).where(inner))


def _joins_exactly(column: sa.Column[Any], target: sa.Column[Any]) -> bool:
    if compared_alike(column, target):
        return True
    return not (is_loose(column) or is_loose(target)) and _is_one_family(column, target)


def _is_one_family(column: sa.Column[Any], target: sa.Column[Any]) -> bool:
    text = (family_of(column) is Family.TEXT, family_of(target) is Family.TEXT)
    return text[0] is text[1]


def _as_uuid_text(column: sa.Column[Any], target: sa.Column[Any]) -> bool:
    return family_of(column) is Family.TEXT and family_of(target) is Family.UUID


def _for_index_of(column: sa.Column[Any], target: sa.Column[Any]) -> ColumnElement[Any]:
    """The target as this column's index can be searched for it."""
    mine, theirs = column.info.get(COLLATION), target.info.get(COLLATION)
    mixed = not _is_one_family(column, target)
    if (mixed and family_of(column) is Family.TEXT) or (mine and theirs and mine != theirs):
        return _Indexed(target, mine.sql if mine else "", mixed, is_padded(column))
    return target


# -- expressions ---------------------------------------------------------------------------------


class Octets(FunctionElement[Any]):
    """A value as the octets of its text, equal only where these are."""

    type = sa.types.NullType()
    inherit_cache = True
    name = "octets"


class Folded(FunctionElement[Any]):
    """A text's octets with A to Z as a to z, whatever the database: no other letter is folded."""

    type = sa.types.NullType()
    inherit_cache = True
    name = "folded"


class _Indexed(FunctionElement[Any]):
    """A join's target as a text of another column's collation."""

    type = sa.types.NullType()
    inherit_cache = False
    name = "indexed"

    def __init__(self, target: sa.Column[Any], collation: str, as_text: bool, padded: bool) -> None:
        super().__init__(target)
        self.padded = padded
        self.collation = collation
        self.as_text = as_text


def _inner(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    (value,) = element.clauses
    text = str(compiler.process(value, **options))
    # A number that MariaDB shows with zeros before it is not kept with them.
    if isinstance(value, sa.Column) and family_of(value) is Family.WHOLE:
        return f"{text} + 0" if compiler.dialect.name in _MARIADB else text
    known = value.info.get(COLLATION) if isinstance(value, sa.Column) else None
    if known is not None and known.keeps_blanks:
        return f"textin(bpcharout({text}))"  # a cast to text takes the blanks away
    return text


@compiles(Octets)
def _octets(element: Octets, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({_inner(element, compiler, **options)} AS TEXT) COLLATE BINARY"


@compiles(Octets, "postgresql")
def _octets_on_postgresql(element: Octets, compiler: SQLCompiler, **options: Any) -> str:
    return f'CAST({_inner(element, compiler, **options)} AS TEXT) COLLATE "C"'


@compiles(Octets, "mysql", "mariadb")
def _octets_on_mariadb(element: Octets, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(CONVERT({_inner(element, compiler, **options)} USING utf8mb4) AS BINARY)"


@compiles(Folded)
def _folded(element: Folded, compiler: SQLCompiler, **options: Any) -> str:
    # Its lower() knows ASCII alone.
    return f"lower({_inner(element, compiler, **options)}) COLLATE BINARY"


@compiles(Folded, "postgresql")
def _folded_on_postgresql(element: Folded, compiler: SQLCompiler, **options: Any) -> str:
    return f'lower(CAST({_inner(element, compiler, **options)} AS TEXT) COLLATE "C")'


@compiles(Folded, "mysql", "mariadb")
def _folded_on_mariadb(element: Folded, compiler: SQLCompiler, **options: Any) -> str:
    # UTF-8's octets folded as Latin-1's letters: of what is not ASCII that changes some lead
    # octets to ones that stand before more octets than follow, so that no two texts become one.
    octets = f"CAST(CONVERT({_inner(element, compiler, **options)} USING utf8mb4) AS BINARY)"
    return f"CAST(LOWER(CONVERT({octets} USING latin1)) AS BINARY)"


@compiles(_Indexed)
def _indexed(element: _Indexed, compiler: SQLCompiler, **options: Any) -> str:
    text = _inner(element, compiler, **options)
    return f"CAST({text} AS TEXT)" if element.as_text else text


@compiles(_Indexed, "postgresql")
def _indexed_on_postgresql(element: _Indexed, compiler: SQLCompiler, **options: Any) -> str:
    text = f"CAST({_inner(element, compiler, **options)} AS TEXT)"
    text = f"CAST({text} AS bpchar)" if element.padded else text
    return f"{text} COLLATE {element.collation}" if element.collation else text


@compiles(_Indexed, "mysql", "mariadb")
def _indexed_on_mariadb(element: _Indexed, compiler: SQLCompiler, **options: Any) -> str:
    text = _inner(element, compiler, **options)
    if not element.collation:
        return text
    charset = element.collation.partition("_")[0]
    return f"CONVERT({text} USING {charset}) COLLATE {element.collation}"
