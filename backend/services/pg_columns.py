"""PostgreSQL's rows as columns: the server's own text where it is the JSON that is printed.

The settings that such a text could depend on are the snapshot's own (see ``services.snapshot``);
of those types whose text depends on any other, the values are loaded, as for rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from psycopg import DataError
from psycopg.abc import Transformer
from psycopg.pq.abc import PGresult
from sqlalchemy.engine import Connection

from backend.pg_encodings import is_utf8
from backend.pg_times import Loading
from backend.services.columns import ColumnarRows, Printed, Row, Unprintable, Values
from backend.services.fetching import Conversion, named_as_sqlalchemys

_Process = Callable[[Any], Any]
_Print = Callable[[Sequence[bytes | None]], Printed]


class Reading:
    """How the rows of one statement are read."""

    def __init__(self, connection: Connection, loading: Loading, converting: Conversion) -> None:
        self._connection = connection
        self._loading = loading
        self._converting = converting
        self._plans: dict[frozenset[int], _Plan] = {}

    def rows(self, result: PGresult) -> PgRows:
        """A result's rows, not taken apart yet."""
        return PgRows(self, result)

    def load(self, result: PGresult) -> Sequence[Row]:
        """A result's rows, converted. Raises ``DBAPIError``."""
        with named_as_sqlalchemys(self._connection):
            return self._converting.rows(self._loading.rows(result))

    def columns(self, result: PGresult, printable: Collection[int]) -> list[Values]:
        """See ``ColumnarRows.columns``."""
        key = frozenset(printable)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._plan(key)
        return plan.columns(result)

    def _plan(self, printable: frozenset[int]) -> _Plan:
        printers = {
            place: printer
            for place, code in enumerate(self._converting.codes)
            if place in printable
            and (code not in _JSON or is_utf8(self._connection.connection.dbapi_connection))
            and place not in self._converting.processes
            and (printer := _PRINTERS.get(code)) is not None
        }
        transformer = self._loading.octets_at(printers, self._converting.codes)
        return _Plan(transformer, printers, self._converting.processes)


class _Plan:
    """What is done to each column, for one choice of printable ones."""

    def __init__(
        self,
        transformer: Transformer,
        printers: Mapping[int, _Print],
        processes: Mapping[int, _Process],
    ) -> None:
        self._transformer = transformer
        self._printers = printers
        self._processes = processes

    def columns(self, result: PGresult) -> list[Values]:
        self._transformer.set_pgresult(result, set_loaders=False)
        try:
            rows = self._transformer.load_rows(0, result.ntuples, tuple)
        except (DataError, OverflowError):
            raise Unprintable from None
        columns: list[Values] = list(zip(*rows, strict=True))
        for place, printer in self._printers.items():
            columns[place] = printer(columns[place])
        for place, process in self._processes.items():
            columns[place] = tuple(map(process, columns[place]))
        return columns


class PgRows(ColumnarRows):
    """The rows of one result."""

    def __init__(self, reading: Reading, result: PGresult) -> None:
        super().__init__()
        self._reading = reading
        self._result = result

    def __len__(self) -> int:
        return self._result.ntuples

    def columns(self, printable: Collection[int]) -> list[Values]:
        return self._reading.columns(self._result, printable)

    def load(self) -> Sequence[Row]:
        return self._reading.load(self._result)


# -- printers -------------------------------------------------------------------------------------


def _as_it_is(texts: Sequence[bytes | None]) -> Printed:
    return Printed([b"null" if text is None else text for text in texts])


def _boolean(texts: Sequence[bytes | None]) -> Printed:
    return Printed(map(_BOOLEANS.__getitem__, texts))


_BOOLEANS: Final[Mapping[bytes | None, bytes]] = {b"t": b"true", b"f": b"false", None: b"null"}


def _quoted(texts: Sequence[bytes | None]) -> Printed:
    """Texts that need no escapes and hold no line break: none that is quoted here has any."""
    present = [text for text in texts if text is not None]
    if not present:
        return Printed([b"null"] * len(texts))
    return _with_nulls((b'"' + b'"\n"'.join(present) + b'"').split(b"\n"), texts)


def _number(texts: Sequence[bytes | None]) -> Printed:
    # Of so small a number Python prints the exponent (0.0000001 becomes 1E-7).
    if _SMALL.search(b"\n".join(filter(None, texts))):
        texts = [text and str(Decimal(text.decode())).encode() for text in texts]
    return _quoted(texts)


_SMALL: Final = re.compile(rb"0\.000000\d")


def _moment(end: bytes) -> _Print:
    """A printer of timestamps that end so on the server, and with ``+00:00`` if it is a zone.

    0.3 µs each, where to load and print one takes 0.65.
    """
    zone = b"+00:00" if end else b""
    forms = {19: b'"%b' + zone + b'"'}
    for digits in range(1, 7):
        forms[20 + digits] = b'"%b' + b"0" * (6 - digits) + zone + b'"'
    between = end + b"\n"

    def print_them(texts: Sequence[bytes | None]) -> Printed:
        present = [text for text in texts if text is not None]
        joined = b"\n".join([b"", *present, b""])
        # Else: infinity, a year of five digits, or one before Christ.
        if joined.translate(_SHAPES).count(b"\n0000-00-00 00:00:00") != len(present):
            raise Unprintable
        found = joined[1:].replace(b" ", b"T").split(between)
        if len(found) != len(present) + 1 or found.pop():
            raise Unprintable
        return _with_nulls([forms[len(text)] % text for text in found], texts)

    return print_them


def _date(texts: Sequence[bytes | None]) -> Printed:
    present = [text for text in texts if text is not None]
    joined = b"\n".join([b"", *present])
    shapes = joined.translate(_SHAPES).count(b"\n0000-00-00")
    if shapes != len(present) or len(joined) != len(b"\n0000-00-00") * len(present):
        raise Unprintable
    return _quoted(texts)


def _with_nulls(printed: list[bytes], texts: Sequence[bytes | None]) -> Printed:
    """What was printed of those that are not null, and ``null`` in the others' places."""
    if len(printed) == len(texts):
        return Printed(printed)
    following = iter(printed)
    return Printed([b"null" if text is None else next(following) for text in texts])


_JSON: Final = (114, 3802)
# A text with 0 for every digit.
_SHAPES: Final = bytes.maketrans(b"123456789", b"000000000")

# By the server's number of the type: what it prints as this program does.
_PRINTERS: Final[Mapping[int, _Print]] = {
    16: _boolean,
    20: _as_it_is,  # bigint
    21: _as_it_is,  # smallint
    23: _as_it_is,  # integer
    114: _as_it_is,  # json
    3802: _as_it_is,  # jsonb
    1082: _date,
    1114: _moment(b""),  # timestamp
    1184: _moment(b"+00"),  # timestamptz; the session's zone is UTC
    1700: _number,  # numeric
    2950: _quoted,  # uuid
}
