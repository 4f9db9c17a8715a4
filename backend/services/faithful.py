"""How a column is read so that its value survives the reading."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from backend.services.base_types import Kind, base_type, converts, narrowed_by, stored_type

_Process = Callable[[Any], Any]


def faithful(column: sa.Column[Any], dialect: str) -> sa.ColumnElement[Any]:
    """The column as it is to be selected.

    An enum is read as what is stored, a number as the driver has it: SQLAlchemy turns a MariaDB
    DOUBLE into a Decimal of ten places. On SQLite a column holds whatever was put there, so what
    its type cannot convert is left as it is. A zoned timestamp of a database that knows no zones
    is UTC, as everything of the application's. What a decorated type cannot convert is left as it
    is, too: ``infinity``, a span of days.
    """
    if dialect == "postgresql" and (cast := _array(column)) is not None:
        return cast.label(column.name)
    if dialect in _MARIADB and _is_single(column.type):
        return _with_all_digits(column)
    kind = _reading(column.type, dialect)
    return column if kind is None else sa.type_coerce(column, kind).label(column.name)


# -- MariaDB's FLOAT ------------------------------------------------------------------------------

_MARIADB: Final = ("mysql", "mariadb")
# From this many digits on a declared FLOAT is a DOUBLE there.
_DOUBLE_DIGITS: Final = 25
# So many digits the server prints, and so many tell a number of single precision from all others.
_PRINTED_DIGITS: Final = 6
_SINGLE_DIGITS: Final = 9


def _is_single(kind: Kind) -> bool:
    stored = stored_type(kind)
    if not isinstance(stored, sa.Float) or stored.__visit_name__.upper() != "FLOAT":
        return False
    return bool(stored.scale) or (stored.precision or 0) < _DOUBLE_DIGITS


def _with_all_digits(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """A FLOAT as the DOUBLE of the same value: of a FLOAT the server prints six digits."""
    base = base_type(column.type)
    kind: Kind = _Single()
    if isinstance(base, sa.types.TypeDecorator):
        stored = stored_type(base)
        assert isinstance(stored, sa.Float)
        kind = _Faithful(column.type, _Single(as_decimal=stored.asdecimal))
    double: sa.ColumnElement[Any] = sa.type_coerce(column, sa.Double()) * sa.literal_column("1e0")
    return sa.type_coerce(double, kind).label(column.name)


class _Single(sa.types.TypeDecorator[Any]):
    """A number of single precision: its exact value if that is short (1234567.75), else by the
    fewest digits that tell it from all others (0.1, not 0.10000000149011612).
    """

    impl = sa.types.NullType
    cache_ok = True

    def __init__(self, *, as_decimal: bool = False) -> None:
        super().__init__()
        self.as_decimal = as_decimal

    def process_result_value(self, value: Any, dialect: sa.engine.Dialect) -> Any:
        if not isinstance(value, float):
            return value
        fewest = _fewest_digits(value)
        return Decimal(repr(fewest)) if self.as_decimal else fewest


def _fewest_digits(value: float) -> float:
    try:
        single = struct.pack("f", value)
    except OverflowError:
        return value  # the column is a DOUBLE, whatever the model says
    is_single = struct.unpack("f", single)[0] == value
    if not is_single or float(f"{value:.{_SINGLE_DIGITS}g}") == value:
        return value
    shorter = (float(f"{value:.{digits}g}") for digits in range(_PRINTED_DIGITS, _SINGLE_DIGITS))
    same = (each for each in shorter if struct.pack("f", each) == single)
    return next(same, float(f"{value:.{_SINGLE_DIGITS}g}"))


# -- every other type -----------------------------------------------------------------------------


def _reading(kind: Kind, dialect: str) -> Kind | None:
    base = base_type(kind)
    if isinstance(base, sa.types.TypeDecorator):
        return _decorated(kind, base, dialect)
    if isinstance(base, sa.Enum):
        return sa.String()
    if isinstance(base, sa.Float):
        return sa.types.NullType()
    if isinstance(base, sa.Numeric):
        # A string with every digit on each database, even where Python's code asks for floats.
        own = kind if base.asdecimal else sa.Numeric(base.precision, base.scale)
        return _Faithful(own) if dialect == "sqlite" else sa.types.NullType()
    if dialect == "sqlite":
        return _Faithful(kind)
    if dialect != "postgresql":
        if isinstance(base, sa.Time):
            return _TimeOrSpan()
        if isinstance(base, sa.DateTime) and base.timezone:
            return _Faithful(kind)
    return None


def _decorated(kind: Kind, decorator: sa.types.TypeDecorator[Any], dialect: str) -> Kind | None:
    """How to read a decorated type that converts what its own type read."""
    if isinstance(decorator, sa.Interval) or not converts(decorator):
        return _Faithful(kind) if dialect == "sqlite" else None
    stored = base_type(decorator.impl_instance)
    if isinstance(stored, sa.Float):
        return _Faithful(kind, _Number() if stored.asdecimal else sa.types.NullType())
    if dialect not in ("sqlite", "postgresql") and isinstance(stored, sa.Time):
        return _Faithful(kind, _TimeOrSpan())
    temporal = (sa.Date, sa.DateTime, sa.Time, sa.Interval)
    return _Faithful(kind) if dialect == "sqlite" or isinstance(stored, temporal) else None


class _TimeOrSpan(sa.types.TypeDecorator[Any]):
    """MariaDB's TIME, which also holds spans: of those SQLAlchemy would keep the hour of day."""

    impl = sa.types.NullType
    cache_ok = True

    def process_result_value(self, value: Any, dialect: sa.engine.Dialect) -> Any:
        if isinstance(value, timedelta) and timedelta(0) <= value < timedelta(days=1):
            return (datetime(1, 1, 1, tzinfo=UTC) + value).time()
        return value


