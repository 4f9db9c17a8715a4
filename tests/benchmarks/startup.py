"""Start-up and idleness: a sweep of nothing, and a scheduler with nothing to do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.benchmarks.measure import MB, Cost, Series, Way, cost_of, in_turns
from tests.benchmarks.places import Place, a_place, available
from tests.benchmarks.report import Check, Row, row_of, seconds
from tests.harness import wait_for
from tests.worlds import POSTGRESQL

_SWEEP: Final = [sys.executable, "-m", "scheduler", "sweep", "--once"]
_STATEMENT: Final = re.compile(r"(?:statement|execute [^:]*): (.*)")
# No tick of the schedule falls into a measurement.
_NEVER: Final = "0 0 29 2 *"


def measure(kind: str, rounds: int, idle_seconds: float) -> list[Row]:
    """Sweeps of an empty queue, and a scheduler that is watched for ``idle_seconds``."""
    if not available(kind):
        return [Row(f"nothing to do, {kind}", "ours", note="not installed")]
    with a_place(kind) as place:
        return _empty_sweep(place, rounds) + _idle(place, idle_seconds)


# Where the 1.2 s of an empty ``sweep --once`` go on a slow core (Python 3.11, 0.55 on a fast one):
# 0.77 s are imports (``-X importtime``): SQLAlchemy 0.24, this program with its mapped tables 0.18,
# psycopg 0.09, pydantic 0.07, Flask with werkzeug and jinja2 0.06, the standard library the rest;
# 0.1 s more are the interpreter's own start and end. The sweep alone, 47 ms under cProfile: 13 wait
# for the server, which plans two statements it has not seen; 9 connect, half of that SQLAlchemy's
# first questions; 9 compile the two statements; 7 open the store. All of it is done once a process,
# and each sweep is one: that is what an idle scheduler of 30 MB costs. MariaDB's 85 ms are these,
# and 50 in which PyMySQL, for the TLS that a server may offer, reads the system's certificates for
# each connection (and verifies none, unless its URL asks for that).
def _empty_sweep(place: Place, rounds: int) -> list[Row]:
    work = f"nothing to do, {place.kind}"

    def run() -> Cost:
        cost = cost_of(_SWEEP, environment=place.environment(), folder=place.folder)
        return replace(cost, work_seconds=json.loads(cost.output)["duration_ms"] / 1000)

    series = in_turns(work, [Way("sweep --once", run)], rounds)["sweep --once"]
    if not series.costs:
        return [row_of(work, "sweep --once", series)]
    whole, alone = series.median("seconds"), series.median("work_seconds")
    rows = [
        row_of(
            work,
            "sweep --once",
            series,
            Check(seconds(whole), "≤ 0.7 s", whole <= 0.7),
            Check(f"{seconds(alone)} without start-up", "≤ 5 ms", alone <= 0.005),
        )
    ]
    if place.kind == POSTGRESQL:
        count = _statements_of_a_sweep(place)
        rows.append(
            Row(
                work,
                "sweep --once",
                median=f"{count} statements",
                checks=(Check(f"{count} on its tables", "≤ 3", count <= 3),),
            )
        )
    return rows


def _statements_of_a_sweep(place: Place) -> int:
    """How many statements on the program's tables the server saw of a whole process."""
    log = _Log(place)
    cost_of(_SWEEP, environment=place.environment(), folder=place.folder)
    return sum("dsar_" in statement for statement in log.statements())


class _Log:
    """The server's log of every statement, from now on."""

    def __init__(self, place: Place) -> None:
        name = place.world.engine.url.database
        with place.world.engine.connect() as bare:
            connection = bare.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET log_statement = 'all'")
            folder = connection.exec_driver_sql("SHOW data_directory").scalar_one()
        self._file = Path(str(folder)) / "log"
        self._start = self._file.stat().st_size

    def statements(self) -> list[str]:
        with self._file.open("rb") as file:
            file.seek(self._start)
            return statements_in(file.read().decode(errors="replace"))


def statements_in(log: str) -> list[str]:
    """The statements in a PostgreSQL log; a statement's further lines are indented there."""
    return _STATEMENT.findall(log.replace("\n\t", " "))


# What an idle scheduler consists of, by what importing each adds (Python 3.11): 10.8 MB are the
# interpreter, 5 asyncio and ssl, which structlog and APScheduler take, 2 these and click, 2 this
# program, the rest the standard library. SQLAlchemy (19.5), a driver (8.7 with libpq and its TLS),
# pydantic (8.4) and Flask (5.1) are loaded by its job processes alone, which end with their work;
# when it loaded them itself it had 87.
def _idle(place: Place, idle_seconds: float) -> list[Row]:
    """A scheduler after its first sweep: its memory, and what it says to the database."""
    log = _Log(place) if place.kind == POSTGRESQL else None
    heartbeat = place.world.root / "run" / "heartbeat"
    heartbeat.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "scheduler", "run"],
        cwd=place.folder,
        env=place.environment(sweep_cron=_NEVER),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(heartbeat.exists, "the scheduler's heartbeat")
        time.sleep(min(3.0, idle_seconds))  # its first sweep, of nothing, is a process
        wait_for(lambda: not _has_children(process.pid), "the end of its first sweep")
        before = len(log.statements()) if log else 0
        time.sleep(idle_seconds)
        said = len(log.statements()) - before if log else 0
        memory = _resident_mb(process.pid)
    finally:
        process.terminate()
        process.wait(30)
    checks = [Check(f"{memory:.0f} MB resident", "≤ 60 MB", memory <= 60)]
    if log:
        checks.append(Check(f"{said} statements in {idle_seconds:.0f} s", "0", said == 0))
    return [
        Row(
            f"nothing to do, {place.kind}",
            "idle scheduler",
            peak=f"{memory:.0f}",
            checks=tuple(checks),
            series=Series([Cost(idle_seconds, peak_mb=memory)]),
        )
    ]


def _has_children(process_id: int) -> bool:
    threads = Path(f"/proc/{process_id}/task").glob("*/children")
    return any(each.read_text().strip() for each in threads)


def _resident_mb(process_id: int) -> float:
    pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MB
