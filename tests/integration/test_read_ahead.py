"""Reading from PostgreSQL ahead of oneself: every row once, whatever their sizes or the weather."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from backend.app import make_runtime
from backend.driver_errors import is_gone
from backend.engines import make_snapshot_engine
from backend.services.archive import SectionStream
from backend.services.collection import open_collection
from backend.services.dsar_collectors import collection
from backend.services.fetching import CHUNK_BYTES, ChunkSize, chunks
from backend.services.rendering import json_from_database
from backend.services.sections import Subject
from tests.factories import Person
from tests.harness import World

# Sizes of texts: among small ones a few that fill a chunk each, and one of 10 MB.
SIZES = [*[10] * 700, 300_000, 10, 400_000, *[50] * 300, 10_000_000, *[10] * 90]


@contextmanager
def reading(world: World) -> Iterator[Connection]:
    engine = make_snapshot_engine(world.database_url, json_from_database)
    with engine.connect() as connection:
        # The engine leaves that to the snapshot, which sends its limits with it.
        connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield connection
        finally:
            connection.invalidate()
    engine.dispose()


TYPES: list[sa.types.TypeEngine[Any]] = [sa.Integer(), sa.Text()]


def of_sizes(sizes: list[int]) -> sa.Select[Any]:
    listed = sa.text(f"unnest(ARRAY{sizes}::int[]) WITH ORDINALITY AS t(size, n)")
    number: sa.ColumnElement[Any] = sa.literal_column("n")
    text: sa.ColumnElement[Any] = sa.literal_column("repeat('x', size)")
    return sa.select(number, text).select_from(listed).order_by(sa.text("n"))


def test_rows_of_any_size_come_once_and_in_order(postgresql_world: World) -> None:
    size = ChunkSize()
    found = []
    with reading(postgresql_world) as connection:
        for rows in chunks(connection, of_sizes(SIZES), TYPES, size, lambda: None):
            lengths = [len(text) for _, text in rows]
            size.told(len(rows), sum(lengths))
            found += [(number, length) for (number, _), length in zip(rows, lengths, strict=True)]
        assert connection.scalar(sa.text("SELECT 1")) == 1
    assert found == list(enumerate(SIZES, start=1))


def test_wide_rows_of_unknown_size_are_held_one_at_a_time(postgresql_world: World) -> None:
    size = ChunkSize()
    with reading(postgresql_world) as connection:
        for rows in chunks(connection, of_sizes([CHUNK_BYTES] * 130), TYPES, size, lambda: None):
            assert len(rows) == 1
            size.told(1, CHUNK_BYTES)


def test_value_past_pythons_calendar_in_a_later_row_is_read(postgresql_world: World) -> None:
    column: sa.ColumnElement[Any] = sa.literal_column(
        "CASE n WHEN 300 THEN 'infinity' ELSE date '2026-01-01' + n END"
    )
    numbers = sa.text("generate_series(1, 600) AS t(n)")
    query: sa.Select[Any] = sa.select(column).select_from(numbers).order_by(sa.text("n"))
    size = ChunkSize()
    found = []
    with reading(postgresql_world) as connection:
        for rows in chunks(connection, query, [sa.Date()], size, lambda: None):
            size.told(len(rows), 20 * len(rows))
            found += [str(value) for (value,) in rows]
    assert len(found) == 600
    assert (found[0], found[299], found[300]) == ("2026-01-02", "infinity", "2026-10-29")


def test_connection_lost_between_chunks_is_known_as_that(postgresql_world: World) -> None:
    size = ChunkSize()
    with reading(postgresql_world) as connection:
        own = connection.scalar(sa.text("SELECT pg_backend_pid()"))
        source = chunks(connection, of_sizes([10] * 50_000), TYPES, size, lambda: None)
        size.told(500, 500)
        next(source)
        with postgresql_world.begin() as other:
            other.execute(sa.text(f"SELECT pg_terminate_backend({own})"))
        with pytest.raises(sa.exc.DBAPIError) as caught:
            list(source)
        assert is_gone(caught.value)
        connection.invalidate()


def test_error_of_the_server_in_a_later_row_is_sqlalchemys(postgresql_world: World) -> None:
    numbers = sa.text("generate_series(1, 600) AS t(n)")
    query: sa.Select[Any] = sa.select(sa.literal_column("1 / (n - 400)")).select_from(numbers)
    with reading(postgresql_world) as connection, pytest.raises(sa.exc.DataError, match="zero"):
        list(chunks(connection, query, [sa.Integer()], ChunkSize(), lambda: None))


def test_checkpoint_stops_while_the_server_is_at_work(postgresql_world: World) -> None:
    class Stop(Exception):
        pass

    calls: list[int] = []

    def third() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise Stop

    sleeper: sa.ColumnElement[Any] = sa.literal_column("CASE n WHEN 2 THEN pg_sleep(60) END")
    numbers = sa.text("generate_series(1, 3) AS t(n)")
    query: sa.Select[Any] = sa.select(sleeper).select_from(numbers)
    with reading(postgresql_world) as connection:
        with pytest.raises(Stop):
            list(chunks(connection, query, [sa.Text()], ChunkSize(), third))
        connection.invalidate()


def test_collection_locks_nothing_that_a_writer_waits_for(postgresql_world: World) -> None:
    world = postgresql_world
    world.people(Person(7, runs=2000, logs=50))
    held: set[str] = set()
    runtime = make_runtime(world.settings())
    with open_collection(collection(runtime), Subject(7, None), lambda: None) as opened:
        snapshot, streams = opened
        snapshot.settle()
        own = snapshot.connection.scalar(sa.text("SELECT pg_backend_pid()"))
        query = sa.text(f"SELECT mode FROM pg_locks WHERE pid = {own} AND locktype <> 'virtualxid'")
        for stream in streams:
            assert isinstance(stream, SectionStream)
            for _ in stream.rows:
                with world.begin() as other:
                    held |= set(other.execute(query).scalars())
    runtime.disconnect()
    assert held == {"AccessShareLock"}
