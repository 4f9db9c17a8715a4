"""What a connection of the control engine's leaves in the pool, and what one to read with sees."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa

from backend.clock import SYSTEM_CLOCK
from backend.engines import make_control_engine, reading
from backend.services.control import Controller
from tests.harness import REQUESTS, World

_LOCKING = "SELECT id FROM dsar_requests FOR UPDATE"
_COUNT = sa.select(sa.func.count()).select_from(REQUESTS)


def test_connection_given_back_in_mid_transaction_leaves_nothing_of_it(server_world: World) -> None:
    """As after a COMMIT that failed: the next one to use it must not commit what was written."""
    server_world.request(7, "R-1")
    engine = make_control_engine(server_world.database_url)
    raw = engine.raw_connection()
    raw.cursor().execute("BEGIN")
    raw.cursor().execute("DELETE FROM dsar_requests")
    used = raw.dbapi_connection
    raw.close()
    with engine.begin() as connection:
        assert connection.connection.dbapi_connection is used
        connection.execute(sa.update(REQUESTS).values(last_error="x"))
    engine.dispose()
    assert [row["gdpr_reference_id"] for row in server_world.rows()] == ["R-1"]


@pytest.mark.parametrize("statement", ["DELETE FROM dsar_requests RETURNING id", _LOCKING])
def test_connection_whose_commit_failed_leaves_nothing_of_it(
    server_world: World, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """Also where the server answered with rows alone, which tell the driver of no transaction."""
    server_world.request(7, "R-1")
    engine = make_control_engine(server_world.database_url)
    control = Controller(engine, SYSTEM_CLOCK)

    def fail(connection: Any) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(engine.dialect, "do_commit", fail)
        with suppress(OSError), control.begin() as connection:
            connection.exec_driver_sql(statement).all()
    with server_world.begin() as connection:
        connection.exec_driver_sql(f"{_LOCKING} NOWAIT").all()
    with control.begin() as connection:
        connection.execute(sa.update(REQUESTS).values(last_error="x"))
    engine.dispose()
    assert [row["gdpr_reference_id"] for row in server_world.rows()] == ["R-1"]


def test_each_statement_that_reads_sees_what_was_committed_before_it(world: World) -> None:
    engine = make_control_engine(world.database_url)
    with reading(engine) as connection:
        before = connection.execute(_COUNT).scalar_one()
        world.request(7, "R-1")
        assert connection.execute(_COUNT).scalar_one() == before + 1
    engine.dispose()
