"""Text of a PostgreSQL database that is not in UTF-8, where one odd octet must not cost a person.

A server that is asked for UTF-8 refuses what it cannot convert: any octet of a database without an
encoding (SQL_ASCII) that is no UTF-8, and those that an encoding has no character for (0x81 in
WIN1252). The answer is then an error, and one such value would keep all of a person's data back. So
text of such databases comes as it is stored and is decoded here: without an encoding as UTF-8, an
octet that is no character as a lone surrogate (``\\udc81``), as SQLite's is.

psycopg sends statements to a server without an encoding in ASCII. Where a name of the database
needs more than that, the server stays asked for UTF-8.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

from psycopg import Connection
from psycopg.abc import AdaptContext, Buffer
from psycopg.abc import Loader as AnyLoader
from psycopg.adapt import AdaptersMap, Dumper, Loader, PyFormat
from psycopg.pq import Format

_UTF8: Final = "UTF8"
# Every octet of LATIN1 has a character, so the server converts all of it.
_CONVERTED: Final = (_UTF8, "LATIN1")
_NONE: Final = "SQL_ASCII"
# Python's names of the encodings that a server may keep text in. Of any other it converts the text.
_CODECS: Final = {
    _NONE: "utf-8",
    **{f"WIN{number}": f"cp{number}" for number in (866, 874, *range(1250, 1259))},
    **{f"ISO_8859_{number}": f"iso8859-{number}" for number in range(5, 9)},
    **{f"LATIN{n}": f"iso8859-{m}" for n, m in enumerate((2, 3, 4, 9, 10, 13, 14, 15, 16), 2)},
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
    "EUC_JP": "euc_jp",
    "EUC_KR": "euc_kr",
    "EUC_CN": "gb2312",
}
_JSON: Final = ("json", "jsonb")
_TEXTS: Final = ("text", "varchar", "bpchar", "name", '"char"')
_UNKNOWN: Final = 0  # stands for every type that the driver does not know
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NAMES_IN_ASCII: Final = (
    "SELECT NOT EXISTS (SELECT FROM pg_class WHERE relname ~ '[^ -~]')"
    " AND NOT EXISTS (SELECT FROM pg_attribute WHERE attname ~ '[^ -~]')"
    " AND NOT EXISTS (SELECT FROM pg_namespace WHERE nspname ~ '[^ -~]')"
)


def read_text_as_stored(connection: Connection[Any]) -> None:
    """Have a connection read text so, where its server cannot be relied on to convert it.

    Costs a trip or two on those alone. To be called where no transaction is open.
    """
    encoding = connection.info.parameter_status("server_encoding") or _UTF8
    codec = _CODECS.get(encoding)
    if encoding in _CONVERTED or codec is None:
        return
    if encoding == _NONE:
        row = connection.execute(_NAMES_IN_ASCII).fetchone()
        if row is None or not row[0]:
            return
    connection.execute(f"SET client_encoding = '{encoding}'").close()
    _register(connection.adapters, codec)


def is_utf8(connection: Any) -> bool:
    """Whether a psycopg connection's text comes in UTF-8."""
    return bool(connection.info.parameter_status("client_encoding") == _UTF8)


def _register(adapters: AdaptersMap, codec: str) -> None:
    text = type("_StoredText", (_Text,), {"codec": codec})
    for oid in (_UNKNOWN, *(adapters.types[name].oid for name in _TEXTS)):
        adapters.register_loader(oid, text)
    for name in _JSON:
        oid = adapters.types[name].oid
        inner = adapters.get_loader(oid, Format.TEXT)
        adapters.register_loader(
            oid, type("_StoredJson", (_Json,), {"codec": codec, "inner": inner})
        )
    oid = adapters.get_dumper(str, PyFormat.TEXT).oid
    adapters.register_dumper(str, type("_StoredDumper", (_Dumper,), {"codec": codec, "oid": oid}))


class _Text(Loader):
    codec: ClassVar[str]

    def load(self, data: Buffer) -> str:
        octets = bytes(data)
        try:
            return octets.decode(self.codec, "surrogateescape")
        except UnicodeDecodeError:  # an octet below 128 that ends a character before its time
            return octets.decode("ascii", "surrogateescape")


class _Json(_Text):
    inner: ClassVar[type[AnyLoader]]

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._inner = self.inner(oid, context)

    def load(self, data: Buffer) -> Any:
        # What is no character can only stand within a string, which has an escape for it.
        text = _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", super().load(data))
        return self._inner.load(text.encode())


class _Dumper(Dumper):
    codec: ClassVar[str]

    def dump(self, obj: Any) -> bytes:
        return str(obj).encode(self.codec, "surrogateescape")
