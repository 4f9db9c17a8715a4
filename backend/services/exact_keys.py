"""Whether a row's key is the very one that was asked for, compared in Python.

A database finds more than it was asked for: it reads ``'12abc'`` as 12 and ``''`` as 0, overlooks
capitals, accents and trailing blanks, rounds a number to what a DOUBLE holds. So the key of a row
that it found is read back, and compared here with the key that was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from backend.services.base_types import base_type
from backend.services.subject_keys import KeyKind, as_uuid, canonical, kind_of

_DIGITS: Final = re.compile(r"0|-?[1-9][0-9]*")
_FRACTION: Final = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+")


def is_exactly(column: sa.Column[Any], wanted: Any, found: Any, dialect: str) -> bool:
    """Whether ``found``, as the driver of that dialect read it, is the key ``wanted``."""
    form = found_form(column, found, dialect)
    return form is not None and form == wanted_form(column, wanted)


def wanted_form(column: sa.Column[Any], key: Any) -> Hashable | None:
    """A key that is asked for, such that it equals a ``found_form`` just where the keys do.

    None where it can be no key of this column.
    """
    if key is None or isinstance(key, bool):
        return None
    if kind_of(column) is KeyKind.ANY:
        return _any(base_type(column.type), key)
    try:
        form: Hashable = canonical(column, key)
    except ValueError:
        return None
    return form


def found_form(column: sa.Column[Any], key: Any, dialect: str) -> Hashable | None:
    """A key that a row has; see ``wanted_form``."""
    form = wanted_form(column, key)
    if (
        isinstance(form, str)
        and isinstance(base_type(column.type), sa.CHAR)
        and dialect != "sqlite"
    ):
        # What fills a CHAR up is no part of its value; PostgreSQL gives it all the same, and
        # MariaDB where it is told to.
        return form.rstrip(" ")
    return form


def _any(kind: sa.types.TypeEngine[Any], key: Any) -> Hashable | None:
    if isinstance(kind, (sa.Numeric, sa.Float, sa.Integer)):
        return _number(kind, key)
    if isinstance(kind, sa.types._Binary):
        return _octets(key)
    if isinstance(kind, sa.Uuid):
        return key if isinstance(key, UUID) else as_uuid(str(key))
    return bytes(key) if isinstance(key, (bytes, bytearray, memoryview)) else str(key)


def _number(kind: sa.types.TypeEngine[Any], key: Any) -> Decimal | None:
    """Every digit of a number; of a text only where it is written as the column's are."""
    if isinstance(key, str):
        fraction = bool(getattr(kind, "scale", None)) and _FRACTION.fullmatch(key)
        return Decimal(key) if fraction or _DIGITS.fullmatch(key) else None
    if isinstance(key, (int, float, Decimal)):
        number = Decimal(key)
        return number if number.is_finite() else None
    return None


def _octets(key: Any) -> bytes:
    if isinstance(key, (bytes, bytearray, memoryview)):
        return bytes(key)
    return str(key).encode("utf-8", "surrogateescape")
