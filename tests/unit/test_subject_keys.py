"""One key, written as a number, a UUID, sixteen octets or a text."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from backend.services.subject_keys import (
    KeyKind,
    bound,
    canonical,
    kind_of,
    other_writings,
    same_key,
    type_like,
)

POSTGRESQL: Any = postgresql.dialect
MARIADB: Any = mysql.dialect
U = UUID("123e4567-e89b-12d3-a456-426614174000")


def column(kind: Any) -> sa.Column[Any]:
    return sa.Table("people", sa.MetaData(), sa.Column("id", kind)).c.id


@pytest.mark.parametrize(
    ("kind", "written", "wanted"),
    [
        (sa.BigInteger(), "42", 42),
        (sa.BigInteger(), 42, 42),
        (sa.Uuid(), str(U), U),
        (sa.Uuid(), U.hex.upper(), U),
        (sa.Uuid(), U.bytes, U),
        (mysql.BINARY(16), str(U), U),
        (sa.String(36), U, str(U)),
        (sa.CHAR(32), str(U), U.hex),
        (sa.CHAR(32), "x" * 32, "x" * 32),
        (sa.Text(), 42, "42"),
        (sa.types.NullType(), "42", 42),
        (sa.types.NullType(), "ada", "ada"),
    ],
)
def test_canonical_reads_any_way_of_writing(kind: Any, written: Any, wanted: Any) -> None:
    found = canonical(column(kind), written)
    assert (found, type(found)) == (wanted, type(wanted))


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (sa.Integer(), "ada"),
        (sa.Integer(), True),
        (sa.Integer(), 2**63),
        (sa.Integer(), 4.2),
        (sa.Uuid(), "ada"),
        (sa.Uuid(), 42),
        (mysql.BINARY(16), b"short"),
    ],
)
def test_canonical_refuses_what_can_be_no_key(kind: Any, written: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical(column(kind), written)
    assert bound(column(kind), written) is None


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (mysql.BINARY(16), U.bytes),
        (sa.Uuid(as_uuid=False), str(U)),
        (sa.Uuid(), U),
        (sa.CHAR(32), U.hex),
        (sa.types.NullType(), str(U)),
    ],
)
def test_bound_writes_as_the_column_holds_it(kind: Any, wanted: Any) -> None:
    parameter = bound(column(kind), U)
    assert isinstance(parameter, sa.BindParameter)
    assert parameter.value == wanted


def test_other_writings_are_of_a_uuid_kept_as_text_alone() -> None:
    assert other_writings(column(sa.Text()), str(U).upper()) == [str(U)]
    assert other_writings(column(sa.CHAR(32)), U.hex) == [U.hex.upper()]
    assert other_writings(column(sa.Text()), "Ada") == []
    assert other_writings(column(sa.Uuid()), U) == []


@pytest.mark.parametrize(
    ("value", "own"),
    [
        (str(U), U),
        (str(U).upper(), U),
        (U.hex, U),
        (U.bytes, U),
        (memoryview(U.bytes), U),
        ("42", 42),
        (Decimal(42), 42),
        (42, "42"),
        (b"twenty octets of key", b"twenty octets of key"),
        (str(U), str(U)),
        (U, str(U)),
        (U, U.hex),
        (U.bytes, U.hex),
    ],
)
def test_same_key_knows_one_key_in_two_types(value: Any, own: Any) -> None:
    assert same_key(value, own)


@pytest.mark.parametrize(
    ("value", "own"),
    [
        (None, None),
        (None, "None"),
        ("43", 42),
        ("042", 42),
        (True, 1),
        (b"xy", "7879"),
        (b"xy", 7879),
        (42, "042"),
        ("z" * 32, U),
        (b"xy", U),
        (f"{{{U.hex[:30]}}}", U),
        (str(U).upper(), str(U)),
        (U.hex, str(U)),
        (str(U), U.hex),
        (U.hex.upper(), U.hex),
        (U, str(U).upper()),
        ("Ada", "ada"),
        ("ada ", "ada"),
    ],
)
def test_same_key_takes_no_other_persons_key_for_ones_own(value: Any, own: Any) -> None:
    assert not same_key(value, own)


@pytest.mark.parametrize(
    ("kind", "dialect", "wanted"),
    [
        (sa.Integer(), POSTGRESQL(), "BIGINT"),
        (sa.Uuid(), POSTGRESQL(), "UUID"),
        (sa.Uuid(), MARIADB(), "VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
        (sa.String(80), POSTGRESQL(), "VARCHAR(80)"),
        (sa.Text(), MARIADB(), "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
    ],
)
def test_type_like_holds_the_peoples_keys(kind: Any, dialect: Any, wanted: str) -> None:
    assert type_like(column(kind)).compile(dialect) == wanted


def test_kind_of_an_enum_is_no_text() -> None:
    assert kind_of(column(sa.Enum("a", "b"))) is KeyKind.ANY
