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
| text that is no UTF-8 (SQLite keeps it) | each odd octet as the escape ``\\udcXX`` |

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
import sqlalchemy as sa

from backend.errors import ValueUnsupported
from backend.services.sections import (
    Exported,
    FilesSection,
    FunctionSection,
    Masked,
    Subject,
    TableSection,
    apply_paths,
)
from backend.services.subject_keys import same_key

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


def gathered(objects: Iterable[bytes]) -> Iterator[Rows]:
    """Rendered objects, one by one, as rows by the buffer."""
    held: list[bytes] = []
    size = 0
    for text in objects:
        # An object is indented by itself; a raw line break never stands inside a JSON string.
        held.append(text.replace(b"\n", b"\n  "))
        size += len(text)
        if size >= _ROWS_BYTES:
            yield Rows(len(held), b",\n  ".join(held))
            held, size = [], 0
    if held:
        yield Rows(len(held), b",\n  ".join(held))


@dataclass(frozen=True, slots=True)
class JsonText:
    """A JSON column's own text, known to be JSON.

    Not parsed, only to be printed again: that alone is half the time of a big export.
    """

    text: str | bytes


def json_from_database(text: str | bytes) -> JsonText:
    """A JSON column as PostgreSQL and MariaDB hand it over: already checked by them."""
    return JsonText(text)


def json_from_sqlite(text: str | bytes) -> Any:
    """A JSON column as SQLite hands it over: any text at all, so it is checked.

    What orjson refuses but Python's own parser takes (NaN, a number past a float's reach) is
    written anew, by the mapping and with every digit; what is not JSON stays the text that it is.
    """
    try:
        orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeError):
        try:
            return JsonText(dump_json(_parse(text)))
        except ValueError:
            return text if isinstance(text, str) else plain(text)
    return JsonText(text)


def _parse(text: str | bytes) -> Any:
    """JSON with floats as Decimal, which keeps their digits; NaN and the infinities as strings."""
    return json.loads(text, parse_float=Decimal, parse_constant=str)


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
        return float(value) if math.isfinite(value) else _not_finite(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(plain, value), key=repr)
    if isinstance(value, JsonText):
        return json.loads(value.text, parse_constant=str)
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
    if type(value) is JsonText:
        return orjson.Fragment(value.text)
    if isinstance(value, (enum.Enum, set, frozenset, Mapping, str, int, float, list, tuple)):
        return plain(value)
    return _as_text(value)


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _duration(value: dt.timedelta) -> str:
    if value < dt.timedelta(0):
        return "-" + _duration(-value)
    seconds = f"{value.seconds}.{value.microseconds:06d}".rstrip("0").rstrip(".")
    days = f"P{value.days}D"
    return days if seconds == "0" and value.days else f"{days}T{seconds}S"


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
        lines = [
            dump_value(name)
            + b": "
            + (_encoded(value.text) if isinstance(value, JsonText) else dump_value(value))
            for name, value in members.items()
        ]
        if not lines:
            return b"{}"
        return b"{\n  " + b",\n  ".join(line.replace(b"\n", b"\n  ") for line in lines) + b"\n}"


def _encoded(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)


def table_renderer(section: TableSection, subject: Subject, *, any_type: bool) -> Renderer:
    """A function that turns one result row of the section into a JSON object.

    The row holds ``section.read_columns()``, then ``section.extra_columns()``. ``any_type`` says
    that the database lets any column hold a value of any type (SQLite).
    """
    read = section.read_columns()
    # orjson refuses SQLAlchemy's quoted_name, so plain strings.
    names = [str(column.name) for column in read]
    places = {column.name: i for i, column in enumerate([*read, *section.extra_columns()])}
    changes: list[Callable[[dict[str, Any], Sequence[Any]], None]] = []
    for name in names:
        changes += _changes(section, name, places, subject, any_type=any_type)

    def render(row: Sequence[Any]) -> bytes:
        members = dict(zip(names, row, strict=False))
        for change in changes:
            change(members, row)
        return dump_object(members)

    return render


Change = Callable[[dict[str, Any], Sequence[Any]], None]


def _changes(
    section: TableSection, name: str, places: Mapping[str, int], subject: Subject, *, any_type: bool
) -> Iterable[Change]:
    disposition = section.columns[name]
    if isinstance(disposition, Exported) and disposition.as_json:
        yield lambda members, row: _read_json(members, name)
    if isinstance(disposition, Masked):
        yield _mask(name, disposition, places, subject.user_id)
    elif isinstance(disposition, Exported) and disposition.paths:
        yield _withhold_paths(name, disposition)
    if any_type or _may_be_miswritten(section.table.columns[name].type):
        yield lambda members, row: _correct(members, name)


def _may_be_miswritten(kind: sa.types.TypeEngine[Any]) -> bool:
    kinds = (sa.Float, sa.Time, sa.ARRAY, sa.types.NullType, sa.types.UserDefinedType)
    return isinstance(kind, kinds)


def _correct(members: dict[str, Any], name: str) -> None:
    """Take from orjson what it writes wrongly without a word.

    NaN and the infinities become null; of a time of day whose microseconds have five digits it
    loses the leading zero (00:00:00.010000 becomes 00:00:00.10000; seen in 3.13.0).
    """
    value = members[name]
    if isinstance(value, float) and not math.isfinite(value):
        members[name] = _not_finite(value)
    elif isinstance(value, (dt.time, list, tuple, dict, set, frozenset)):
        members[name] = plain(value)


def _read_json(members: dict[str, Any], name: str) -> None:
    """Text that was declared as JSON; where it is none it stays the text that it is."""
    value = members[name]
    if isinstance(value, (str, bytes)):
        members[name] = json_from_sqlite(value)


def _mask(name: str, mask: Masked, places: Mapping[str, int], own_key: Any) -> Change:
    own_place = None if mask.unless_own is None else places[mask.unless_own]
    note = mask.note

    def change(members: dict[str, Any], row: Sequence[Any]) -> None:
        if members[name] is None or (own_place is not None and same_key(row[own_place], own_key)):
            return
        members[name] = note

    return change


def _withhold_paths(name: str, disposition: Exported) -> Change:
    paths = disposition.paths

    def change(members: dict[str, Any], row: Sequence[Any]) -> None:
        value = members[name]
        if isinstance(value, JsonText):
            members[name] = JsonText(dump_json(apply_paths(_parse(value.text), paths)))
        elif value is not None:
            members[name] = apply_paths(value, paths)

    return change


def dump_json(value: Any) -> bytes:
    """A JSON value, parsed with floats as Decimal, back as JSON with the same digits."""
    if isinstance(value, dict):
        members = (dump_value(str(key)) + b": " + dump_json(v) for key, v in value.items())
        return b"{" + b", ".join(members) + b"}"
    if isinstance(value, list):
        return b"[" + b", ".join(map(dump_json, value)) + b"]"
    if isinstance(value, Decimal):
        return str(value).encode()
    return dump_value(value)


def function_rows(section: FunctionSection | FilesSection, subject: Subject) -> Iterable[bytes]:
    """A function section's rows, rendered one by one."""
    for row in section.rows(subject):
        yield dump_object({str(name): plain(value) for name, value in row.items()})
