"""Values that occur once, for ``dsar prove``, and the types of the columns that hold them.

A scratch copy in a database of the source's own kind keeps the types that can hold a token. Any
other copy has the general types alone: a column of another type is text there, and what is proven
of it is that it is exported or not, but not how its own type is written.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from backend.services.base_types import stored_type

_FIRST_DAY: Final = date(1801, 1, 1)
_FIRST_NUMBER: Final = 770_000_000
# Texts this long are told apart wherever they turn up; shorter ones only in their own column.
_TOKEN_LENGTH: Final = 11
_SHORT_LENGTH: Final = 6
_TOKEN_OCTETS: Final = 12
_WIDE: Final = 40
_BASE: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_POSTGRESQL: Final = "postgresql"


@dataclass(frozen=True, slots=True)
class Token:
    """A value that occurs once. ``text`` is what an export shows of it.

    ``anywhere``: it would be recognised in any place; else only as a whole value of its column.
    """

    value: Any
    text: str
    anywhere: bool = False


def in_base64(octets: bytes) -> str:
    """Octets as an export shows them."""
    return base64.b64encode(octets).decode("ascii")


class Tokens:
    """Makes values that occur once."""

    def __init__(self) -> None:
        self._count = 0

    def next(self, kind: sa.types.TypeEngine[Any]) -> Token:
        """A new token for a column of the copy, by its type."""
        self._count += 1
        number = self._count
        if found := _own(kind):
            return found(number)
        if isinstance(kind, sa.Boolean):
            truth = number % 2 == 0
            return Token(truth, str(truth))
        if isinstance(kind, sa.Integer):
            return Token(_FIRST_NUMBER + number, str(_FIRST_NUMBER + number), anywhere=True)
        if isinstance(kind, sa.Float):
            return Token(number + 0.5, str(number + 0.5))
        if isinstance(kind, sa.Numeric):
            return _decimal(kind, number)
        if isinstance(kind, sa.DateTime):
            day = _day(number)
            return Token(datetime.combine(day, time()), day.isoformat(), anywhere=True)
        if isinstance(kind, sa.Date):
            return Token(_day(number), _day(number).isoformat(), anywhere=True)
        if isinstance(kind, sa.Time):
            moment = time(number // 3600 % 24, number // 60 % 60, number % 60)
            return Token(moment, moment.isoformat())
        if isinstance(kind, sa.Uuid):
            value = uuid.UUID(int=0xC0FFEE << 100 | number)
            return Token(value, str(value), anywhere=True)
        return _text(kind, number)

    def text(self) -> Token:
        """A new token of text."""
        return self.next(sa.Text())


def _day(number: int) -> date:
    return _FIRST_DAY + timedelta(days=number)


def _text(kind: sa.types.TypeEngine[Any], number: int) -> Token:
    length = getattr(kind, "length", None) or _TOKEN_OCTETS
    if isinstance(kind, sa.LargeBinary):
        octets = (b"%0*d" % (min(length, 16), number))[-length:]
        return Token(octets, in_base64(octets), anywhere=length >= _TOKEN_OCTETS)
    if length >= _TOKEN_LENGTH:
        text = f"canary{_digits(number)}"
        return Token(text, text, anywhere=True)
    if length >= _SHORT_LENGTH:
        return Token(f"q{_digits(number)}", f"q{_digits(number)}")
    text = str(number)[-length:]
    return Token(text, text)


def _digits(number: int) -> str:
    """Five characters, so that no token is the beginning of another one: sixty million of them."""
    text = ""
    for _ in range(5):
        number, rest = divmod(number, len(_BASE))
        text = _BASE[rest] + text
    return text


def _decimal(kind: sa.Numeric[Any], number: int) -> Token:
    """A whole number with all the places of its type, however many: no context rounds it."""
    scale = kind.scale or 0
    room = max(0, (kind.precision or 18) - max(scale, 0))
    whole = number % 10 ** min(room, 9) * 10 ** abs(scale)
    digits = tuple(map(int, str(whole)))
    value = Decimal((0, digits, -scale)) if scale > 0 else Decimal(whole)
    return Token(value, str(value))


def alike(text: str, number: int) -> str:
    """The text but for what a loose comparison overlooks, another thing for each number."""
    changed = (str.upper, _with_accents, "{} ".format, "0{}".format)
    return changed[(number - 1) % len(changed)](text)


KINDS_OF_ALIKE: Final = 4


def _with_accents(text: str) -> str:
    return text.replace("a", "á").replace("e", "é")


# -- types ---------------------------------------------------------------------------------------


def copied(
    kind: sa.types.TypeEngine[Any], source: str, scratch: str, collation: str | None = None
) -> sa.types.TypeEngine[Any]:
    """The type of a column's copy, for dialects of those names; of a text with that collation."""
    if source == scratch == _POSTGRESQL and (own := _own_type(kind)) is not None:
        return own
    found = general(kind)
    if collation is None or not isinstance(found, sa.String):
        return found
    return type(found)(found.length, collation=collation)


