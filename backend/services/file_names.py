"""Names of tables and columns, and values to compare with, as ``sections.toml`` writes them."""

from __future__ import annotations

import re
from typing import Any, Final

Name = tuple[str | None, str]  # of a table: schema, or None for the connection's own, and name

IDENTIFIER: Final = r'(?:"[^"]+"|[^\s".,=]+)'
_COLUMN: Final = re.compile(rf"{IDENTIFIER}(?:\.{IDENTIFIER}){{0,2}}")


def table_name(text: str) -> Name:
    """A table's name, its schema before it or not."""
    parts = [unquoted(part) for part in re.findall(IDENTIFIER, text)]
    return (None, parts[0]) if len(parts) == 1 else (parts[0], parts[1])


def unquoted(name: str) -> str:
    """A name without the double quotes that it may stand in."""
    return name[1:-1] if name.startswith('"') else name


def literals(values: object) -> tuple[str | int, ...]:
    """One value, or a list of values, that a column is compared with."""
    several = values if isinstance(values, list) else [values]
    if not several or not all(isinstance(each, (str, int)) for each in several):
        raise ValueError("must be a text, a whole number, true or false, or a list of these")
    return tuple(several)


def conditions(where: object) -> tuple[dict[str, Any], ...]:
    """What ``where`` says: of each column, or ``table.column``, the values that it must hold."""
    if not isinstance(where, dict):
        raise ValueError('must name columns and values, for example { record_type = "User" }')
    return tuple(_condition(name, values) for name, values in _flat(where))


def _flat(where: dict[str, Any]) -> list[tuple[str, object]]:
    """TOML makes a table of ``orders.kind``, unless it is written in quotes."""
    found: list[tuple[str, object]] = []
    for name, values in where.items():
        if isinstance(values, dict):
            found += [(f"{name}.{inner}", each) for inner, each in _flat(values)]
        else:
            found.append((name, values))
    return found


def _condition(name: str, values: object) -> dict[str, Any]:
    parts = [unquoted(part) for part in re.findall(IDENTIFIER, name)]
    if not _COLUMN.fullmatch(name):
        raise ValueError(f"{name!r} is no column; write column, table.column or a name in quotes")
    table = None
    if len(parts) > 1:
        table = (None, parts[0]) if len(parts) == 2 else (parts[0], parts[1])
    return {"table": table, "column": parts[-1], "values": literals(values)}


_PAIR: Final = re.compile(
    rf"\s*(?P<here>{IDENTIFIER})\s*(?P<sign>[=~])\s*"
    rf"(?P<table>{IDENTIFIER}(?:\.{IDENTIFIER})?)\.(?P<there>{IDENTIFIER})\s*"
)


def parse_join(text: object) -> dict[str, Any]:
    """A join as ``Join`` takes it: "column = table.column", or with ``~``, whatever the capitals.

    Raises ``ValueError``.
    """
    pairs = []
    tables = set()
    ignore_case = set()
    for part in text.split(",") if isinstance(text, str) else ():
        found = _PAIR.fullmatch(part)
        if found is None:
            break
        pairs.append((unquoted(found["here"]), unquoted(found["there"])))
        tables.add(table_name(found["table"]))
        if found["sign"] == "~":
            ignore_case.add(pairs[-1][0])
    else:
        if len(tables) == 1:
            return {
                "table": tables.pop(),
                "pairs": tuple(pairs),
                "ignore_case": frozenset(ignore_case),
            }
    raise ValueError(
        f'{text!r} is no join; write "column = table.column" (or schema.table.column), pairs of '
        "one key parted by commas, ~ in place of = where capitals do not matter, names with blanks "
        "in double quotes"
    )
