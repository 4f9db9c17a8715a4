"""The collations of SQLite's columns: read from the statement that made the table.

SQLite tells them nowhere else. A table whose statement is not understood has none here, and its
columns are compared exactly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import pairwise
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

# A string, a name in quotes, a word or a mark; blanks and comments are left out.
_TOKEN: Final = re.compile(
    r"\s+|--[^\n]*|/\*.*?(?:\*/|\Z)"
    r"|(?P<token>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]|\w+|.)",
    re.DOTALL,
)
_QUOTES: Final = "'\"`["
_CONSTRAINTS: Final = ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN")
_LOOSE: Final = ("NOCASE", "RTRIM")
_STATEMENT: Final = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?"
# The collations of an index's columns: two rows may differ by what the column's own overlooks.
_INDEXES: Final = """
SELECT x.name, x.coll, (SELECT count(*) FROM pragma_index_xinfo(l.name) WHERE key)
FROM pragma_index_list(?) l, pragma_index_xinfo(l.name) x
WHERE l."unique" AND NOT l.partial AND x.key
"""


def loose_collations(connection: Connection, table: sa.Table) -> Mapping[str, str]:
    """The columns of a table that SQLite itself compares loosely, with their collations."""
    rows = connection.exec_driver_sql(_STATEMENT, (table.name,)).scalars()
    collations = declared_collations(rows.first() or "", list(table.c.keys()))
    return {name: each for name, each in collations.items() if each in _LOOSE}


def unique_columns(connection: Connection, table: sa.Table) -> Set[tuple[str, str]]:
    """The columns of a table that a unique index keeps apart, each with the index's collation.

    SQLAlchemy reads the constraints from the table's statement, and misses some.
    """
    rows = connection.exec_driver_sql(_INDEXES, (table.name,))
    return {(name, collation.upper()) for name, collation, columns in rows if columns == 1}


def declared_collations(statement: str, names: Sequence[str]) -> Mapping[str, str]:
    """The collation that a ``CREATE TABLE`` gives to each column that it gives one, in capitals.

    None of a statement that does not have just the columns of these names.
    """
    found: list[tuple[str, str]] = []
    for part in _parts(statement):
        if part[0].upper() in _CONSTRAINTS:
            break
        said = [after for word, after in pairwise(part) if _is_collate(word)]
        found.append((_plain(part[0]), _plain(said[-1]).upper() if said else ""))
    if [name.lower() for name, _ in found] != [name.lower() for name in names]:
        return {}
    return {name: each for name, (_, each) in zip(names, found, strict=True) if each}


def _is_collate(word: str) -> bool:
    return word.upper() == "COLLATE"


def _parts(statement: str) -> Iterator[list[str]]:
    """What stands between the outer parentheses' commas, without what is in inner parentheses."""
    depth, part = 0, list[str]()
    for match in _TOKEN.finditer(statement):
        mark: Any = match["token"]
        if mark is None:
            continue
        depth -= mark == ")"
        if depth == 0 and mark == ")":
            break
        if depth == 1 and mark == ",":
            if part:
                yield part
            part = []
        elif depth == 1 and mark not in "()":
            part.append(mark)
        depth += mark == "("
    if part:
        yield part


def _plain(name: str) -> str:
    """A name without its quotes."""
    if name[0] not in _QUOTES:
        return name
    last = name[-1]
    return name[1:-1] if last == "]" else name[1:-1].replace(last * 2, last)
