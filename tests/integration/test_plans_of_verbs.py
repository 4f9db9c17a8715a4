"""Every verb finds its rows by an index, whatever the table holds: seeded by SQL, read as plans."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from backend.services.claiming import Following
from backend.services.dsar_collectors import DSAR_REQUEST
from backend.services.metrics import _longest_due_seconds
from backend.services.outlook import look
from backend.services.own_request import own_request
from backend.services.requests import Requests
from backend.services.retention import Retention
from tests.harness import World
from tests.integration.test_plans import statements

# Where the planners decide as they do over millions, and still seeded in a few seconds.
ROWS = 100_000

_REQUESTED_AT = {
    "sqlite": "datetime('2026-01-01', '+' || n || ' seconds') || '.000000'",
    "postgresql": "timestamptz '2026-01-01 00:00:00Z' + n * interval '1 s'",
    "mariadb": "TIMESTAMPADD(SECOND, n, '2026-01-01')",
}


def fill(world: World) -> None:
    """Six in ten completed and on record, three pending, one failed; a few being exported."""
    name = "mariadb" if world.engine.dialect.name == "mysql" else world.engine.dialect.name
    reference = "CONCAT('R-', n)" if name == "mariadb" else "'R-' || n"
    at, done = _REQUESTED_AT[name], "n % 10 < 6"
    series = (
        "WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL "
        f"SELECT n + 1 FROM s WHERE n < {ROWS - 1}) SELECT "
    )
    columns = {
        "user_id": "n",
        "gdpr_reference_id": reference,
        "status": f"CASE WHEN {done} THEN 'completed' WHEN n % 10 = 9 THEN 'failed' "
        "WHEN n % 10000 = 7 THEN 'processing' ELSE 'pending' END",
        "requested_at": at,
        "exported_at": f"CASE WHEN {done} THEN {at} END",
        "export_state": f"CASE WHEN {done} THEN 'recorded' END",
        "export_claim_token": f"CASE WHEN {done} THEN 1 END",
    }
    with world.begin() as connection:
        if name == "mariadb":
            connection.exec_driver_sql(f"SET SESSION max_recursive_iterations = {ROWS}")
        connection.execute(
            sa.text(
                f"INSERT INTO dsar_requests ({', '.join(columns)}) {series}"
                f"{', '.join(columns.values())} FROM s".replace(":", "\\:")
            )
        )
        connection.exec_driver_sql(
            "UPDATE dsar_requests SET lease_expires_at = '2099-01-01 00:00:00' "
            "WHERE status = 'processing'"
        )
    with world.begin() as connection:
        table = "TABLE dsar_requests" if name == "mariadb" else "dsar_requests"
        connection.exec_driver_sql(f"ANALYZE {table}")


def plan_of(world: World, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
    prefix = "EXPLAIN QUERY PLAN " if world.engine.dialect.name == "sqlite" else "EXPLAIN "
    with world.begin() as connection:
        rows = connection.exec_driver_sql(prefix + statement, parameters).all()
    return [tuple(row) for row in rows]


def reads_the_table(plan: list[tuple[Any, ...]]) -> bool:
    """Whether requests are read from the first to the last, in the table or in an index."""
    for row in plan:
        text = str(row[-1])
        if "Seq Scan on dsar_requests" in text or "SCAN dsar_requests" in text:
            return True
        if "Scan using" in text and "Index Cond" not in str(plan):
            return True
        # MariaDB: (id, kind, table, type, ...)
        if len(row) > 4 and row[2] == "dsar_requests" and row[3] in ("ALL", "index"):
            return True
    return False


def sorts(plan: list[tuple[Any, ...]]) -> bool:
    return any(word in str(plan) for word in ("Sort", "B-TREE", "filesort"))


def test_plans_at_many_rows_are_by_index(world: World) -> None:
    fill(world)
    seen, note = statements(world)
    plans: dict[str, list[list[tuple[Any, ...]]]] = {}
    far, long_ago = datetime.now(UTC) + timedelta(days=1), datetime(2020, 1, 1, tzinfo=UTC)

    with world.services(retention_days=1) as services:
        control, claims, store = services.controller, services.claims, services.store
        requests, retention = Requests(control), Retention(control, claims, store, retention_days=1)
        claim = claims.claim_due(far, worker="w:1")
        assert claim is not None and claim.reference_id == "R-6"
        own = own_request(services.runtime, DSAR_REQUEST, control, "R-6")
        following = Following(far, "w:1", None, wanted=lambda: True, after=claim)
        verbs: dict[str, Callable[[], Any]] = {
            "claim": lambda: claims.claim_due(far, worker="w:1"),
            "following": lambda: control.run(lambda c: c.execute(*claims._next_due(following))),
            "reclaim": lambda: claims.reclaim_expired(limit=10, repair_link=lambda *_: None),
            "look": lambda: look(control, prune_before=long_ago),
            "prune": lambda: control.run(retention._mark_pruned),
            "list": lambda: requests.list(statuses=None, limit=50),
            "list failed": lambda: requests.list(statuses=["failed"], limit=50),
            "find": lambda: requests.find("R-77"),
            "longest due": lambda: control.read(lambda c: _longest_due_seconds(c, far)),
            "own request": lambda: control.run(lambda c: c.execute(*own)),
        }
        event.listen(services.runtime.control, "before_cursor_execute", note)
        for name, verb in verbs.items():
            seen.clear()
            verb()
            plans[name] = [
                plan_of(world, *each)
                for each in seen
                if each[0].startswith("SELECT") and "dsar_requests" in each[0]
            ]
    for name, found in plans.items():
        assert found, name
        for plan in found:
            assert not reads_the_table(plan), (name, plan)
    for name in ("claim", "following", "prune", "longest due"):
        # A sort would lock every row (MariaDB) or read every due one before the first is had.
        assert not any(sorts(plan) for plan in plans[name]), (name, plans[name])
