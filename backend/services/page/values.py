"""JSON values as a person reads them, in one language.

Whatever goes in is somebody's text: what ``html`` returns is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import Enum
from html import escape
from typing import Any, Final

import sqlalchemy as sa

from backend.services.base_types import stored_type
from backend.services.page.catalogue import Catalogue
from backend.services.telling_names import TIMES, tells

# Of a longer text the page shows the beginning; the file has all of it.
MAX_CHARACTERS: Final = 1000
# Deeper than this nobody reads a table's cell.
_MAX_DEPTH: Final = 8
_MAX_LINES: Final = 200
_NESTED: Final = frozenset({dict, list})
_CUT: Final = "…"
_NOTHING: Final = "–"

# What has no place in HTML, or would act on a terminal: controls, lone surrogates, non-characters.
_ODD_CHARACTERS: Final = "\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
_ODD: Final = re.compile(f"[{_ODD_CHARACTERS}]")
# One look tells of most texts that there is nothing to do.
_TO_WRITE_OTHERWISE: Final = re.compile(f"[&<>\"'{_ODD_CHARACTERS}]")
_PLAIN: Final = re.compile(f"[^&<>\"'{_ODD_CHARACTERS}]{{1,{MAX_CHARACTERS}}}")
# As a database's timestamps are printed: day, time, UTC if it is that. Others are parsed.
_MOMENT: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]((?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])"
    r"(?:\.[0-9]{3}|\.[0-9]{6})?(\+00:00)?"
)
_NUMBER: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")
# Stands for the time of day where only the day is known.
_TIME: Final = "\0"


class Kind(Enum):
    """How a column's values are written."""

    TEXT = "text"
    NUMBER = "number"
    MOMENT = "moment"
    KEY = "key"


def kind_of(column: sa.Column[Any] | None) -> Kind:
    """How to write a column's values. A number that only names something is not grouped."""
    if column is None:
        return Kind.TEXT
    kind = stored_type(column.type)
    if isinstance(kind, (sa.Date, sa.DateTime, sa.Time)):
        return Kind.MOMENT
    if isinstance(kind, sa.Integer):
        names = column.primary_key or column.foreign_keys or column.name.lower().endswith("id")
        return Kind.KEY if names else Kind.NUMBER
    if isinstance(kind, (sa.String, sa.types.NullType)) and tells(column.name, TIMES):
        # SQLite has no type for times, and keeps them as text. What is none is written as it is.
        return Kind.MOMENT
    return Kind.NUMBER if isinstance(kind, sa.Numeric) else Kind.TEXT


def clean(text: str) -> str:
    """The text without characters that a page cannot hold; signs that stand for them instead."""
    return _ODD.sub(_picture, text) if _ODD.search(text) else text


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 32:
        return chr(0x2400 + code)  # Unicode's pictures of the control characters
    return "\u2421" if code == 127 else "\ufffd"


