"""Which columns hold one row's value alone, so that a join may be left to the database."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from backend.services.comparison import COLLATION, Collation, compared_alike, is_unique

LOOSE = Collation("general", sql="general")


def code_of(*parts: Any, primary_key: bool = False) -> sa.Column[Any]:
    """A column with this collation, in a table with these constraints and indexes."""
    code = sa.Column("code", sa.Text, primary_key=primary_key, info={COLLATION: LOOSE})
    sa.Table("people", sa.MetaData(), code, sa.Column("person", sa.Integer), *parts)
    return code


NOT_UNIQUE = {
    "no key": (),
    "a key of two columns": (sa.PrimaryKeyConstraint("code", "person"),),
    "unique with another column": (sa.UniqueConstraint("code", "person"),),
    "an index that is not unique": (sa.Index("ix", "code"),),
    "an index of two columns": (sa.Index("ix", "code", "person", unique=True),),
    "an index of some rows on PostgreSQL": (
        sa.Index("ix", "code", unique=True, postgresql_where=sa.text("person > 0")),
    ),
    "an index of some rows on SQLite": (
        sa.Index("ix", "code", unique=True, sqlite_where=sa.text("person > 0")),
    ),
    "an index of an expression": (sa.Index("ix", sa.text("lower(code)"), unique=True),),
}


@pytest.mark.parametrize("case", NOT_UNIQUE)
def test_join_to_a_column_whose_values_several_rows_may_have_is_not_left_to_the_database(
    case: str,
) -> None:
    target = code_of(*NOT_UNIQUE[case])
    assert not is_unique(target)
    assert not compared_alike(code_of(), target)


@pytest.mark.parametrize("unique", ["primary key", "constraint", "index"])
def test_join_to_a_unique_column_that_is_compared_alike_is_left_to_the_database(
    unique: str,
) -> None:
    part = {
        "constraint": sa.UniqueConstraint("code"),
        "index": sa.Index("ix", "code", unique=True),
    }.get(unique)
    target = code_of(*([] if part is None else [part]), primary_key=part is None)
    assert is_unique(target) and compared_alike(code_of(), target)
    other = code_of()
    other.info[COLLATION] = Collation("turkish", sql="turkish")
    assert not compared_alike(other, target)
