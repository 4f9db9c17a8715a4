"""Values as JSON: one mapping, whatever database they come from.

| value | JSON |
|---|---|
| text, integer, boolean, null | themselves; an integer keeps every digit |
| float | a number; NaN and the infinities the strings ``"NaN"``, ``"Infinity"``, ``"-Infinity"`` |
| Decimal | a string with every digit |
| date, time, timestamp | an ISO 8601 string, with the offset if there is one |
| a date or time past Python's calendar (``infinity``, 44 BC, 24:00) | the database's own text |
| interval | an ISO 8601 duration in days and seconds, ``"P1DT30.5S"``; with months all its parts |
| UUID, network address, range | a string |
| bytes | a string, base64 |
| enum | what the database stores |
| array, set | an array (a set in order) |
| JSON | itself, as the database printed it |
| a lone surrogate within text | its JSON escape, ``\\ud800`` |
| an octet that is no text in the database's encoding | the escape ``\\udcXX`` |

Output is UTF-8, two-space indent, non-ASCII kept. orjson writes what it can; a row that it
refuses (an integer over 64 bits, a lone surrogate) is written, value by value, by the standard
library to the same rules.
"""

from __future__ import annotations

import base64
import datetime as dt
import enum
import ipaddress
import json
import math
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import orjson

from backend.errors import ValueUnsupported

_OPTIONS: Final = (
    orjson.OPT_INDENT_2 | orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

Renderer = Callable[[Sequence[Any]], bytes]

# Rows are handed on by the buffer: a call a row costs more than the row.
_ROWS_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Rows:
    """At least one row, rendered: JSON objects as an array indented by two holds them.

    ``text`` stands between ``[\\n  `` and ``\\n]``, or after other rows and ``,\\n  ``.
    """

    count: int
    text: bytes

    def values(self) -> list[Any]:
        """The rows, parsed."""
        values: list[Any] = json.loads(b"[" + self.text + b"]")
        return values


def joined(objects: Iterable[bytes]) -> Rows:
    """Rendered objects (at least one) as rows."""
    # An object is indented by itself; a raw line break never stands inside a JSON string.
    texts = [text.replace(b"\n", b"\n  ") for text in objects]
    return Rows(len(texts), b",\n  ".join(texts))


def gathered(objects: Iterable[bytes]) -> Iterator[Rows]:
    """Rendered objects, one by one, as rows by the buffer."""
    held: list[bytes] = []
    size = 0
    for text in objects:
        held.append(text)
        size += len(text)
        if size >= _ROWS_BYTES:
            yield joined(held)
            held, size = [], 0
    if held:
        yield joined(held)


# A JSON column's own text, known to be JSON. Not parsed, only to be printed again: that alone is
# half the time of a big export. The encoder's own type: a class of ours costs two calls more a
# value, 0.5 of the 4.6 µs that a row took its thread.
JsonText = orjson.Fragment


def text_of(value: JsonText) -> bytes:
    """The text as it is."""
    return orjson.dumps(value)


def json_from_database(text: str | bytes) -> JsonText:
    """A JSON column as PostgreSQL hands it over: already checked by it."""
    return JsonText(text)


def json_from_sqlite(text: str | bytes) -> Any:
    """A JSON column as SQLite hands it over: any text at all, so it is checked.

    So is MariaDB's, whose ``json_valid`` passes ``{"a": 1.}``.

    What orjson refuses but Python's own parser takes (NaN, a number past a float's reach) is
    written anew, by the mapping and with every digit; what is not JSON, or nested too deep for
    either to tell, stays the text (or octets) that it is.
    """
    try:
        orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeError):
        try:
            return JsonText(dump_json(parse_json(text)))
        except (ValueError, RecursionError):
            return text
    return JsonText(text)


def json_reader(url: str) -> Callable[[str | bytes], Any]:
    """How a JSON column of the database at this URL is read."""
    return json_from_database if url.startswith("postgresql") else json_from_sqlite


class Digits(str):
    """A number of a JSON text as it is written there: of any size, and none of it lost."""

    __slots__ = ()


class Members(list[tuple[str, Any]]):
    """An object of a JSON text: its keys with their values, also a key that it has twice."""

    __slots__ = ()