def stands_in(kind: sa.types.TypeEngine[Any], source: str, scratch: str) -> bool:
    """Whether the copy of a column is text though its type is another.

    SQLite's columns hold anything, so that there nothing is lost by it.
    """
    if source == "sqlite" or (source == scratch == _POSTGRESQL and _own_type(kind) is not None):
        return False
    kind = stored_type(kind)
    # MariaDB's SET is a kind of string to SQLAlchemy, and an array in an export.
    is_text = isinstance(kind, (sa.String, sa.Enum)) and kind.__visit_name__ != "SET"
    if kind.__visit_name__ == "BIT":
        return True  # a boolean in the copy
    return not is_text and isinstance(general(kind), sa.Text)


def general(kind: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    """A type that every database has and that holds the same values for what is proven here."""
    kind = stored_type(kind)
    if isinstance(kind, sa.types._Binary):
        return sa.LargeBinary(kind.length)
    if kind.__visit_name__ == "BIT" and getattr(kind, "length", None) in (None, 1):
        return sa.Boolean()
    if isinstance(kind, sa.Enum):
        return sa.Text()
    if isinstance(kind, sa.Float):
        return sa.Float(53)
    if isinstance(kind, sa.Numeric):
        return sa.Numeric(kind.precision or 18, kind.scale or 2)
    if isinstance(kind, sa.DateTime):
        return sa.DateTime()
    if isinstance(kind, sa.Uuid):
        return sa.Uuid()
    if isinstance(kind, sa.String):
        # Not wider than tells a key: MariaDB's rows are narrow.
        return sa.String(kind.length) if kind.length and kind.length < _WIDE else sa.Text()
    for each in (sa.Boolean, sa.Integer, sa.Date, sa.Time, sa.JSON):
        if isinstance(kind, each):
            return sa.BigInteger() if each is sa.Integer else each()
    return sa.Text()


# -- PostgreSQL's own ----------------------------------------------------------------------------


def _own_type(kind: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any] | None:
    """The type of a copy that PostgreSQL alone has, and that can hold a token; else None."""
    kind = stored_type(kind)
    if isinstance(kind, sa.ARRAY):
        item = stored_type(kind.item_type)
        texts = isinstance(item, (sa.String, sa.Enum))
        # More dimensions are one to PostgreSQL.
        return type(kind)(sa.Text() if texts else general(item)) if _fits(item) else None
    return kind if _own(kind) is not None else None


def _fits(item: sa.types.TypeEngine[Any]) -> bool:
    kinds = (sa.String, sa.Enum, sa.Integer, sa.Uuid, sa.Date, sa.DateTime)
    return isinstance(item, kinds)


def _own(kind: sa.types.TypeEngine[Any]) -> Callable[[int], Token] | None:
    """What makes a token of a type that PostgreSQL alone has."""
    if isinstance(kind, sa.ARRAY):
        return lambda number: _array(kind, number)
    return _OWN.get(str(kind.__visit_name__))


def _array(kind: sa.ARRAY[Any], number: int) -> Token:
    tokens = Tokens()
    tokens._count = number - 1
    token = tokens.next(kind.item_type)
    return Token([token.value], token.text, token.anywhere)


def _address(number: int) -> str:
    """Octets of three digits each, so that no address is the beginning of another one."""
    rest, last = divmod(number, 100)
    first, middle = divmod(rest, 100)
    return f"10.{100 + first % 100}.{100 + middle}.{100 + last}"


def _shown(text: str) -> Token:
    return Token(text, text, anywhere=True)


def _span(number: int) -> Token:
    return Token(timedelta(days=number), f"P{number}D")


def _range(first: Callable[[int], Any]) -> Callable[[int], Token]:
    def make(number: int) -> Token:
        from sqlalchemy.dialects.postgresql import Range

        low = first(number)
        text = low.date() if isinstance(low, datetime) else low
        return Token(Range(low, None, bounds="[)"), str(text), anywhere=True)

    return make


def _instant(number: int) -> datetime:
    return datetime.combine(_day(number), time())


_OWN: Final[dict[str, Callable[[int], Token]]] = {
    "INET": lambda number: _shown(_address(number)),
    "CIDR": lambda number: _shown(f"{_address(number)}/32"),
    "MACADDR": lambda number: _shown(f"08:00:2b:{number >> 8 & 255:02x}:{number & 255:02x}:01"),
    "INTERVAL": _span,
    "INT4RANGE": _range(lambda number: _FIRST_NUMBER + number),
    "INT8RANGE": _range(lambda number: _FIRST_NUMBER + number),
    "NUMRANGE": _range(lambda number: Decimal(_FIRST_NUMBER + number)),
    "DATERANGE": _range(_day),
    "TSRANGE": _range(_instant),
    "TSTZRANGE": _range(lambda number: _instant(number).replace(tzinfo=UTC)),
    "TSVECTOR": lambda number: Token(
        f"canary{_digits(number)}", f"'canary{_digits(number)}'", anywhere=True
    ),
}
