"""A table section's rows as JSON, some at a time: each column's disposition, then its values.

A chunk of rows is turned into columns, changed column by column, and printed by one call: what is
done to a row is done in compiled loops, and what is done to a column only where it is needed.
"""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, Final

import sqlalchemy as sa

from backend.errors import SectionFailed
from backend.services.base_types import base_type
from backend.services.columns import ColumnarRows, Unprintable, row_printer
from backend.services.json_paths import hiding
from backend.services.per_section import PerSection
from backend.services.rendering import (
    JsonText,
    Rows,
    dump_object,
    dump_objects,
    json_from_sqlite,
    not_finite,
    plain,
)
from backend.services.sections import (
    Exported,
    FilesSection,
    FunctionSection,
    Masked,
    Subject,
    TableSection,
    Withheld,
)
from backend.services.subject_keys import same_key

Renderer = Callable[[Sequence[Sequence[Any]]], Rows]
Column = Sequence[Any]
Paths = Mapping[str, Withheld | Masked]
# Makes of a column's values what is shown, given all columns as they were read, and the person's
# own key.
Change = Callable[[Column, Sequence[Column], Any], Column]


def table_renderer(section: TableSection, subject: Subject, *, any_type: bool) -> Renderer:
    """A function that turns result rows of the section (at least one) into JSON objects.

    A row holds ``section.read_columns()``, then ``section.extra_columns()``. ``any_type`` says
    that the database lets any column hold a value of any type (SQLite).
    """
    render = _made.get(section, any_type, lambda: _renderer(section, any_type=any_type))
    return partial(render, subject.user_id)


def _renderer(
    section: TableSection, *, any_type: bool
) -> Callable[[Any, Sequence[Sequence[Any]]], Rows]:
    """As ``table_renderer``, for anybody: it takes the person's own key before the rows."""
    read, extra = section.read_columns(), section.extra_columns()
    # orjson refuses SQLAlchemy's quoted_name, so plain strings.
    names = [str(column.name) for column in read]
    places = {column.name: i for i, column in enumerate([*read, *extra])}
    changes = [
        (place, change)
        for place, name in enumerate(names)
        for change in _changes(section, name, places, any_type=any_type)
    ]

    as_objects = objects_of(tuple(names), more=bool(extra))
    changed = {place for place, _ in changes}
    deciding = {places[name] for name in section.deciding_columns()}
    printable = frozenset(range(len(names))) - changed - deciding
    # An array takes several lines, whose margin only the way by rows knows: not tried in vain.
    columnar = bool(names) and not any(isinstance(base_type(c.type), sa.ARRAY) for c in read)

    def render(own_key: Any, rows: Sequence[Sequence[Any]]) -> Rows:
        if columnar and isinstance(rows, ColumnarRows):
            try:
                return by_columns(own_key, rows)
            except Unprintable:
                pass
        if not changes:
            return dump_objects(as_objects(rows))
        columns = list(zip(*rows, strict=True))
        shown: list[Column] = [*columns]
        for place, change in changes:
            shown[place] = change(shown[place], columns, own_key)
        return dump_objects(as_objects(zip(*shown, strict=True)))

    def by_columns(own_key: Any, rows: ColumnarRows) -> Rows:
        columns = rows.columns(printable)
        shown = [*columns]
        for place, change in changes:
            shown[place] = change(shown[place], columns, own_key)
        return row_printer(tuple(names)).print(shown[: len(names)], len(rows))

    return render


_made: Final[PerSection[Callable[[Any, Sequence[Sequence[Any]]], Rows]]] = PerSection()


@lru_cache(maxsize=512)
def objects_of(
    names: tuple[str, ...], *, more: bool
) -> Callable[[Iterable[Sequence[Any]]], list[dict[str, Any]]]:
    """A function that makes of rows mappings from these names; ``more``: a row may hold more.

    Written out as code once, as ``namedtuple`` does: a dictionary of constant keys takes 0.24 µs a
    row of ten columns where ``dict(zip(…))`` takes 0.65.
    """
    values = [f"v{number}" for number in range(len(names))]
    members = ", ".join(f"{name!r}: {value}" for name, value in zip(names, values, strict=True))
    unpacked = ", ".join([*values, *(["*_"] if more or not names else [])])
    code = f"lambda rows: [{{{members}}} for ({unpacked},) in rows]"
    made: Callable[[Iterable[Sequence[Any]]], list[dict[str, Any]]] = eval(code, {})  # noqa: S307
    return made


