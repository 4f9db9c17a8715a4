"""Which columns of text a database checks to be JSON: its CHECK clauses, read as it keeps them.

MariaDB's type JSON is text with such a check, and so is Django's on SQLite. A column counts where
no row can hold anything else: ``json_valid(c)`` alone, or beside other conditions (``AND``), or
``c IS NULL OR json_valid(c)``. A check that lets other text pass says nothing, nor does one of a
part of the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine.reflection import Inspector

_TOKEN: Final = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
    |(?P<text>'(?:[^'\\]|\\.|'')*')
    |(?P<name>`(?:[^`]|``)*`|"(?:[^"]|"")*"|\[[^\]]*\])
    |(?P<word>\w+)
    |(?P<sign>[^\s\w])""",
    re.VERBOSE | re.DOTALL,
)
_OF_ALL: Final = (
    "SELECT table_name, check_clause FROM information_schema.check_constraints"
    " WHERE constraint_schema = coalesce(:schema, database())"
)
_OF_ONE: Final = f"{_OF_ALL} AND table_name = :table"
# What may follow json_valid(c) and says the same.
_TRUE: Final = ("", "= 1", "<> 0", "! = 0", "> 0", "is true", "is not false")

# A token as it is compared: a word or sign in small letters; a quoted name behind a mark.
Tokens = Sequence[str]
_NAME: Final = "\0"
_LOADED: Final = "json_checks"


def json_columns(inspector: Inspector, schema: str | None, table: str) -> set[str]:
    """The columns of text, in small letters, that the database checks to be JSON."""
    clauses: Iterator[Tokens]
    if inspector.dialect.name == "sqlite":
        clauses = _of_sqlite(inspector, schema, table)
    elif getattr(inspector.dialect, "is_mariadb", False):
        clauses = _of_mariadb(inspector, schema, table)
    else:
        return set()  # PostgreSQL and MySQL have a type of that name
    return {name for clause in clauses for name in _required(clause)}


def load_checks(inspector: Inspector, schema: str | None) -> None:
    """Read the checks of all tables of a schema at once, where they are to be asked for."""
    if getattr(inspector.dialect, "is_mariadb", False):
        found: dict[str, list[str]] = {}
        with inspector._operation_context() as connection:
            for table, clause in connection.execute(sa.text(_OF_ALL), {"schema": schema}).all():
                found.setdefault(table, []).append(clause)
        inspector.info_cache[_LOADED, schema] = found


def _of_mariadb(inspector: Inspector, schema: str | None, table: str) -> Iterator[Tokens]:
    # SQLAlchemy tells only of the checks that stand in a line of their own.
    loaded = inspector.info_cache.get((_LOADED, schema))
    if loaded is not None:
        return map(_tokens, loaded.get(table, ()))
    with inspector._operation_context() as connection:
        names = {"schema": schema, "table": table}
        return map(_tokens, [row[1] for row in connection.execute(sa.text(_OF_ONE), names).all()])


def _of_sqlite(inspector: Inspector, schema: str | None, table: str) -> Iterator[Tokens]:
    place = "" if schema is None else f"{inspector.dialect.identifier_preparer.quote(schema)}."
    query = sa.text(f"SELECT sql FROM {place}sqlite_master WHERE type = 'table' AND name = :table")
    with inspector._operation_context() as connection:
        sql = connection.execute(query, {"table": table}).scalar()
    tokens = _tokens(sql or "")
    for at, word in enumerate(tokens):
        if word == "check" and tokens[at + 1 : at + 2] == ["("]:
            yield _enclosed(tokens, at + 1)


def _tokens(sql: str) -> list[str]:
    found = []
    for match in _TOKEN.finditer(sql):
        text = match[0]
        if match.lastgroup == "name":
            end = "]" if text[0] == "[" else text[0]
            found.append(_NAME + text[1:-1].replace(end * 2, end).lower())
        elif match.lastgroup != "comment":
            found.append(text.lower())
    return found


def _enclosed(tokens: Tokens, start: int) -> Tokens:
    """What stands between the parenthesis at ``start`` and the one that closes it."""
    depth = 0
    for place in range(start, len(tokens)):
        depth += (tokens[place] == "(") - (tokens[place] == ")")
        if depth == 0:
            return tokens[start + 1 : place]
    return []


def _required(tokens: Tokens) -> set[str]:
    """The columns that are JSON or null wherever this condition does not fail."""
    while tokens and tokens[0] == "(" and len(_enclosed(tokens, 0)) == len(tokens) - 2:
        tokens = tokens[1:-1]
    if len(either := _split(tokens, "or")) > 1:
        first, *others = map(_required, either)
        return first.intersection(*others)
    if len(both := _split(tokens, "and")) > 1:
        return set().union(*map(_required, both))
    if tokens[1:] == ["is", "null"]:
        return {_column(tokens[0])}
    if tokens[:2] == ["json_valid", "("] and tokens[3:4] == [")"]:
        return {_column(tokens[2])} if " ".join(tokens[4:]) in _TRUE else set()
    return set()


def _split(tokens: Tokens, word: str) -> list[Tokens]:
    """The parts between this word, outside of all parentheses."""
    parts: list[list[str]] = [[]]
    depth = 0
    for each in tokens:
        depth += (each == "(") - (each == ")")
        if depth == 0 and each == word:
            parts.append([])
        else:
            parts[-1].append(each)
    return list(parts)


def _column(token: str) -> str:
    return token.removeprefix(_NAME)
