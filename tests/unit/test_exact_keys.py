"""Two keys are the same where every digit and letter is; not where a database says so."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql, postgresql

from backend.services.exact_keys import is_exactly, wanted_form
from backend.services.subject_age import creation_column, is_newer

U = UUID("123e4567-e89b-12d3-a456-426614174000")
LOOSE = (
    "{}",
    " {}",
    "{} ",
    "0{}",
    "{}.0",
    "{}e0",
    "+{}",
    "{}abc",
    "{}\t",
    "{}\u00a0",
    "-{}",
    "{}\x00",
)


def column(kind: Any) -> sa.Column[Any]:
    return sa.Table("people", sa.MetaData(), sa.Column("id", kind)).c.id


@pytest.mark.parametrize(
    ("kind", "wanted", "found", "same"),
    [
        (sa.Integer(), "12", 12, True),
        (sa.Integer(), 12, 12, True),
        (sa.Integer(), True, 1, False),
        (sa.Numeric(10), "12", Decimal("12"), True),
        (sa.Numeric(10, 2), "12.50", Decimal("12.50"), True),
        (sa.Numeric(10, 2), 12, Decimal("12.00"), True),
        (sa.Double(), str(2**53 + 1), float(2**53), False),
        (sa.Double(), str(2**53), float(2**53), True),
        (sa.Double(), "nan", float("nan"), False),
        (sa.Text(), "ann", "ann", True),
        (sa.Text(), "ann", "ANN", False),
        (sa.Text(), 12, "12", True),
        (sa.Text(), "\u00e9", "e\u0301", False),
        (sa.Enum("ann"), "ann", "ann", True),
        (sa.Enum("ann"), "1", "ann", False),
        (postgresql.CITEXT(), "ANN", "ann", False),
        (sa.CHAR(6), "ann", "ann   ", True),
        (sa.CHAR(6), "ann   ", "ann   ", False),
        (sa.CHAR(6), "ann ", "ann   ", False),
        (sa.Uuid(), str(U), U, True),
        (sa.Uuid(), f"{{{U}}}", U, False),
        (mysql.BINARY(16), U.hex, U.bytes, True),
        (sa.LargeBinary(), "ann", b"ann", True),
        (sa.LargeBinary(), "ANN", b"ann", False),
        (sa.Text(), None, None, False),
    ],
)
def test_is_exactly_compares_every_digit_and_letter(
    kind: Any, wanted: Any, found: Any, same: bool
) -> None:
    assert is_exactly(column(kind), wanted, found, "postgresql") is same


def test_is_exactly_on_sqlite_takes_trailing_blanks_of_a_char_for_its_own() -> None:
    assert not is_exactly(column(sa.CHAR(6)), "ann", "ann   ", "sqlite")


@given(number=st.integers(1, 2**63 - 1), writing=st.sampled_from(LOOSE))
def test_is_exactly_knows_one_way_to_write_a_number(number: int, writing: str) -> None:
    written = writing.format(number)
    for kind, found in ((sa.BigInteger(), number), (sa.Numeric(20), Decimal(number))):
        assert is_exactly(column(kind), written, found, "mysql") is (written == str(number))


@given(left=st.text(max_size=6), right=st.text(max_size=6))
def test_forms_of_two_texts_are_equal_just_where_the_texts_are(left: str, right: str) -> None:
    forms = [wanted_form(column(sa.Text()), each) for each in (left, right)]
    assert (forms[0] == forms[1]) is (left == right)


# -- whether a person is newer than their request ------------------------------------------------

RECEIVED = "2026-02-01 12:00:00"


@pytest.mark.parametrize(
    ("made", "newer"),
    [
        ("2026-02-01T12:00:01+00:00", "yes"),
        ("2026-02-01T13:00:00+02:00", "no"),
        ("2026-02-03", "yes"),
        ("2026-02-01", "maybe"),
        ("2026-01-30", "no"),
        ("2026-02-02 02:00:01", "yes"),
        ("2026-02-01 00:00:00", "no"),
        (1_790_000_000, "yes"),
        (1_790_000_000_000, "yes"),
        (1_500_000_000, "no"),
        (7, None),
        (float("nan"), None),
        ("infinity", None),
        ("soon", None),
        (None, None),
        (b"2026", None),
    ],
)
def test_is_newer_says_what_can_be_known(made: Any, newer: str | None) -> None:
    assert is_newer(column(sa.Text()), made, RECEIVED, "sqlite") == newer
    assert is_newer(None, made, RECEIVED, "sqlite") is None
    assert is_newer(column(sa.Text()), made, "soon", "sqlite") is None


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("created_at", True),
        ("createdAt", True),
        ("date_joined", True),
        ("user_registered", True),
        ("timecreated", True),
        ("created_by", False),
        ("updated_at", False),
    ],
)
def test_creation_column_goes_by_known_names(name: str, known: bool) -> None:
    table = sa.Table("people", sa.MetaData(), sa.Column("id", sa.Integer), sa.Column(name, sa.Text))
    found = creation_column(table)
    assert (found is not None) is known
