"""What ``dsar coverage`` advises of keys: comparisons that may find too little, keys of several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from backend.services.comparison import (
    COLLATION,
    Collation,
    Family,
    Match,
    compared_alike,
    family_of,
    is_unique,
)
from backend.services.padded_texts import BPCHAR
from backend.services.sections import OwnerPath, Section, TableSection


def advice_on_unique_key(key: sa.Column[object]) -> Iterator[str]:
    """That the people's key is not unique, where the database does not keep it so."""
    if not is_unique(key):
        where = f"{key.table.name}.{key.name}"
        yield (
            f"the key {where} has no unique constraint: where two rows have one key, that person's "
            "export fails (subject_not_unique). Add the constraint, or name a column that has one "
            "in [subject] key"
        )


def advice_on_comparisons(sections: Iterable[Section], key: sa.Column[object]) -> Iterator[str]:
    """Columns that are compared exactly with a unique one that its database compares loosely."""
    for section in sections:
        if not isinstance(section, TableSection) or section.database != "source":
            continue
        for path in section.owner_paths:
            for here, target in _compared(section.table, path, key):
                if here is not target and _may_find_less(here, target):
                    yield (
                        f"section {section.name!r}: {here.table.name}.{here.name} is compared "
                        f"exactly with {target.table.name}.{target.name}, which by its collation "
                        f"({target.info[COLLATION].name}) overlooks capitals, accents or blanks: a "
                        "row that differs by these is left out. If there are such rows, give both "
                        "columns one collation, or correct the rows"
                    )


def _compared(
    table: sa.Table, path: OwnerPath, key: sa.Column[object]
) -> Iterator[tuple[sa.Column[object], sa.Column[object]]]:
    for hop in path.hops:
        for name, target in zip(hop.columns, hop.targets, strict=True):
            if name not in hop.ignore_case:
                yield table.c[name], target
        table = hop.table
    if path.match is Match.EXACT:
        yield table.c[path.column], key


def _may_find_less(here: sa.Column[object], target: sa.Column[object]) -> bool:
    known: Collation | None = target.info.get(COLLATION)
    if known is None or known.exact or not known.sql or known.name == BPCHAR:
        return False
    if known.name.endswith("_bin") or family_of(here) not in (Family.TEXT, Family.OCTETS):
        return False
    return is_unique(target) and not compared_alike(here, target)
