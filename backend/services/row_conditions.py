"""Conditions on a section's rows that compare a column with values of the declaration.

Two kinds: a mark of soft deletion (``LeftOut``) and the equality that an owner path may ask for
(``ColumnIs``). Both leave rows out of somebody's export, so they hold for nothing but what is
certain: a text is compared letter by letter, whatever the column's collation or padding, and a
column whose values have no known meaning is refused when the section is declared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import Enum, auto
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement

from backend.services.base_types import base_type, narrowed_by, stored_type
from backend.services.nearest import hint

Literal = str | int | bool
_INT64: Final = range(-(2**63), 2**63)
_INSTEAD: Final = "or leave deleted rows in, or read a view of the rows to export"


class _Means(Enum):
    """What a column's values say."""

    TRUTH = auto()
    BIT = auto()
    NUMBER = auto()
    TIME = auto()
    TEXT = auto()
    NOTHING = auto()  # known here


def _meaning(column: sa.Column[Any]) -> _Means:
    kind = stored_type(column.type)
    if isinstance(base_type(column.type), sa.Interval) or kind.__visit_name__ == "SET":
        return _Means.NOTHING
    if kind.__visit_name__ == "BIT":
        one = getattr(kind, "length", None) in (None, 1) and not getattr(kind, "varying", False)
        return _Means.BIT if one else _Means.NOTHING
    for meaning, kinds in _KINDS.items():
        if isinstance(kind, kinds):
            return meaning
    return _Means.NOTHING


_KINDS: Final[dict[_Means, tuple[type[Any], ...]]] = {
    _Means.TRUTH: (sa.Boolean,),
    _Means.NUMBER: (sa.Integer, sa.Numeric, sa.Float),
    _Means.TIME: (sa.DateTime, sa.Date),
    _Means.TEXT: (sa.String,),
}


def _converted(column: sa.Column[Any]) -> bool:
    """Whether a decorator makes something else of what is stored."""
    return isinstance(base_type(column.type), sa.types.TypeDecorator)


def _may_be_null(column: sa.Column[Any]) -> bool:
    kind = column.type
    while (narrowed := narrowed_by(kind)) is not None:
        if getattr(kind, "not_null", False):
            return False
        kind = narrowed
    return bool(column.nullable)


