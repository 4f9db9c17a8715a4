"""Standard streams that are closed, full or read by nobody: the work is done, the code right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.factories import Person
from tests.harness import World

SWEEP = ("scheduler", "sweep", "--once", "--limit", "1")
EXPORT = ("backend.cli", "export", "R-1")
LIST = ("backend.cli", "list")
SHAPES = {
    "stdin closed": "<&-",
    "stdout closed": ">&-",
    "stderr closed": "2>&-",
    "all closed": "<&- >&- 2>&-",
    "stdout full": "> /dev/full",
    "stderr full": "2> /dev/full",
    "both full": "> /dev/full 2>&1",
    "stdout without a reader": "| true",
}


def run(world: World, redirection: str, *arguments: str, **settings: object) -> tuple[int, str]:
    """The exit code of ``python -m`` with some streams redirected, and what stderr was told."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DSAR_")}
    command = " ".join([sys.executable, "-m", *arguments])
    script = f"set -o pipefail; {command} {redirection}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=Path(__file__).parents[2],
        env=kept | world.variables(**settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("command", [SWEEP, EXPORT], ids=["sweep", "export"])
def test_streams_that_cannot_be_used_change_neither_work_nor_exit_code(
    sqlite_world: World, command: tuple[str, ...], shape: str
) -> None:
    sqlite_world.people(Person(7))
    sqlite_world.request(7, "R-1")

    code, said = run(sqlite_world, SHAPES[shape], *command)

    assert (code, sqlite_world.row("R-1")["status"]) == (0, "completed"), said
    assert "Traceback" not in said
    assert "a bug" not in said
    assert ("could not be written" in said) is (shape == "stdout full")
    sqlite_world.check_invariants()


@pytest.mark.parametrize("shape", ["all closed", "both full"])
def test_streams_that_cannot_be_used_stop_no_worker_process(
    sqlite_world: World, shape: str
) -> None:
    sqlite_world.people(Person(7))
    sqlite_world.request(7, "R-1")
    sweep = ("scheduler", "sweep", "--once")

    code, said = run(sqlite_world, SHAPES[shape], *sweep, workers=2)

    assert (code, sqlite_world.row("R-1")["status"]) == (0, "completed"), said


@pytest.mark.parametrize("shape", ["stdout closed", "stderr closed", "stdout full"])
def test_streams_that_cannot_be_used_leave_an_error_its_exit_code(
    sqlite_world: World, shape: str
) -> None:
    assert run(sqlite_world, SHAPES[shape], "backend.cli", "show", "NONE")[0] == 1
    assert run(sqlite_world, SHAPES[shape], "backend.cli", "nonsense")[0] == 2
    assert run(sqlite_world, SHAPES[shape], *LIST)[0] == 0
