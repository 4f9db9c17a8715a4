"""No core dump of a process that holds people's data, nor of an application's that calls this."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from backend.services.dsar_exporter import persist_dsar_export
from tests.factories import Person
from tests.harness import World, wait_for

_PR_GET_DUMPABLE = 3
_DUMPABLE = "import ctypes, resource; print(ctypes.CDLL(None).prctl(3), resource.getrlimit(4)[0])"


def _limits_of(pid: int) -> str:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith("Max core")).split()[4]


def _children(pid: int) -> list[int]:
    found = []
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def _all_below(pid: int) -> list[int]:
    return [each for child in _children(pid) for each in (child, *_all_below(child))]


def _dumps(pid: int) -> bool:
    """Whether a process may leave a core; one that has ended may not."""
    try:
        return _limits_of(pid) != "0"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", ["run", "sweep"])
def test_every_process_of_a_sweep_leaves_no_core(
    sqlite_world: World, how: str, workers: int
) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (_hard(), _hard()))
    sqlite_world.people(Person(7, runs=2000))
    sqlite_world.request(7, "R-1")
    arguments = ("run",) if how == "run" else ("sweep", "--once")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DSAR_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "scheduler", *arguments],
        cwd=Path(__file__).parents[2],
        env=kept | sqlite_world.variables(workers=workers, rows_per_second=100),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: sqlite_world.row("R-1")["status"] == "processing", "a claim")
        pids = [process.pid, *_all_below(process.pid)]
        exporting = [pid for pid in pids if "resource_tracker" not in _command(pid)]
        assert len(exporting) >= (2 if how == "run" or workers > 1 else 1)
        assert [pid for pid in exporting if _dumps(pid)] == []
        if os.geteuid() != 0:  # what may not be dumped belongs to root there
            assert [pid for pid in exporting if os.stat(f"/proc/{pid}/environ").st_uid != 0] == []
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _hard() -> int:
    return resource.getrlimit(resource.RLIMIT_CORE)[1]


@pytest.mark.parametrize("module", ["backend.cli.__main__", "scheduler.__main__"])
def test_start_forbids_dumps_by_limit_and_by_flag(module: str) -> None:
    """The limit is ignored where dumps go to a program; the flag is not."""
    script = (
        "import resource; most = resource.getrlimit(4)[1]; resource.setrlimit(4, (most, most))\n"
        f"import sys; sys.argv = ['x', '--version']\nimport {module} as m, atexit\n"
        f"atexit.register(lambda: exec({_DUMPABLE!r}))\nm.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "0 0"


def test_export_within_an_application_leaves_its_process_as_it_is(sqlite_world: World) -> None:
    before = (
        ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE),
        resource.getrlimit(resource.RLIMIT_CORE),
        sys.stdout,
        sys.stderr,
    )
    sqlite_world.people(Person(7))
    sqlite_world.request(7, "R-1")
    with sqlite_world.services():
        assert persist_dsar_export("R-1")["ok"]
    after = (
        ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE),
        resource.getrlimit(resource.RLIMIT_CORE),
        sys.stdout,
        sys.stderr,
    )
    assert after == before