class ValueWriter:
    """Writes values in one language. ``cut`` counts the texts that it did not write whole.

    ``notes`` are what withheld and masked values were replaced by, with the words for them.
    """

    def __init__(self, words: Catalogue, notes: Mapping[str, str] | None = None) -> None:
        self._words = words
        self._months = words.series("format.months")
        self._date_pattern, self._instant_pattern = words["format.date"], words["format.instant"]
        self._list = words["format.list"]
        self._group, self._decimal = words["format.group"], words["format.decimal"]
        self._notes = notes or {}
        # A person's rows are of few days, and some.
        self._dates: dict[tuple[int, int, int], str] = {}
        self._days: dict[tuple[str, str | None], str] = {}
        self._truth = {True: words["value.yes"], False: words["value.no"]}
        self.cut = 0

    def column(self, values: Iterable[Any], kind: Kind) -> list[str]:
        """Values of one column, each as ``html`` writes it."""
        html, notes = self.html, self._notes
        if kind is Kind.TEXT:
            is_plain = _PLAIN.fullmatch
            return [
                value
                if type(value) is str and is_plain(value) and value not in notes
                else html(value)
                for value in values
            ]
        if kind is Kind.KEY:
            return [str(value) if type(value) is int else html(value, kind) for value in values]
        typed = self._typed
        return [
            typed(value, kind)
            if value and type(value) is str and value not in notes
            else html(value, kind)
            for value in values
        ]

    def html(self, value: Any, kind: Kind = Kind.TEXT) -> str:
        """Any JSON value as escaped HTML; numbers with a fraction come as ``Decimal``."""
        if value is None or value == "":
            return _NOTHING
        if isinstance(value, str):
            if value in self._notes:
                return f"<em>{escape(self._notes[value])}</em>"
            return self._text(value) if kind is Kind.TEXT else self._typed(value, kind)
        if isinstance(value, bool):
            return escape(self._truth[value])
        if isinstance(value, (int, float, Decimal)):
            return str(value) if kind is Kind.KEY else self._text(self.number(value))
        lines: list[str] = []
        self._lines(value, "", 0, lines)
        return self._text("\n".join(lines) or _NOTHING)

    def _typed(self, value: str, kind: Kind) -> str:
        if len(value) > MAX_CHARACTERS:
            return self._text(value)
        if kind is Kind.MOMENT and (shown := self._shown_moment(value)) is not None:
            if _TO_WRITE_OTHERWISE.search(value):  # any sign may part date and time
                value = escape(value)
            return f'<time datetime="{value}">{shown}</time>'
        if kind is Kind.NUMBER:
            try:
                return self._text(self.number(Decimal(value)))
            except InvalidOperation:
                pass
        return self._text(value)

    def _shown_moment(self, text: str) -> str | None:
        """As ``moment``, escaped."""
        found = _MOMENT.fullmatch(text)
        if found is None:
            shown = self.moment(text)
            return None if shown is None else escape(shown)
        day, clock, zone = found.groups()
        form = self._days.get((day, zone))
        if form is None:
            try:
                date_shown = self._date(date.fromisoformat(day))
            except ValueError:
                return None
            form = escape(self._instant(date_shown, _TIME, "UTC" if zone else ""))
            self._days[day, zone] = form
        return form.replace(_TIME, clock)

    def _text(self, text: str) -> str:
        if len(text) > MAX_CHARACTERS:
            self.cut += 1
            text = text[:MAX_CHARACTERS] + _CUT
        return escape(clean(text)) if _TO_WRITE_OTHERWISE.search(text) else text

    def _lines(self, value: Any, path: str, depth: int, lines: list[str]) -> None:
        """A nested value as one line a leaf, ``input › file: a.pdf``, as many as are shown."""
        if len(lines) > _MAX_LINES:
            return
        nested = bool(value) and isinstance(value, (dict, list))
        if nested and depth == _MAX_DEPTH:
            self.cut += 1
            lines.append(f"{path}: {_CUT}")
        elif nested and isinstance(value, dict):
            for key, item in value.items():
                place = f"{path} › {key}" if path else str(key)
                self._lines(item, place, depth + 1, lines)
        elif nested and not _NESTED.isdisjoint(map(type, value)):
            for index, item in enumerate(value, start=1):
                self._lines(item, f"{path} › {index}" if path else str(index), depth + 1, lines)
        else:
            text = self._list.join(map(self._leaf, value)) if nested else self._leaf(value)
            lines.append(f"{path}: {text}" if path else text)

    def _leaf(self, value: Any) -> str:
        if isinstance(value, str):
            if value in self._notes:
                return f"[{self._notes[value]}]"
            return value or _NOTHING
        if isinstance(value, bool):
            return self._truth[value]
        return str(value) if value or value == 0 else _NOTHING

    def number(self, value: float | Decimal) -> str:
        """A number with the language's decimal mark, grouped from five digits on."""
        text = f"{value:f}" if isinstance(value, Decimal) and _is_short(value) else str(value)
        found = _NUMBER.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
        return text if found is None else self._grouped(*found.groups())

    def _grouped(self, sign: str, whole: str, fraction: str | None) -> str:
        if len(whole) > 4:
            whole = f"{int(whole):,}".replace(",", self._group)
        if fraction is not None:
            whole += self._decimal + fraction
        return ("\u2212" if sign else "") + whole  # a minus, which no line break parts

    def moment(self, text: str) -> str | None:
        """A date, time or timestamp by its ISO 8601 text; None where it is something else."""
        try:
            if len(text) == 10:
                return self._date(date.fromisoformat(text))
            if text[2:3] == ":":
                return _clock(time.fromisoformat(text))
            return self.instant(datetime.fromisoformat(text))
        except ValueError:
            return None

    def instant(self, instant: datetime) -> str:
        """An instant to the second, with its zone if it has one."""
        zone = "" if instant.tzinfo is None else instant.tzname() or ""
        return self._instant(self._date(instant), _clock(instant), zone)

    def _instant(self, shown_date: str, clock: str, zone: str) -> str:
        return self._instant_pattern.format(date=shown_date, time=clock, zone=zone).rstrip()

    def _date(self, day: date) -> str:
        key = day.year, day.month, day.day
        shown = self._dates.get(key)
        if shown is None:
            month = self._months[day.month - 1]
            shown = self._date_pattern.format(day=day.day, month=month, year=day.year)
            self._dates[key] = shown
        return shown

    def size(self, count: int) -> str:
        """Bytes as a person measures them."""
        for unit, least in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
            if count >= least:
                whole, tenth = divmod(count * 10 // least, 10)
                shown = self._grouped("", str(whole), str(tenth) if tenth else None)
                return f"{shown} {unit}"
        return f"{self.number(count)} B"


def _clock(moment: time | datetime) -> str:
    return f"{moment.hour:02}:{moment.minute:02}:{moment.second:02}"


def _is_short(value: Decimal) -> bool:
    """Whether its digits can all be written: 1E+999999999 is a number that JSON allows."""
    exponent = value.as_tuple().exponent
    return (
        isinstance(exponent, int) and max(value.adjusted(), 0) - min(exponent, 0) < MAX_CHARACTERS
    )
