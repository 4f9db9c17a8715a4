"""A scheduler that is PID 1, or inherits orphans in another way, leaves no process defunct."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.factories import Person
from tests.harness import World, wait_for

# PR_SET_CHILD_SUBREAPER: to its descendants it is what PID 1 is to all.
_INHERITING = """
import ctypes, runpy, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
sys.argv = ["scheduler", "run"]
runpy.run_module("scheduler", run_name="__main__", alter_sys=True)
"""
ROOT = Path(__file__).parents[2]


def _defunct_below(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            status = Path(f"/proc/{child}/stat").read_text()
            if status.rpartition(")")[2].split()[0] == "Z":
                found.append(int(child))
    return found


def test_scheduler_that_inherits_a_jobs_orphans_reaps_them(
    sqlite_world: World, tmp_path: Path
) -> None:
    sqlite_world.people(Person(7))
    sqlite_world.request(7, "R-1")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DSAR_")}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _INHERITING],
            cwd=ROOT,
            env=kept | sqlite_world.variables(workers=2),
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(lambda: b"sweep_finished" in (tmp_path / "log").read_bytes(), "a sweep", 180)
        # multiprocessing's helper outlives the job; the scheduler looks around every five seconds.
        wait_for(lambda: _defunct_below(process.pid), "an orphan that has ended")
        wait_for(lambda: not _defunct_below(process.pid), "its end to be taken note of")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def test_reaping_leaves_a_job_process_to_whom_waits_for_it() -> None:
    script = """
import os, subprocess, sys, time
from scheduler import job_process
ours = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
job_process._awaited.add(ours.pid)
os.waitid(os.P_PID, ours.pid, os.WEXITED | os.WNOWAIT)
print(job_process.reap_inherited(), ours.wait())
job_process._awaited.clear()
orphan = os.fork()
if not orphan:
    os._exit(5)
os.waitid(os.P_PID, orphan, os.WEXITED | os.WNOWAIT)
print(job_process.reap_inherited(), job_process.reap_inherited())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["0", "3", "1", "0"]
