"""Rows printed a column at a time, where the driver's own text of a value is what is printed.

The way by mappings makes an object of Python's for each value, a mapping for each row, and reads
both again: 2.7 s of the main thread's user CPU for 360,000 rows, where this takes 1.9. Here a
column is printed as a whole (an integer or a JSON text is not touched at all), and the rows are put
together by one join over the columns and the keys between them.

Nothing is printed otherwise than by ``rendering.dump_objects``: what this way is not known to print
to the same bytes goes that one, a whole chunk of rows at a time.
"""

from __future__ import annotations

import datetime as dt
import uuid
from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, overload

import orjson

from backend.services.rendering import JsonText, Rows, dump_values, text_of

Row = Sequence[Any]
Values = Sequence[Any]


class Unprintable(Exception):
    """Raised where a column's values cannot be printed so; their rows still can be."""


class Printed(list[bytes]):
    """A column's values as they stand in the file, in place of the values."""


class ColumnarRows(Sequence[Row]):
    """Rows that are not taken apart yet; whoever wants them as rows has them so."""

    def __init__(self) -> None:
        self._rows: Sequence[Row] | None = None

    @abstractmethod
    def columns(self, printable: Collection[int]) -> list[Values]:
        """The columns: of those in these places ``Printed`` where that is possible, else values.

        Raises ``Unprintable``.
        """

    @abstractmethod
    def load(self) -> Sequence[Row]:
        """The rows, each a sequence of values."""

    def _loaded(self) -> Sequence[Row]:
        if self._rows is None:
            self._rows = self.load()
        return self._rows

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        return self._loaded()[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self._loaded())


# What is one line of JSON whatever its value. An array or a mapping takes several, whose margin
# depends on where it stands.
_OF_ONE_LINE: Final = frozenset(
    {
        type(None),
        bool,
        int,
        float,
        str,
        bytes,
        Decimal,
        dt.datetime,
        dt.date,
        dt.time,
        dt.timedelta,
        uuid.UUID,
    }
)
_JSON_OR_NULL: Final = frozenset({type(None), JsonText})
# Between two values of an array. A raw line break never stands inside a JSON string.
_BETWEEN: Final = b",\n  "


def print_values(values: Values) -> list[bytes]:
    """Values of a column (at least one) as ``dump_objects`` prints them. Raises ``Unprintable``."""
    if isinstance(values, Printed):
        return values
    kinds = set(map(type, values))
    if kinds <= _JSON_OR_NULL:
        return list(map(text_of, values))
    if not kinds <= _OF_ONE_LINE:
        raise Unprintable
    try:
        text = dump_values(values)
    except (orjson.JSONEncodeError, UnicodeError):
        raise Unprintable from None
    return text[len(b"[\n  ") : -len(b"\n]")].split(_BETWEEN)


@lru_cache(maxsize=512)
def row_printer(names: tuple[str, ...]) -> RowPrinter:
    """The printer of rows of these names."""
    return RowPrinter(names)


class RowPrinter:
    """Puts columns of these names (at least one) together to rows."""

    def __init__(self, names: Sequence[str]) -> None:
        keys = [b"    " + orjson.dumps(name) + b": " for name in names]
        self._start = b"{\n" + keys[0]
        self._end = b"\n  }"
        first = self._end + _BETWEEN + self._start
        self._keys = [first, *(b",\n" + key for key in keys[1:])]
        self._row = [piece for key in self._keys for piece in (key, b"")]

    def print(self, columns: Sequence[Values], count: int) -> Rows:
        """``count`` rows (at least one) of these columns, printed or not.

        Raises ``Unprintable``.
        """
        width = len(self._row)
        pieces = self._row * count
        for place, values in enumerate(columns):
            pieces[2 * place + 1 :: width] = print_values(values)
        pieces[0] = self._start
        pieces.append(self._end)
        return Rows(count, b"".join(pieces))
