"""The hot queries are served by an index, whatever the table holds; an empty sweep costs little."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from backend.extensions import current_runtime
from backend.models import DSARRequest
from backend.services.lease import Watch
from backend.services.open_requests import deadline_counts
from backend.services.outlook import look
from backend.services.retention import Retention
from scheduler.shutdown import Shutdown
from scheduler.sweep import Slot, run_sweep
from scheduler.workers import run_here
from tests.factories import insert_all
from tests.harness import World

ROWS = 100_000


def fill(world: World) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    statuses = ["completed"] * 6 + ["pending"] * 3 + ["failed"]

    def rows() -> Any:
        for n in range(ROWS):
            yield {
                "user_id": n,
                "gdpr_reference_id": f"R-{n}",
                "status": statuses[n % 10],
                "requested_at": start + timedelta(seconds=n),
            }

    with world.begin() as connection:
        insert_all(connection, DSARRequest, rows())
    analyse(world)


def analyse(world: World) -> None:
    with world.begin() as connection:
        analyze = (
            "ANALYZE TABLE" if world.engine.dialect.name in ("mysql", "mariadb") else "ANALYZE"
        )
        connection.exec_driver_sql(f"{analyze} dsar_requests")


def statements(world: World) -> tuple[list[tuple[str, Any]], Any]:
    seen: list[tuple[str, Any]] = []

    def note(conn: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        seen.append((statement, parameters))

    return seen, note


def plan_of(world: World, statement: str, parameters: Any) -> str:
    prefix = "EXPLAIN QUERY PLAN " if world.engine.dialect.name == "sqlite" else "EXPLAIN "
    with world.begin() as connection:
        rows = connection.exec_driver_sql(prefix + statement, parameters).all()
    return "\n".join(str(tuple(row)) for row in rows)


def test_claim_plan_at_many_rows_uses_the_index_without_a_sort(world: World) -> None:
    fill(world)
    seen, note = statements(world)
    with world.services() as services:
        event.listen(services.runtime.control, "before_cursor_execute", note)
        claim = services.claims.claim_due(datetime.now(UTC) + timedelta(days=1), worker="w:1")
        services.claims.reclaim_expired(limit=10, repair_link=lambda *_: None)
        look(services.controller, prune_before=datetime.now(UTC))
    assert claim is not None and claim.reference_id == "R-6"
    looks = [s for s in seen if "EXISTS" in s[0]]
    claims = [s for s in seen if "ORDER BY dsar_requests.requested_at" in s[0] and s not in looks]
    expired = [s for s in seen if "ORDER BY dsar_requests.lease_expires_at" in s[0]]
    assert len(claims) == len(expired) == len(looks) == 1
    plan = plan_of(world, *claims[0])
    assert "ix_dsar_requests_claim" in plan, plan
    assert "Sort" not in plan and "B-TREE" not in plan and "filesort" not in plan, plan
    for statement in (expired[0], looks[0]):
        assert_indexed(plan_of(world, *statement))


def assert_indexed(plan: str) -> None:
    assert "Seq Scan on dsar_requests" not in plan and "SCAN dsar_requests" not in plan, plan
    assert "'ALL'" not in plan, plan


def test_deadline_counts_and_prune_plans_at_many_rows_use_an_index(world: World) -> None:
    fill(world)
    with world.begin() as connection:
        # Answered in time, most of them: what is late is a small part of what there is.
        connection.exec_driver_sql("UPDATE dsar_requests SET status = 'completed' WHERE id > 3000")
        connection.exec_driver_sql(
            "UPDATE dsar_requests SET export_state = 'recorded', exported_at = requested_at "
            "WHERE status = 'completed'"
        )
        connection.exec_driver_sql(
            "UPDATE dsar_requests SET legal_hold_at = requested_at WHERE id BETWEEN 3000 AND 6000"
        )
    analyse(world)
    seen, note = statements(world)
    with world.services() as services:
        prune = Retention(services.controller, services.claims, services.store, retention_days=200)
        event.listen(services.runtime.control, "before_cursor_execute", note)
        counts = deadline_counts(services.controller)
        outlook = look(services.controller, prune_before=datetime.now(UTC))
        pruned = prune.prune_expired(limit=3)
    assert counts == (0, 1200) and outlook.prunable and pruned == 3
    reads = [s for s in seen if s[0].startswith("SELECT") and "exported_at" in s[0]]
    reads += [s for s in seen if "extension_months" in s[0]]
    assert len(reads) == 5
    for statement in reads:
        plan = plan_of(world, *statement)
        # MariaDB's line of the counted rows themselves: these are few.
        assert_indexed(plan.replace("'<derived2>', 'ALL'", ""))
        assert "Sort" not in plan and "B-TREE" not in plan and "filesort" not in plan, plan


def test_sweep_of_nothing_needs_at_most_three_statements_and_writes_nothing(world: World) -> None:
    seen, note = statements(world)
    with world.app().app_context():
        runtime = current_runtime()
        event.listen(runtime.control, "before_cursor_execute", note)
        event.listen(runtime.source, "before_cursor_execute", note)
        shutdown = Shutdown(1)
        slot = Slot(watch=Watch(), draining=lambda: False)
        result = run_sweep(
            runtime, run_slots=run_here(runtime, shutdown, limit=None), prune=True, slot=slot
        )
        runtime.disconnect()
    assert result.tally.claimed == result.reclaimed == 0 and result.trouble is None
    assert len(seen) <= 3, seen
    assert all(statement.startswith("SELECT") for statement, _ in seen)
    with world.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM dsar_sweeps")).scalar() == 0
    assert not world.exports.exists()
