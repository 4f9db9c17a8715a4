"""How a drafted ``sections.toml`` is written: texts, keys, comments and lists of names."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from backend.services.reflection import Name
from backend.services.schema_graph import ForeignKey, TableShape

_WIDTH: Final = 96


def join_text(key: ForeignKey) -> str:
    """A join of an owner path, along a foreign key."""
    table = ".".join(_identifier(part) for part in key.target if part)
    pairs = zip(key.columns, key.target_columns, strict=True)
    text = ", ".join(f"{_identifier(a)} = {table}.{_identifier(b)}" for a, b in pairs)
    return f"'{text}'" if '"' in text and "'" not in text else quoted(text)


def _identifier(name: str) -> str:
    return name if re.fullmatch(r'[^\s".,=]+', name) else f'"{name}"'


def table_lines(name: Name) -> Iterator[str]:
    """``table``, and ``schema`` where it is another than the connection's."""
    yield f"table = {quoted(name[1])}"
    if name[0] is not None:
        yield f"schema = {quoted(name[0])}"


def section_table_lines(table: TableShape, *, single: bool) -> Iterator[str]:
    """A section's table, and its history where the database keeps one."""
    yield from table_lines(table.name)
    if table.versioned and single:
        yield "# Earlier versions of this row want a section of their own, with history = true."
    elif table.versioned:
        yield "history = true"


def quoted(text: str) -> str:
    """A text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False)


def key_text(name: str) -> str:
    """A key as TOML writes it."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else quoted(name)


def comment_lines(notes: Sequence[str]) -> Iterator[str]:
    """Notes as comments, wrapped; what begins with a blank stands as it is."""
    for note in notes:
        if note.startswith(" "):  # to be copied
            yield f"# {note}"
            continue
        yield from (f"# {line}" for line in textwrap.wrap(note, _WIDTH, break_long_words=False))


def list_lines(key: str, names: Sequence[str]) -> Iterator[str]:
    """A list of texts under a key, on as many lines as it needs."""
    whole = f"{key} = [{', '.join(map(quoted, names))}]"
    if len(whole) <= _WIDTH:
        yield whole
        return
    yield f"{key} = ["
    line = " "
    for name in names:
        item = f" {quoted(name)},"
        if len(line) + len(item) > _WIDTH:
            yield line
            line = " "
        line += item
    yield line
    yield "]"
