"""PostgreSQL's dates, times and intervals that Python has no value for, read as text.

``infinity``, years before 1 or after 9999, ``24:00:00``: psycopg refuses them, and one such value
would keep all of a person's data back. They are read as the text that the database prints.
An interval with months has no length in days (psycopg takes thirty): it is read as an ISO 8601
duration with every part that it was stored with.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

from psycopg import DataError
from psycopg.abc import AdaptContext, Buffer
from psycopg.abc import Loader as AnyLoader
from psycopg.adapt import AdaptersMap, Loader
from psycopg.pq import Format

_TYPES: Final = ("date", "timestamp", "timestamptz", "time", "timetz")
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
