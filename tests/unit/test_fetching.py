"""How many rows come at a time follows their size, and a chunk is its rows."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from backend.services.fetching import CHUNK_BYTES, MOST_ROWS, ChunkSize, chunks
from backend.services.rendering import JsonText, dump_object, dump_objects, joined
from backend.services.table_rendering import objects_of

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters()),
    st.text(st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010)),
    st.decimals(allow_nan=False),
    st.datetimes(timezones=st.just(dt.UTC)),
    st.uuids(),
    st.binary(),
    st.sampled_from(['{"z": 1e400}', "[1.10]", '"a\\u00e9"']).map(JsonText),
)


@given(st.lists(st.fixed_dictionaries({"id": VALUES, "größe": VALUES}), min_size=1, max_size=5))
def test_rows_printed_together_are_those_printed_one_by_one(objects: list[dict[str, Any]]) -> None:
    assert dump_objects(objects) == joined(map(dump_object, objects))


def test_value_that_one_row_holds_does_not_change_the_others() -> None:
    plain = {"id": uuid.UUID(int=1), "cost": Decimal("1E-7"), "body": JsonText('{"b":1.10}')}
    together = dump_objects([plain, plain | {"id": 2**70}, plain])
    assert together.count == 3
    first, second, third = together.values()
    assert first == third == json.loads(dump_object(plain))
    assert second["id"] == 2**70


def test_chunk_size_grows_step_by_step_and_falls_at_once() -> None:
    size = ChunkSize()
    assert size.rows == 1 and not size.is_settled
    grown = []
    while size.rows < MOST_ROWS:
        size.told(size.rows, 100 * size.rows)
        grown.append(size.rows)
    assert grown == [4, 16, 64, 256, MOST_ROWS]
    assert size.is_settled
    size.told(MOST_ROWS, MOST_ROWS * 10_000_000)
    assert size.rows == 1 and not size.is_settled
    size.told(1, CHUNK_BYTES // 2)
    assert size.rows == 2


@pytest.mark.parametrize("count", [0, 1, 2, 5, 21, 2000])
def test_chunks_hold_every_row_once_and_in_order(count: int) -> None:
    table = sa.Table("things", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
    engine = sa.create_engine("sqlite://", poolclass=sa.NullPool)
    size = ChunkSize()
    checkpoints: list[int] = []
    with engine.begin() as connection:
        table.create(connection)
        if count:
            connection.execute(sa.insert(table), [{"id": number} for number in range(count)])
        found: list[Any] = []
        query = sa.select(table.c.id).order_by(table.c.id)
        for rows in chunks(
            connection, query, [table.c.id.type], size, lambda: checkpoints.append(1)
        ):
            assert rows
            size.told(len(rows), 50 * len(rows))
            found += rows
    assert found == [(number,) for number in range(count)]
    assert len(checkpoints) > count / MOST_ROWS


def test_error_of_the_driver_is_sqlalchemys() -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.NullPool)
    column: sa.ColumnElement[Any] = sa.literal_column(
        "abs(CASE WHEN n = 2 THEN -9223372036854775807 - 1 ELSE n END)"
    )
    source = sa.text("(WITH RECURSIVE t(n) AS (VALUES(0) UNION ALL SELECT n + 1 FROM t) ")
    query = sa.select(column).select_from(sa.text(f"{source.text} SELECT n FROM t LIMIT 9)"))
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match="overflow"):
        list(chunks(connection, query, [sa.Integer()], ChunkSize(), lambda: None))


@given(
    names=st.lists(st.text(), max_size=300, unique=True),
    more=st.booleans(),
    data=st.data(),
)
def test_objects_hold_each_value_under_its_name(
    names: list[str], more: bool, data: st.DataObject
) -> None:
    width = len(names) + (data.draw(st.integers(0, 3)) if more else 0)
    rows = [tuple(range(start, start + width)) for start in (0, 1000)]
    expected = [dict(zip(names, row, strict=False)) for row in rows]
    assert objects_of(tuple(names), more=more)(rows) == expected
    assert list(expected[0]) == list(objects_of(tuple(names), more=more)(iter(rows))[0])


@pytest.mark.parametrize("name", ['"', "'", "\\", "{", "}]", "\n", "\udcff", "v0", "class", "日本"])
def test_objects_take_any_text_for_a_name(name: str) -> None:
    assert objects_of((name, "id"), more=False)([(1, 2)]) == [{name: 1, "id": 2}]
