"""What a start imports: it is most of the time of a sweep that finds nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from backend.settings import CHECKOUT_ROOT
from tests.factories import Person
from tests.harness import World

# Each is needed by some command, and by no sweep of nothing.
NEEDLESS = (
    "alembic",
    "apscheduler",
    "backend.services.archive",
    "backend.services.dsar_exporter",
    "backend.services.page",
    "backend.services.sections",
    "multiprocessing",
    "obstore",
    "prometheus_client",
    "pyrage",
    "rich",
    "sqlalchemy.dialects.mysql",
    "sqlalchemy.dialects.postgresql",
    "zlib_ng",
)
CODE = """
import gc, json, sys
from scheduler.__main__ import main
try:
    main("sweep", "--once")
except SystemExit as end:
    assert not end.code, end.code
assert gc.isenabled() and gc.get_freeze_count() > 100_000, gc.get_freeze_count()
print(json.dumps(sorted(sys.modules)))
"""


def imported(world: World, code: str) -> set[str]:
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT_ROOT,
        env=world.variables(),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(process.stdout.splitlines()[-1]))


# What an idle scheduler holds no memory for: its job processes load it, and end.
NEEDLESS_IN_THE_PARENT = (
    "alembic",
    "backend.app",
    "backend.engines",
    "backend.models",
    "backend.settings",
    "flask",
    "prometheus_client",
    "psycopg",
    "pydantic",
    "rich",
    "scheduler.sweep",
    "sqlalchemy",
)
RUN = """
import json, os, signal, sys
from scheduler.__main__ import main
from scheduler.service import SweepService

swept = SweepService._swept

def stop_after_the_first_sweep(self, outcome):
    swept(self, outcome)
    os.kill(os.getpid(), signal.SIGTERM)

SweepService._swept = stop_after_the_first_sweep
try:
    main("run")
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted(sys.modules)))
"""


def test_sweep_of_nothing_imports_only_what_it_needs(sqlite_world: World) -> None:
    modules = imported(sqlite_world, CODE)
    assert "scheduler.sweep" in modules
    assert modules.isdisjoint(NEEDLESS), modules & set(NEEDLESS)


def test_sweep_of_nothing_on_a_server_leaves_the_other_dialect_alone(
    postgresql_world: World,
) -> None:
    modules = imported(postgresql_world, CODE)
    assert "psycopg" in modules
    assert modules.isdisjoint(set(NEEDLESS) - {"sqlalchemy.dialects.postgresql"})


@pytest.mark.parametrize("present", [True, False])
def test_logs_leave_rich_as_they_found_it(sqlite_world: World, present: bool) -> None:
    first = "import rich" if present else "pass"
    code = f"import json, sys; {first}; import backend.logs; print(json.dumps(list(sys.modules)))"
    assert ("rich" in imported(sqlite_world, code)) is present
    again = f"{first}; import backend.logs, rich.table, json, sys; print(json.dumps(['ok']))"
    assert imported(sqlite_world, again) == {"ok"}


def test_run_has_swept_and_holds_neither_database_nor_application(sqlite_world: World) -> None:
    sqlite_world.people(Person(7, runs=2))
    sqlite_world.request(7, "R-7")

    modules = imported(sqlite_world, RUN)

    assert sqlite_world.row("R-7")["status"] == "completed"
    assert "scheduler.service" in modules
    assert modules.isdisjoint(NEEDLESS_IN_THE_PARENT), modules & set(NEEDLESS_IN_THE_PARENT)
