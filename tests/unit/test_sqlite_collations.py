"""A column's collation in SQLite, read from the statement that made the table."""

from __future__ import annotations

import pytest

from backend.services.sqlite_collations import declared_collations

READ = {
    "CREATE TABLE t (a text collate nocase, b)": {"a": "NOCASE"},
    'create table main."t (" (\n a /* , ) */ text -- COLLATE x,\n COLLATE [rtrim], `b` int)': {
        "a": "RTRIM"
    },
    "CREATE TABLE t (a varchar(4, 2) DEFAULT ('x,)' COLLATE RTRIM) COLLATE NOCASE, b)": {
        "a": "NOCASE"
    },
    "CREATE TABLE t (a CHECK (a COLLATE NOCASE <> ''), b DEFAULT 'COLLATE NOCASE')": {},
    "CREATE TABLE t (a COLLATE RTRIM COLLATE NOCASE, b, UNIQUE (b COLLATE NOCASE))": {
        "a": "NOCASE"
    },
    'CREATE TABLE t ("A" text, b COLLATE "binary", PRIMARY KEY (a), CHECK (b)) STRICT': {
        "b": "BINARY"
    },
    "CREATE TABLE t (a COLLATE NOCASE)": {},
    "CREATE TABLE t (b COLLATE NOCASE, a)": {},
    "CREATE VIRTUAL TABLE t USING fts5(a, 'b COLLATE NOCASE', c)": {},
    "": {},
}


@pytest.mark.parametrize("statement", READ)
def test_declared_collations_are_those_of_the_columns_or_none(statement: str) -> None:
    assert declared_collations(statement, ["a", "b"]) == READ[statement]
