"""A person's key, wherever it is written: whole number, UUID or text.

The request's row, the command line and the people's database may each write the same key their
own way: a UUID is text in SQLite, sixteen octets in some MariaDB schemas, 32 digits without dashes
in Django's, and a type of its own in PostgreSQL. ``canonical`` reads any of them as the type that
the people's table has; ``bound`` writes it as one column holds it.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from backend.models.types import BigKey
from backend.services.comparison import is_padded

_INT64: Final = range(-(2**63), 2**63)
_UNSIGNED: Final = range(2**64)
# As a database writes them: of 012, " 12" and 1e1 it would make numbers all the same.
_WHOLE: Final = re.compile(r"0|-?[1-9][0-9]{0,19}")
_UUID_TEXT: Final = re.compile(r"[0-9A-Fa-f]{8}(-?)(?:[0-9A-Fa-f]{4}\1){3}[0-9A-Fa-f]{12}")
_UUID_OCTETS: Final = 16
_UUID_DIGITS: Final = 32
_UUID_CHARACTERS: Final = 36
_LENGTH: Final = 255


class KeyKind(StrEnum):
    """How a column holds keys."""

    WHOLE = "a whole number"
    UUID = "a UUID"
    OCTETS = "a UUID in sixteen octets"
    TEXT = "a text"
    ANY = "a value"


def kind_of(column: sa.Column[Any]) -> KeyKind:
    """How this column holds keys, by its type."""
    kind = column.type
    if isinstance(kind, sa.Integer):
        return KeyKind.WHOLE
    if isinstance(kind, sa.Uuid):
        return KeyKind.UUID
    if isinstance(kind, sa.types._Binary) and kind.length == _UUID_OCTETS:
        return KeyKind.OCTETS
    if isinstance(kind, sa.String) and not isinstance(kind, sa.Enum):
        return KeyKind.TEXT
    return KeyKind.ANY


def is_unsigned(column: sa.Column[Any]) -> bool:
    """Whether it is MariaDB's BIGINT UNSIGNED, whose keys go past those of every other type."""
    return isinstance(column.type, sa.BigInteger) and bool(getattr(column.type, "unsigned", False))


def canonical(column: sa.Column[Any], value: Any) -> Any:
    """A key as an int, a UUID or a text: what the column's type says.

    Raises ``ValueError``, without the value, when no key of this column can be written so.
    """
    kind = kind_of(column)
    if kind is KeyKind.WHOLE:
        return _whole(value, _UNSIGNED if is_unsigned(column) else _INT64)
    if kind in (KeyKind.UUID, KeyKind.OCTETS):
        return _uuid(value)
    if kind is KeyKind.TEXT:
        return _text(column, value)
    is_number = isinstance(value, str) and _WHOLE.fullmatch(value)
    return int(value) if is_number else value


class KeyPlaces:
    """Stands for a key that is not known yet, in a statement that is built once for everybody.

    ``bound`` puts a parameter where the key belongs; ``values`` fills these in for one person.
    """

    def __init__(self) -> None:
        self._columns: dict[str, sa.Column[Any]] = {}

    def parameter(self, column: sa.Column[Any]) -> ColumnElement[Any]:
        """A new parameter, to compare this column with."""
        name = f"subject_key_{len(self._columns)}"
        self._columns[name] = column
        return sa.bindparam(name, type_=_parameter_type(column))

    def values(self, key: Any) -> dict[str, Any]:
        """The parameters for a key. Raises ``ValueError`` when some column cannot hold it."""
        return {name: _written(column, key) for name, column in self._columns.items()}


def bound(column: sa.Column[Any], key: Any) -> ColumnElement[Any] | None:
    """The key as a parameter to compare this column with; None when no row can have it.

    Of ``KeyPlaces`` a parameter that is yet to be filled in.
    """
    if isinstance(key, KeyPlaces):
        return key.parameter(column)
    try:
        value = _written(column, key)
    except ValueError:
        return None
    return sa.bindparam(None, value, _parameter_type(column))


def other_writings(column: sa.Column[Any], key: Any) -> list[str]:
    """How else this column may write the same key: a UUID that is kept as text, in capitals or not.

    Other texts that differ by capitals are two people's.
    """
    if kind_of(column) is not KeyKind.TEXT or not isinstance(key, str):
        return []
    if as_uuid(key) is None:
        return []
    return [each for each in (key.lower(), key.upper()) if each != key]


