"""MariaDB's rows off PyMySQL's packets, split row by row and read a column at a time.

PyMySQL is Python throughout, and makes four calls for each value and a regular expression for each
timestamp: 7 of the 16.5 µs that a row took of the exporter's thread. What a value is read as stays
its own: the same encodings and converters, found out by it for each result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from pymysql.converters import convert_datetime

Row = Sequence[Any]

# The first octet of a value is its length, or says how many octets of length follow (the protocol's
# "length-encoded string").
_NULL: Final = 251
_WIDTHS: Final = {252: 2, 253: 3, 254: 8}


def read_rows(cursor: Any, most: int) -> list[Row]:
    """The next rows of an unbuffered cursor, as its ``fetchmany`` gives them; none at the end.

    Raises PyMySQL's errors.
    """
    result = cursor._result
    found: list[list[bytes | None]] = []
    while len(found) < most and result.unbuffered_active:
        packet = result.connection._read_packet()
        if result._check_packet_is_eof(packet):
            result.unbuffered_active = False
            result.connection = None
            break
        found.append(split(packet.get_all_data(), result.field_count))
    if not found:
        return []
    columns = [
        _read(values, encoding, converter)
        for values, (encoding, converter) in zip(
            zip(*found, strict=True), result.converters, strict=True
        )
    ]
    return list(zip(*columns, strict=True))


def split(packet: bytes, count: int) -> list[bytes | None]:
    """The ``count`` values of a row's packet."""
    values: list[bytes | None] = []
    at = 0
    for _ in range(count):
        size = packet[at]
        at += 1
        if size >= _NULL:
            if size == _NULL:
                values.append(None)
                continue
            width = _WIDTHS[size]
            size = int.from_bytes(packet[at : at + width], "little")
            at += width
        values.append(packet[at : at + size])
        at += size
    return values


def _read(
    octets: Sequence[bytes | None], encoding: str | None, converter: Callable[[Any], Any] | None
) -> Sequence[Any]:
    values: Sequence[Any] = octets
    if encoding is not None:
        values = [each if each is None else each.decode(encoding) for each in octets]
    if converter is convert_datetime:
        converter = read_datetime
    if converter is not None:
        values = [each if each is None else converter(each) for each in values]
    return values


def read_datetime(text: str) -> Any:
    """A DATETIME or TIMESTAMP; what is none (``0000-00-00``) as PyMySQL reads it."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return convert_datetime(text)