def parse_json(text: str | bytes) -> Any:
    """JSON with its numbers as ``Digits``, its objects as ``Members``; NaN, infinities as strings.

    Raises ``ValueError``, and ``RecursionError`` for what is nested too deep.
    """
    return json.loads(
        text,
        parse_int=Digits,
        parse_float=Digits,
        parse_constant=str,
        object_pairs_hook=Members,
    )


def plain(value: Any) -> Any:
    """A value as what JSON has a word for, by the table above. Raises ``ValueUnsupported``."""
    if value is None or value is True or value is False or type(value) is str:
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else not_finite(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(plain, value), key=repr)
    if isinstance(value, JsonText):
        return json.loads(text_of(value), parse_constant=str)
    return _as_text(value)


def _as_text(value: Any) -> str:
    """What orjson does not know by itself; also its ``default``."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dt.timedelta):
        return _duration(value)
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, _TEXTUAL) or type(value).__module__.startswith(_TEXTUAL_MODULES):
        return str(value)
    raise ValueUnsupported(f"no mapping to JSON for a value of type {type(value).__qualname__}")


# Ranges and the like; by name, since either is imported only with its database.
_TEXTUAL_MODULES: Final = ("psycopg.types", "sqlalchemy.dialects.postgresql")
_TEXTUAL: Final = (
    uuid.UUID,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
)


def _default(value: Any) -> Any:
    # The commonest first: it is called for every one of them.
    if type(value) is Decimal:
        return str(value)
    if isinstance(value, (enum.Enum, set, frozenset, Mapping, str, int, float, list, tuple)):
        return plain(value)
    return _as_text(value)


def not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _duration(value: dt.timedelta) -> str:
    if value < dt.timedelta(0):
        return "-" + _duration(-value)
    seconds = f"{value.seconds}.{value.microseconds:06d}".rstrip("0").rstrip(".")
    days = f"P{value.days}D"
    return days if seconds == "0" and value.days else f"{days}T{seconds}S"


def dump_objects(objects: Sequence[Mapping[str, Any]]) -> Rows:
    """Some mappings (at least one) as rows of JSON objects; each as ``dump_object`` writes it."""
    try:
        text = orjson.dumps(objects, _default, _OPTIONS)
    except (orjson.JSONEncodeError, UnicodeError):
        return joined(map(dump_object, objects))
    return Rows(len(objects), text[len(b"[\n  ") : -len(b"\n]")])


def dump_values(values: Sequence[Any]) -> bytes:
    """Values as one indented array, each as ``dump_objects`` writes it.

    Raises what orjson does for what it refuses.
    """
    return orjson.dumps(values, _default, _OPTIONS)


def dump_value(value: Any) -> bytes:
    """One value as indented JSON, exactly. The slow way, which knows every case."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    # A lone surrogate has no UTF-8 form, but JSON has an escape for it.
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()


def dump_object(members: Mapping[str, Any]) -> bytes:
    """A mapping as one indented JSON object."""
    try:
        return orjson.dumps(members, _default, _OPTIONS)
    except (orjson.JSONEncodeError, UnicodeError):
        # A JSON column is written as it stands, so nothing of it is lost to reparsing.
        lines = [dump_value(name) + b": " + _dump_member(value) for name, value in members.items()]
        return b"{\n  " + _indented(lines) + b"\n}" if lines else b"{}"


def _dump_member(value: Any) -> bytes:
    if isinstance(value, JsonText):
        return text_of(value)
    if isinstance(value, list) and value:
        return b"[\n  " + _indented(map(_dump_member, value)) + b"\n]"
    return dump_value(value)


def _indented(lines: Iterable[bytes]) -> bytes:
    return b",\n  ".join(line.replace(b"\n", b"\n  ") for line in lines)


def dump_json(value: Any) -> bytes:
    """A JSON value as ``parse_json`` gives it, back as JSON with the same digits."""
    if isinstance(value, (Members, dict)):
        pairs = value.items() if isinstance(value, dict) else value
        members = (dump_json(str(key)) + b": " + dump_json(item) for key, item in pairs)
        return b"{" + b", ".join(members) + b"}"
    if isinstance(value, list):
        return b"[" + b", ".join(map(dump_json, value)) + b"]"
    if isinstance(value, Digits):
        return value.encode()
    try:
        return orjson.dumps(value) if type(value) is str else dump_value(value)
    except orjson.JSONEncodeError:
        return dump_value(value)