class _Number(sa.types.TypeDecorator[Any]):
    """A float as the Decimal of the same digits, of which SQLAlchemy would keep ten places."""

    impl = sa.types.NullType
    cache_ok = True

    def process_result_value(self, value: Any, dialect: sa.engine.Dialect) -> Any:
        return Decimal(repr(value)) if isinstance(value, float) else value


class _Faithful(sa.types.TypeDecorator[Any]):
    """Another type's way of reading, without its refusals.

    ``first``: how the type within a decorator is read, where that is not its own way.
    """

    impl = sa.types.NullType
    cache_ok = True

    def __init__(self, inner: Kind, first: Kind | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.first = first

    def result_processor(self, dialect: sa.engine.Dialect, coltype: object) -> _Process | None:
        base = base_type(self.inner)
        if isinstance(base, sa.Boolean):
            return lambda value: bool(value) if value in (0, 1) else value
        convert = self._conversion(dialect, coltype)
        counted = isinstance(base, sa.Numeric)
        zoned = isinstance(base, sa.DateTime) and base.timezone
        if convert is None and not zoned:
            return None

        def read(value: Any) -> Any:
            try:
                converted = value if convert is None else convert(value)
            except Exception:
                return value  # its message would quote the value
            if counted and isinstance(converted, Decimal) and float(converted) != value:
                # More places than the column was declared with.
                return Decimal(repr(value))
            if zoned and isinstance(converted, datetime) and converted.tzinfo is None:
                return converted.replace(tzinfo=UTC)
            return converted

        return read

    def _conversion(self, dialect: sa.engine.Dialect, coltype: object) -> _Process | None:
        decorator = self.inner.dialect_impl(dialect)
        if self.first is None or not isinstance(decorator, sa.types.TypeDecorator):
            return decorator.result_processor(dialect, coltype)
        before = self.first.dialect_impl(dialect).result_processor(dialect, coltype)
        finish = decorator.process_result_value
        if before is None:
            return lambda value: finish(value, dialect)
        return lambda value: finish(before(value), dialect)


# -- PostgreSQL's arrays --------------------------------------------------------------------------

# What its driver reads by itself. Of what is in no such array it gets the text of the whole, and
# SQLAlchemy would make an array of that text's characters.
_READ_BY_DRIVER: Final = (
    sa.Integer,
    sa.Boolean,
    sa.Date,
    sa.Uuid,
    sa.LargeBinary,
    sa.JSON,
)


def _array(column: sa.Column[Any]) -> sa.ColumnElement[Any] | None:
    """An array of numbers as the driver reads it; one of a domain or of a type that the driver does
    not know as the database casts it. None of another column.
    """
    array = base_type(column.type)
    if not isinstance(array, sa.ARRAY):
        return None
    item = base_type(array.item_type)
    if isinstance(item, sa.types.TypeDecorator):
        return None
    unknown = (sa.Enum, sa.types.NullType, sa.types.UserDefinedType)
    if _is_domain(array.item_type):
        read = sa.cast(column, sa.ARRAY(_known(item)))
    elif isinstance(item, unknown) or item.__visit_name__ == "CITEXT":
        read = sa.cast(column, sa.ARRAY(sa.Text()))
    elif isinstance(item, sa.Numeric):
        return sa.type_coerce(column, sa.types.NullType())
    else:
        return None
    return sa.type_coerce(read, sa.types.NullType())


def _is_domain(kind: Kind) -> bool:
    while isinstance(kind, sa.types.TypeDecorator):
        kind = kind.impl_instance
    return narrowed_by(kind) is not None


def _known(item: Kind) -> Kind:
    """A type that the driver knows and that holds the same values, whatever narrows them."""
    if isinstance(item, (*_READ_BY_DRIVER, sa.Float)):
        return item
    if isinstance(item, sa.Numeric):
        return sa.Numeric()
    if isinstance(item, sa.DateTime):
        return sa.DateTime(timezone=item.timezone)
    if isinstance(item, sa.Time):
        return sa.Time(timezone=item.timezone)
    return type(item)() if item.__visit_name__ == "INTERVAL" else sa.Text()