def _written(column: sa.Column[Any], key: Any) -> Any:
    """The key as this column holds it. Raises ``ValueError`` when it cannot."""
    if kind_of(column) is KeyKind.ANY and isinstance(key, str):
        return key  # of a people's table whose keys are texts: 012 is not 12
    value = canonical(column, key)
    if isinstance(value, int) and isinstance(key, str) and str(value) != key:
        raise ValueError("not how the column writes a number")
    if kind_of(column) is KeyKind.OCTETS:
        return value.bytes
    if isinstance(value, UUID) and not (isinstance(column.type, sa.Uuid) and column.type.as_uuid):
        return str(value)
    return value


def _parameter_type(column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
    if is_padded(column):
        # Neither its blanks nor what is past the column's length may go with a cast.
        return sa.String()
    # Of any other type the database itself shall say what the text means, not a cast.
    return _AsGiven() if kind_of(column) is KeyKind.ANY else column.type


def same_key(value: Any, own: Any) -> bool:
    """Whether a value names the person whose key, as ``canonical`` reads it, is ``own``.

    Other spellings of a UUID name the same person where the people's key is a UUID. Where it is a
    text they may be another person's, as texts that differ by capitals are. None is nobody's key.
    """
    if value is None or own is None or isinstance(value, bool):
        return False
    if isinstance(own, UUID):
        return as_uuid(value) == own
    if isinstance(own, str) and not isinstance(value, str):
        uuid = as_uuid(value)
        return own in ((str(value),) if uuid is None else (str(uuid), uuid.hex))
    return bool(value == own) or (isinstance(value, str) and value == str(own))


def type_like(key: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
    """A type that holds this column's keys in any database.

    Two keys that differ by capitals are two people's, which MariaDB must be told.
    """
    # Only migrations ask, so no start pays for two databases' dialects (38 modules).
    from sqlalchemy.dialects import mysql, postgresql

    kind = kind_of(key)
    if kind is KeyKind.WHOLE:
        unsigned = mysql.BIGINT(unsigned=True)
        return BigKey.with_variant(unsigned, "mysql", "mariadb") if is_unsigned(key) else BigKey
    length = _UUID_CHARACTERS
    if kind in (KeyKind.TEXT, KeyKind.ANY):
        length = max(getattr(key.type, "length", None) or _LENGTH, _UUID_CHARACTERS)
    text = mysql.VARCHAR(min(length, _LENGTH), charset="utf8mb4", collation="utf8mb4_bin")
    general: sa.types.TypeEngine[Any] = sa.String(length).with_variant(text, "mysql", "mariadb")
    if kind in (KeyKind.UUID, KeyKind.OCTETS):
        return general.with_variant(postgresql.UUID(), "postgresql")
    return general


class _AsGiven(sa.types.TypeDecorator[Any]):
    """A parameter without a type: neither converted here nor cast in the statement."""

    impl = sa.types.NullType
    cache_ok = True


def _whole(value: Any, possible: range) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and _WHOLE.fullmatch(value):
        number = int(value)
    else:
        raise ValueError("not a whole number")
    if number not in possible:
        raise ValueError("past 64 bits")
    return number


def _uuid(value: Any) -> UUID:
    if isinstance(value, UUID):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return UUID(bytes=bytes(value))
    if isinstance(value, str) and (found := as_uuid(value)) is not None:
        return found
    raise ValueError("not a UUID")


def _text(column: sa.Column[Any], value: Any) -> str:
    length = getattr(column.type, "length", None)
    if isinstance(value, UUID):
        return value.hex if length == _UUID_DIGITS else str(value)
    text = str(value)
    if length == _UUID_DIGITS and len(text) > _UUID_DIGITS:
        # Django's UUIDField, where the database has no such type.
        return _uuid(text).hex
    return text


def as_uuid(value: Any) -> UUID | None:
    """The UUID that a value writes: sixteen octets, or 32 digits with the usual dashes or none."""
    if isinstance(value, UUID):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        octets = bytes(value)
        return UUID(bytes=octets) if len(octets) == _UUID_OCTETS else None
    is_uuid = isinstance(value, str) and _UUID_TEXT.fullmatch(value)
    return UUID(value) if is_uuid else None


def plain_key(value: Any) -> str:
    """A key as a text that is the same for every way of writing it."""
    found = as_uuid(value)
    if found is not None:
        return str(found)
    return value.hex() if isinstance(value, (bytes, bytearray, memoryview)) else str(value)
