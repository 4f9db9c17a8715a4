"""The size of the tables: what a claim costs among a million requests, and after many claims."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from backend.models import DSARRequest
from backend.services.assembly import Services
from tests.benchmarks.fill import load_rows, settle
from tests.benchmarks.measure import Cost, Way, cost_of, in_turns
from tests.benchmarks.places import Place, a_place, available
from tests.benchmarks.report import Check, Row, seconds
from tests.factories import START, table

_REQUESTS: Final = table(DSARRequest)
_TARGET_SECONDS: Final = 0.005
# Requests that are due among the finished ones.
_DUE: Final = 5_000
_TOGETHER: Final = 1_000


def measure(kind: str, size: int, claims: int, wear: int) -> list[Row]:
    """The median of ``claims`` claims with ``size`` rows pending, then finished.

    ``wear``: how many requests are claimed and completed before it is measured again.
    """
    if not available(kind):
        return [Row(f"a claim, {kind}", "ours", note="not installed")]
    rows = []
    for status in (DSARRequest.STATUS_PENDING, DSARRequest.STATUS_COMPLETED):
        with a_place(kind) as place:
            load_rows(place.world, DSARRequest, _requests(size, status))
            settle(place.world)
            what = "pending" if status == DSARRequest.STATUS_PENDING else "finished"
            work = f"{size:,} requests {what}, {kind}"
            rows.append(_claims(place, work, claims))
            rows.append(_commands(place, work))
            if wear and status == DSARRequest.STATUS_PENDING:
                _wear_out(place, wear)
                rows.append(_claims(place, f"{work}, after {wear:,} more", claims))
    return rows


def _requests(size: int, status: str) -> Iterator[dict[str, Any]]:
    for number in range(size + _DUE):
        last = number >= size
        yield {
            "user_id": number,
            "gdpr_reference_id": f"R-{number}",
            "status": DSARRequest.STATUS_PENDING if last else status,
            "requested_at": START + timedelta(seconds=number),
            "completed_at": None if last else START + timedelta(seconds=number + 60),
        }


# Where a claim's 3.8 ms go on MariaDB, among a million pending (medians of 500, timed around the
# driver's calls): the SELECT that locks takes 1.1, the UPDATE 0.6, the trail's INSERT 0.4, COMMIT
# with its flush 0.6; the rest, and half of the SELECT, is SQLAlchemy's and PyMySQL's own work (2.0
# ms of processor time, on the slower of two machines). The pool's ROLLBACK behind each COMMIT was
# 0.2 more.
def _claims(place: Place, work: str, count: int) -> Row:
    """Claims one after the other, each a transaction of its own, timed around the call."""
    with _services(place) as services:
        cutoff = services.controller.read(services.controller.now)
        took = []
        for _ in range(count):
            started = time.perf_counter()
            claim = services.claims.claim_due(cutoff, worker="benchmark")
            took.append(time.perf_counter() - started)
            assert claim is not None
    median = statistics.median(took)
    return Row(
        work,
        "a claim",
        median=seconds(median),
        spread=f"{seconds(min(took))} – {seconds(max(took))}",
        checks=(Check(seconds(median), "≤ 5 ms", median <= _TARGET_SECONDS),),
    )


def _commands(place: Place, work: str) -> Row:
    """What an operator does there, as whole processes: for information."""
    ways = [Way(f"dsar {name}", partial(_dsar, place, name)) for name in ("list", "prune")]
    series = in_turns(work, ways, 1)
    took = [seconds(each.median("seconds")) if each.costs else "–" for each in series.values()]
    return Row(work, ", ".join(series), median=", ".join(took), series=series["dsar list"])


def _dsar(place: Place, command: str) -> Cost:
    arguments = [sys.executable, "-m", "backend.cli.dsar_commands", command, "--json"]
    return cost_of(arguments, environment=place.environment(), folder=place.folder)


def _wear_out(place: Place, count: int) -> None:
    """Claim and complete requests: each leaves dead rows and index entries where one looks next.

    Completed, many at a time, by an UPDATE that changes the same indexes as the program's own
    record, which would need a file each. The disk is not waited for: what is measured is what the
    tables keep.
    """
    completed = (
        sa.update(_REQUESTS)
        .where(_REQUESTS.c.status == DSARRequest.STATUS_PROCESSING)
        .values(status=DSARRequest.STATUS_COMPLETED, export_state="recorded", exported_at=START)
    )
    with _not_durable(place), _services(place) as services:
        cutoff = services.controller.read(services.controller.now)
        for number in range(1, count + 1):
            claim = services.claims.claim_due(cutoff, worker="benchmark")
            assert claim is not None
            if number % _TOGETHER == 0 or number == count:
                with services.runtime.control.begin() as connection:
                    connection.execute(completed)


@contextmanager
def _services(place: Place) -> Iterator[Services]:
    with place.world.services(lease_seconds=86_400, log_level="WARNING") as services:
        yield services


@contextmanager
def _not_durable(place: Place) -> Iterator[None]:
    statements = {
        "postgresql": (
            ["ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"],
            ["ALTER SYSTEM RESET fsync", "SELECT pg_reload_conf()"],
        ),
        "mariadb": (
            ["SET GLOBAL innodb_flush_log_at_trx_commit = 0"],
            ["SET GLOBAL innodb_flush_log_at_trx_commit = 1"],
        ),
    }
    before, after = statements.get(place.kind, ([], []))
    _run_all(place, before)
    yield
    _run_all(place, after)


def _run_all(place: Place, statements: list[str]) -> None:
    with place.world.engine.connect() as bare:
        connection = bare.execution_options(isolation_level="AUTOCOMMIT")
        for statement in statements:
            connection.exec_driver_sql(statement)