def _changes(
    section: TableSection, name: str, places: Mapping[str, int], *, any_type: bool
) -> Iterable[Change]:
    disposition = section.columns[name]
    if isinstance(disposition, Exported) and disposition.as_json:
        yield lambda values, *_: [_read_json(value) for value in values]
    if isinstance(disposition, Masked):
        yield _mask(disposition, places)
    elif isinstance(disposition, Exported) and disposition.paths:
        yield _withhold_paths(disposition.paths, places)
    if any_type or _may_be_miswritten(section.table.columns[name].type):
        yield _correct


def _may_be_miswritten(kind: sa.types.TypeEngine[Any]) -> bool:
    kinds = (
        sa.Float,
        sa.Time,
        sa.ARRAY,
        sa.types.NullType,
        sa.types.UserDefinedType,
        sa.types.TypeDecorator,
    )
    return isinstance(base_type(kind), kinds)


# Types that orjson writes rightly, or asks about. A look at a whole column's types is a twentieth
# of the time of a look at each of its values.
_WRITTEN_RIGHTLY: Final = frozenset(
    {
        type(None),
        bool,
        int,
        str,
        bytes,
        Decimal,
        dt.datetime,
        dt.date,
        dt.timedelta,
        uuid.UUID,
        JsonText,
    }
)


def _correct(values: Column, *_: Any) -> Column:
    return values if _WRITTEN_RIGHTLY.issuperset(map(type, values)) else list(map(_right, values))


def _right(value: Any) -> Any:
    """Take from orjson what it writes wrongly without a word.

    NaN and the infinities become null; of a time of day whose microseconds have five digits it
    loses the leading zero (00:00:00.010000 becomes 00:00:00.10000; seen in 3.13.0).
    """
    if isinstance(value, float) and not math.isfinite(value):
        return not_finite(value)
    if isinstance(value, (list, tuple)):
        return list(map(_right, value))  # JSON within it stands as it is, too
    if isinstance(value, (dt.time, dict, set, frozenset)):
        return plain(value)
    return value


def _read_json(value: Any) -> Any:
    """Text that was declared as JSON, or an array of it; what is none stays as it is."""
    if isinstance(value, list):
        return list(map(_read_json, value))
    return json_from_sqlite(value) if isinstance(value, (str, bytes)) else value


def _mask(mask: Masked, places: Mapping[str, int]) -> Change:
    own_place = None if mask.unless_own is None else places[mask.unless_own]
    note = mask.note

    def change(values: Column, columns: Sequence[Column], own_key: Any) -> Column:
        if own_place is None:
            return [None if value is None else note for value in values]
        return [
            value if value is None or same_key(key, own_key) else note
            for value, key in zip(values, columns[own_place], strict=True)
        ]

    return change


def _withhold_paths(paths: Paths, places: Mapping[str, int]) -> Change:
    masks = (part for part in paths.values() if isinstance(part, Masked))
    deciding = sorted({mask.unless_own for mask in masks if mask.unless_own is not None})
    if not deciding:
        replace = hiding(paths)
        return lambda values, *_: list(map(replace, values))
    by_own: dict[frozenset[str], Callable[[Any], Any]] = {}

    def change(values: Column, columns: Sequence[Column], own_key: Any) -> Column:
        shown = []
        for value, *keys in zip(values, *(columns[places[name]] for name in deciding), strict=True):
            own = frozenset(
                name for name, key in zip(deciding, keys, strict=True) if same_key(key, own_key)
            )
            if own not in by_own:
                by_own[own] = hiding(
                    {path: part for path, part in paths.items() if not _stays(part, own)}
                )
            shown.append(by_own[own](value))
        return shown

    return change


def _stays(part: Withheld | Masked, own: frozenset[str]) -> bool:
    return isinstance(part, Masked) and part.unless_own in own


def function_rows(section: FunctionSection | FilesSection, subject: Subject) -> Iterable[bytes]:
    """A function section's rows, rendered one by one."""
    for row in yielded_by(section, subject):
        yield dump_object({str(name): plain(value) for name, value in row.items()})


def yielded_by(
    section: FunctionSection | FilesSection, subject: Subject
) -> Iterator[Mapping[str, Any]]:
    """A function section's rows. Raises ``SectionFailed`` where its function cannot read them."""
    try:
        yield from section.rows(subject)
    except OSError as error:
        raise SectionFailed(section.name, error) from error
