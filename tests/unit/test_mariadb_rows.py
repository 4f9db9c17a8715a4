"""MariaDB's packets are read as PyMySQL reads them."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymysql.converters import convert_datetime
from pymysql.protocol import MysqlPacket

from backend.services.mariadb_rows import read_datetime, split


def packed(value: bytes | None) -> bytes:
    if value is None:
        return b"\xfb"
    size = len(value)
    for limit, mark, width in ((251, b"", 1), (1 << 16, b"\xfc", 2), (1 << 24, b"\xfd", 3)):
        if size < limit:
            return mark + size.to_bytes(width, "little") + value
    return b"\xfe" + size.to_bytes(8, "little") + value


SIZES = (0, 1, 250, 251, 252, 255, 256, 65_535, 65_536, (1 << 24) - 1, 1 << 24)


@pytest.mark.parametrize("size", SIZES)
def test_split_value_of_every_width_is_whole(size: int) -> None:
    values = [b"x", None, b"y" * size, b"", None, b"z"]
    assert split(b"".join(map(packed, values)), len(values)) == values


@given(values=st.lists(st.none() | st.binary(max_size=600), min_size=1))
def test_split_gives_what_pymysqls_packet_gives(values: list[bytes | None]) -> None:
    content = b"".join(map(packed, values))
    theirs = MysqlPacket(content, "utf8")
    assert split(content, len(values)) == [theirs.read_length_coded_string() for _ in values]


@given(
    moment=st.datetimes(),
    timespec=st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)
def test_datetime_is_what_pymysql_reads(moment: datetime, timespec: str) -> None:
    text = moment.isoformat(" ", timespec)
    assert read_datetime(text) == convert_datetime(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-04 05:06:07.1",
        "2026-03-04 05:06:07.12345",
        "0000-00-00 00:00:00",
        "2026-02-31 00:00:00",
        "2026-00-01 00:00:00.000000",
    ],
)
def test_datetime_of_odd_form_is_what_pymysql_reads(text: str) -> None:
    assert read_datetime(text) == convert_datetime(text)
