"""The one read of the people's database: of one instant, bounded, and from its very opening on."""

from __future__ import annotations

import sqlalchemy as sa

from backend.engines import SNAPSHOT_IDLE_SECONDS
from backend.services.snapshot import open_snapshot
from tests.factories import Person
from tests.harness import World


def test_snapshot_is_of_the_instant_it_was_opened_at_not_of_its_first_read(world: World) -> None:
    """What is committed in between is told as not being there, or ``taken_at`` is a lie."""
    world.people(Person(7, workflows=2, runs=0))
    count = sa.text("SELECT count(*) FROM workflows WHERE user_id = 7")
    with world.services() as services:
        runtime = services.runtime
        with open_snapshot(runtime.source, runtime.clock, statement_seconds=10) as snapshot:
            with world.begin() as connection:
                connection.exec_driver_sql("DELETE FROM workflows WHERE id = 7000")
            assert snapshot.connection.execute(count).scalar_one() == 2
        with open_snapshot(runtime.source, runtime.clock, statement_seconds=10) as snapshot:
            assert snapshot.connection.execute(count).scalar_one() == 1


def test_snapshot_bounds_every_statement_and_its_own_idleness(server_world: World) -> None:
    """Also on a connection of the pool that had another bound before."""
    with server_world.services() as services:
        runtime = services.runtime
        for seconds in (17, 23):
            with open_snapshot(
                runtime.source, runtime.clock, statement_seconds=seconds
            ) as snapshot:
                ask = snapshot.connection.exec_driver_sql
                if snapshot.connection.dialect.name == "postgresql":
                    assert ask("SHOW statement_timeout").scalar_one() == f"{seconds}s"
                    idle = ask(
                        "SELECT setting::int FROM pg_settings "
                        "WHERE name = 'idle_in_transaction_session_timeout'"
                    ).scalar_one()
                    assert idle == SNAPSHOT_IDLE_SECONDS * 1000
                else:
                    assert ask("SELECT @@max_statement_time").scalar_one() == seconds
