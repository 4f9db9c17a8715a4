"""PostgreSQL's dates, times and intervals that Python has no value for, read as text.

``infinity``, years before 1 or after 9999, ``24:00:00``: psycopg refuses them, and one such value
would keep all of a person's data back. They are read as the text that the database prints.
An interval with months has no length in days (psycopg takes thirty): it is read as an ISO 8601
duration with every part that it was stored with.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from psycopg import Connection, DataError
from psycopg import adapters as global_adapters
from psycopg.abc import AdaptContext, Buffer
from psycopg.abc import Loader as AnyLoader
from psycopg.abc import Transformer as AnyTransformer
from psycopg.adapt import AdaptersMap, Loader, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

_TYPES: Final = ("date", "timestamp", "timestamptz", "time", "timetz")
# No server has a type of this number.
_OCTETS: Final = 0xFFFF_FFFF
_INTERVAL: Final = re.compile(
    r"(?:(-?\d+) years? ?)?(?:([-+]?\d+) mons? ?)?(?:([-+]?\d+) days? ?)?"
    r"(?:([-+]?)(\d+):(\d+):(\d+)(\.\d+)?)?"
)


def register(adapters: AdaptersMap) -> None:
    """Have a connection read those values. On the connection alone; its driver stays as it is."""
    for name in _TYPES:
        _wrap(adapters, name, _Tolerant)
    _wrap(adapters, "interval", _Interval)


def _wrap(adapters: AdaptersMap, name: str, wrapper: type[_Tolerant]) -> None:
    oid = adapters.types[name].oid
    loader = adapters.get_loader(oid, Format.TEXT)
    assert loader is not None
    # The driver's own are no Python classes, so theirs is held, not inherited.
    wrapped = type(wrapper.__name__, (wrapper,), {"inner": loader})
    adapters.register_loader(oid, wrapped)


class Loading:
    """Makes rows of a connection's results: fast as a rule, tolerantly where need be.

    The driver's own loaders of times are compiled; to ask ours first would cost more than all the
    other columns together (0.24 s against 0.5 for 100,000 rows). So a result is loaded again, by
    ours, when it holds what the driver's refuse.
    """

    def __init__(self, connection: Connection[Any]) -> None:
        fast = _Context(AdaptersMap(connection.adapters), connection)
        for name in _TYPES:
            oid = fast.adapters.types[name].oid
            loader = global_adapters.get_loader(oid, Format.TEXT)
            assert loader is not None
            fast.adapters.register_loader(oid, loader)
        self._context = fast
        self._fast = Transformer(fast)
        self._tolerant = Transformer(connection)

    def octets_at(self, places: Collection[int], codes: Sequence[int]) -> AnyTransformer:
        """What loads columns of these types as ``rows`` does at first, but in these places octets.

        For results whose columns these are; it need not be told them again by each.
        """
        adapters = _WithOctets(self._context.adapters)
        context = _Context(adapters, self._context.connection)
        transformer = Transformer(context)
        transformer.set_loader_types(
            [_OCTETS if place in places else code for place, code in enumerate(codes)], Format.TEXT
        )
        return transformer

    def rows(self, result: PGresult, *, as_before: bool = False) -> list[tuple[Any, ...]]:
        """The rows of a result in text format. Raises what the server's error says.

        ``as_before``: its columns are those of the result before it.
        """
        require_success(result)
        count = result.ntuples
        self._fast.set_pgresult(result, set_loaders=not as_before)
        try:
            return self._fast.load_rows(0, count, tuple)
        except (DataError, OverflowError):
            self._tolerant.set_pgresult(result)
            return self._tolerant.load_rows(0, count, tuple)


def require_success(result: PGresult) -> None:
    """Raise what the server's error says, if the result is one."""
    if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.SINGLE_TUPLE, ExecStatus.COMMAND_OK):
        raise error_from_result(result)


@dataclass
class _Context:
    """What a transformer takes its loaders from."""

    adapters: AdaptersMap
    connection: Connection[Any]


class _WithOctets(AdaptersMap):
    """Another map, and a type whose values are octets."""

    def get_loader(self, oid: int, format: Format) -> type[AnyLoader] | None:  # noqa: A002
        if oid == _OCTETS:
            # The driver's own loader of octets, which is compiled where the driver is; it cannot
            # be registered as one of another format.
            return global_adapters.get_loader(global_adapters.types["bytea"].oid, Format.BINARY)
        return super().get_loader(oid, format)


class _Tolerant(Loader):
    """Another loader, and what it refuses as text."""

    inner: ClassVar[type[AnyLoader]]

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._load = self.inner(oid, context).load

    def load(self, data: Buffer) -> Any:
        try:
            return self._load(data)
        except (DataError, OverflowError):
            return bytes(data).decode()


class _Interval(_Tolerant):
    def load(self, data: Buffer) -> Any:
        text = bytes(data)
        if b"mon" in text or b"year" in text:
            return iso_duration(text.decode())
        return super().load(data)


def iso_duration(text: str) -> str:
    """PostgreSQL's ``1 year 2 mons -3 days 04:05:06.7`` as ``P1Y2M-3DT4H5M6.7S``, part by part.

    What is no such text (``infinity``) is returned unchanged.
    """
    found = _INTERVAL.fullmatch(text)
    if found is None:
        return text
    years, months, days, sign, hours, minutes, seconds, fraction = found.groups()
    parts = [
        f"{int(value)}{letter}"
        for value, letter in ((years, "Y"), (months, "M"), (days, "D"))
        if value is not None
    ]
    if hours is not None:
        minus = "-" if sign == "-" else ""
        rest = (fraction or "").rstrip("0").rstrip(".")
        parts.append(f"T{minus}{int(hours)}H{minus}{int(minutes)}M{minus}{int(seconds)}{rest}S")
    return "P" + "".join(parts)