@dataclass(frozen=True, slots=True)
class ColumnIs:
    """The condition that a column holds exactly one of these values; never NULL."""

    column: str
    values: tuple[Literal, ...]

    def problem(self, table: sa.Table) -> str | None:
        """What is wrong with comparing that column of ``table`` with them; None if nothing is."""
        column = table.c.get(self.column)
        if column is None:
            return f"the table has no column {self.column}{hint([self.column], table.c.keys())}"
        if not self.values:
            return f"{self.column}: state at least one value"
        meaning = _meaning(column)
        if meaning in (_Means.TIME, _Means.NOTHING):
            return (
                f"the column {self.column} is {_shown(column)}, which cannot be compared with a "
                "declared value; only texts, whole numbers and booleans can"
            )
        found = (_problem_of_value(column, meaning, each) for each in self.values)
        return next((each for each in found if each is not None), None)

    def example(self, column: sa.Column[Any], *, holds: bool) -> Any:
        """A value for which it holds, or one for which it just does not; for a scratch copy."""
        first = self.values[0]
        if isinstance(first, str):
            other = first.swapcase()
            return first if holds else None if other in self.values else other
        value = first if holds else not first
        return int(value) if _meaning(column) is _Means.NUMBER else bool(value)

    def holds(self, table: sa.Table) -> ColumnElement[bool]:
        """The condition on a row of ``table``."""
        column = table.c[self.column]
        meaning = _meaning(column)
        stored = sa.type_coerce(column, stored_type(column.type))
        return sa.or_(*(_equal(stored, meaning, each) for each in self.values))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Soft-deleted rows that an export leaves out: what marks them, and why they may be.

    Without ``deleted_when`` a boolean marks a row by true, a number by anything but 0, and a time
    that may be NULL by one that has passed since 1970 (not by NULL, a zero date, infinity or a
    time to come). Columns of text or of an enum need ``deleted_when``: the value, or values, that
    mean deleted; any other value, NULL among them, keeps a row in the export.
    """

    column: str
    reason: str
    deleted_when: Literal | Sequence[Literal] | None = None

    @property
    def _declared(self) -> ColumnIs | None:
        if self.deleted_when is None:
            return None
        several = not isinstance(self.deleted_when, (str, int))
        values: Any = self.deleted_when if several else (self.deleted_when,)
        return ColumnIs(self.column, tuple(values))

    def problem(self, table: sa.Table) -> str | None:
        """Why the column of ``table`` cannot be such a mark; None if it can."""
        column = table.c[self.column]
        if self._declared is not None:
            found = self._declared.problem(table)
            return None if found is None else f"{found}; correct deleted_when, {_INSTEAD}"
        meaning, named = _meaning(column), f"the column {self.column} is {_shown(column)}"
        if meaning is _Means.TEXT or (_converted(column) and meaning is not _Means.NOTHING):
            return f'{named}: state which value marks a deleted row: deleted_when = "..."'
        if meaning is _Means.TIME and not _may_be_null(column):
            return (
                f"{named} that is never NULL, so that nothing says which time means that a row is "
                f"not deleted; name another column, {_INSTEAD}"
            )
        if meaning is _Means.NOTHING:
            return f"{named}, of which no value is known to mark a row; name another, {_INSTEAD}"
        return None

    def kept(self, table: sa.Table) -> ColumnElement[bool]:
        """The condition that a row is not marked as deleted."""
        return sa.not_(sa.func.coalesce(self._marked(table), sa.false()))

    def _marked(self, table: sa.Table) -> ColumnElement[bool]:
        if self._declared is not None:
            return self._declared.holds(table)
        column = table.c[self.column]
        meaning, kind = _meaning(column), stored_type(column.type)
        stored = sa.type_coerce(column, kind)
        if meaning is _Means.TIME:
            zoned = isinstance(kind, sa.DateTime) and kind.timezone
            return _ZonedPassed(stored) if zoned else _Passed(stored)
        if meaning is _Means.TRUTH:
            return _IsTrue(stored)
        return _BitIsSet(stored) if meaning is _Means.BIT else _NotZero(stored)

    def example(self, column: sa.Column[Any], *, deleted: bool) -> Any:
        """A value of a row that is marked, or of one that just is not; for a scratch copy."""
        meaning = _meaning(column)
        if self._declared is not None:
            return self._declared.example(column, holds=deleted)
        if meaning in (_Means.TRUTH, _Means.BIT):
            return deleted
        if not deleted:
            return None
        if meaning is _Means.TIME:
            day = date(2001, 2, 3)
            return datetime.combine(day, time()) if isinstance(column.type, sa.DateTime) else day
        return 1

    def marks(self, value: Any) -> bool:
        """Whether a value of a scratch copy marks its row as deleted."""
        return bool(value) if self._declared is None else value in self._declared.values


def _shown(column: sa.Column[Any]) -> str:
    kind = stored_type(column.type)
    return "of an unknown type" if isinstance(kind, sa.types.NullType) else str(kind.__visit_name__)


# -- values of the declaration -------------------------------------------------------------------


def _problem_of_value(column: sa.Column[Any], meaning: _Means, value: Literal) -> str | None:
    """Why the column cannot hold this value; None if it can."""
    said = f"{column.name}: {value!r} cannot be a value of a column that is {_shown(column)}"
    if meaning is _Means.TEXT:
        if not isinstance(value, str):
            return f'{said}; write it as a text: "{str(value).lower()}"'
        return _problem_of_text(column, value, said)
    if isinstance(value, str):
        return f"{said}; write it without quotation marks, as true, false or a whole number"
    if meaning is not _Means.NUMBER and value not in (0, 1):
        return f"{said}; write true or false"
    return None if value in _INT64 else f"{said}; it is past 64 bits"


def _problem_of_text(column: sa.Column[Any], value: str, said: str) -> str | None:
    kind = stored_type(column.type)
    if isinstance(kind, sa.Enum):
        known = [each for each in kind.enums if each is not None]
        meant = hint([value], known) or f"; known are {', '.join(known)}"
        return None if value in known else f"{said}{meant}"
    length = getattr(kind, "length", None)
    if length is not None and len(value) > length:
        return f"{said} of {length} characters"
    if "\0" in value:
        return f"{said}; no text holds a NUL"
    if kind.__visit_name__ in ("CHAR", "NCHAR") and value.endswith(" "):
        return f"{said}; leave out the blanks at its end, which pad such a column"
    return None


def _equal(stored: ColumnElement[Any], meaning: _Means, value: Literal) -> ColumnElement[bool]:
    if isinstance(value, str):
        return _TextIs(stored, sa.literal(value, sa.Text()))
    if meaning is _Means.TRUTH:
        return _IsTrue(stored) if value else _IsFalse(stored)
    if meaning is _Means.BIT:
        return _BitIsSet(stored) if value else sa.not_(_BitIsSet(stored))
    return _NumberIs(stored, sa.literal(int(value), sa.BigInteger()))


# -- as each database says it --------------------------------------------------------------------

# SQLite keeps any value in any column. One of another kind than the column's own means nothing
# that is known, and marks no row.
_NUMBER_ON_SQLITE: Final = "(typeof({0}) IN ('integer', 'real') AND {0} {1})"


class _Condition(FunctionElement[bool]):
    """A condition on a column, written for each database in its own way."""

    type = sa.Boolean()


class _TextIs(_Condition):
    """The text is that one, letter by letter."""

    name = "text_is"
    inherit_cache = True


class _NumberIs(_Condition):
    name = "number_is"
    inherit_cache = True


class _NotZero(_Condition):
    """A number other than 0; what is not a number is not one."""

    name = "not_zero"
    inherit_cache = True


class _IsTrue(_Condition):
    name = "true"
    inherit_cache = True


class _IsFalse(_Condition):
    name = "false"
    inherit_cache = True


class _BitIsSet(_Condition):
    name = "is_set_bit"
    inherit_cache = True


class _Passed(_Condition):
    """A time without a zone that has passed since 1970, in whichever zone it was written."""

    name = "passed"
    inherit_cache = True


class _ZonedPassed(_Condition):
    name = "zoned_passed"
    inherit_cache = True


def _parts(element: _Condition, compiler: Any, options: dict[str, Any]) -> list[str]:
    return [compiler.process(each, **options) for each in element.clauses]


def _written(template: str) -> Any:
    """What compiles a condition by a template, of which {0} is the column and {1} the value."""

    def write(element: _Condition, compiler: Any, **options: Any) -> str:
        return template.format(*_parts(element, compiler, options))

    return write


_WRITINGS: Final[dict[type[_Condition], dict[str, str]]] = {
    _TextIs: {
        "sqlite": "(typeof({0}) = 'text' AND {0} COLLATE BINARY = {1})",
        # Of citext, char(n), an enum or a nondeterministic collation the plain text.
        "postgresql": '(CAST({0} AS TEXT) COLLATE "C" = {1})',
        "mysql": "(CAST(CONVERT({0} USING utf8mb4) AS BINARY) = "
        "CAST(CONVERT({1} USING utf8mb4) AS BINARY))",
    },
    _NumberIs: {
        "sqlite": _NUMBER_ON_SQLITE.format("{0}", "= {1}"),
        "default": "({0} = {1})",
    },
    _NotZero: {
        "sqlite": _NUMBER_ON_SQLITE.format("{0}", "<> 0"),
        "postgresql": "({0} <> 0 AND CAST({0} AS TEXT) <> 'NaN')",
        "default": "({0} <> 0)",
    },
    _IsTrue: {
        "sqlite": _NUMBER_ON_SQLITE.format("{0}", "<> 0"),
        "default": "({0} = true)",
        "mysql": "({0} <> 0)",
    },
    _IsFalse: {
        "sqlite": _NUMBER_ON_SQLITE.format("{0}", "= 0"),
        "default": "({0} = false)",
        "mysql": "({0} = 0)",
    },
    _BitIsSet: {
        "sqlite": _NUMBER_ON_SQLITE.format("{0}", "<> 0"),
        "postgresql": "({0} = B'1')",
        "mysql": "({0} + 0 <> 0)",
    },
    _Passed: {
        "sqlite": "(CASE WHEN typeof({0}) = 'text' THEN date(substr({0}, 1, 10)) > '1970-01-02' "
        "AND date(substr({0}, 1, 10)) <= date('now', '+14 hours') "
        "ELSE typeof({0}) IN ('integer', 'real') AND {0} <> 0 END)",
        "postgresql": "({0} > DATE '1970-01-02' AND "
        "{0} <= (CURRENT_TIMESTAMP AT TIME ZONE 'UTC') + INTERVAL '14 hours')",
        "mysql": "({0} > DATE '1970-01-02' AND {0} <= UTC_TIMESTAMP() + INTERVAL 14 HOUR)",
    },
    _ZonedPassed: {
        "postgresql": "({0} > TIMESTAMP WITH TIME ZONE '1970-01-02 00:00:00+00' AND "
        "{0} <= CURRENT_TIMESTAMP)",
    },
}
# MariaDB and SQLite know no zones.
_WRITINGS[_ZonedPassed].update({each: _WRITINGS[_Passed][each] for each in ("sqlite", "mysql")})
for _condition, _by_dialect in _WRITINGS.items():
    for _name, _template in _by_dialect.items():
        for _dialect in ("mysql", "mariadb") if _name == "mysql" else (_name,):
            _for = () if _dialect == "default" else (_dialect,)
            compiles(_condition, *_for)(_written(_template))
