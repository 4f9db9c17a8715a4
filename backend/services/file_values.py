"""The paths of files that a column's value names: one as text or octets, several as a list."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from backend.errors import SectionError
from backend.services.base_types import Kind, base_type, stored_type
from backend.services.rendering import (
    Digits,
    JsonText,
    Members,
    dump_json,
    dump_value,
    parse_json,
    text_of,
)

if TYPE_CHECKING:
    from backend.services.sections import TableSection

ADDRESS: Final = "the value is an address, not a path"
NO_PATH: Final = "the value is not a path"

# What no path is kept in. Of SQLite's columns the type says little: their values are looked at.
_NO_PATHS: Final = (sa.Numeric, sa.Integer, sa.Boolean, sa.Date, sa.DateTime, sa.Time, sa.Interval)
# A list may stand in a JSON text in a JSON text.
_DEEPEST: Final = 3
# Longer than any path: the section's own file has the value.
_SHOWN: Final = 4096
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|data:[^/,;]*/?[^/,;]*[,;]")


@dataclass(frozen=True, slots=True)
class Named:
    """A path that a value names, or a ``problem``: why there is none. ``name`` shows it."""

    name: str
    problem: str | None = None


def require_paths(where: str, columns: Mapping[str, Kind], hidden: Collection[str] = ()) -> None:
    """Raise ``SectionError`` for a column of ``files`` whose type holds no paths.

    ``hidden`` are columns of JSON of which parts are withheld or masked: their values, paths among
    them, would be in the list of files.
    """
    for name, kind in columns.items():
        if name in hidden:
            raise SectionError(
                f"{where}: files: parts of {name} are withheld or masked, and its files would show "
                "them; take them out of json, or the column out of files"
            )
        base = base_type(kind)
        held = stored_type(base.item_type if isinstance(base, sa.ARRAY) else kind)
        if isinstance(held, _NO_PATHS):
            raise SectionError(
                f"{where}: files: {name} holds {held.__visit_name__.upper()}, not paths; name a "
                "column with paths, or let a function yield the files (FilesSection)"
            )


def json_columns(section: TableSection) -> frozenset[str]:
    """The columns of a section's ``files`` that hold JSON, by their type or by declaration."""
    return frozenset(
        name
        for name in section.files
        if isinstance(base_type(section.table.c[name].type), sa.JSON)
        or getattr(section.columns[name], "as_json", False)
    )


def named_by(value: Any, *, is_json: bool) -> Iterator[Named]:
    """The paths that a value names. ``is_json``: the column is declared to hold JSON.

    Text is a path; so are octets. A list (an array, or one of JSON) names one file an element.
    NULL and empty texts name none. Anything else is no path, and is shown as that.
    """
    stack = [(value, _DEEPEST if is_json else 0)]
    while stack:
        value, depth = stack.pop()
        if isinstance(value, JsonText):
            try:
                value, depth = parse_json(text_of(value)), _DEEPEST
            except (ValueError, RecursionError):
                yield Named(text_of(value).decode("utf-8", "replace")[:_SHOWN], NO_PATH)
                continue
        if isinstance(value, (bytes, bytearray, memoryview)):
            value = bytes(value).decode("utf-8", "surrogateescape")
        if depth and type(value) is str and value.lstrip().startswith(("[", "{", '"')):
            try:
                stack.append((parse_json(value), depth - 1))
                continue
            except (ValueError, RecursionError):
                pass  # text as it is
        if isinstance(value, (set, frozenset)):
            value = sorted(value, key=repr)
        if isinstance(value, (list, tuple)) and not isinstance(value, Members):
            stack.extend((item, depth) for item in reversed(value))
        elif value is not None and value != "":
            yield _named(value)


def _named(value: Any) -> Named:
    if isinstance(value, uuid.UUID):
        value = str(value)
    if isinstance(value, (Digits, Members)):
        return Named(dump_json(value).decode()[:_SHOWN], NO_PATH)
    if not isinstance(value, str):
        return Named(dump_value(value).decode()[:_SHOWN], NO_PATH)
    if _ADDRESS.match(value):
        return Named(value[:_SHOWN], ADDRESS)
    return Named(value[:_SHOWN], NO_PATH if len(value) > _SHOWN else None)
