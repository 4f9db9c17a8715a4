"""Trouble that is not a request's own: a server that restarts, a store that goes, a worker that
hangs. The scheduler lives on, says once that it waits and once that all is well, and no attempt is
used.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_faults import BEFORE_THE_RECORD, Broken, good_sweep, past_the_lease
from tests.factories import Person
from tests.harness import World, finish, wait_for
from tests.servers import Server


@contextmanager
def scheduler_of(world: World, **settings: Any) -> Iterator[Path]:
    """A long-running scheduler that sweeps each second; the file that its log goes to."""
    log = world.root / "scheduler.log"
    world.environment["FAILPOINT_REACHED"] = str(world.root / "ticks")
    command = ("tests.failpoints", "every-second", "count", "scheduler", "run")
    with log.open("w") as stderr:
        process = world.start(*command, stderr=stderr, **settings)
    try:
        wait_for(lambda: "scheduler_started" in events(log), "the scheduler's start")
        yield log
        process.send_signal(signal.SIGTERM)
        assert finish(process).returncode == 0, log.read_text()[-2000:]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            finish(process)


def events(log: Path) -> Counter[str]:
    lines = log.read_text().splitlines()
    return Counter(json.loads(line)["event"] for line in lines if line.startswith("{"))


def ticks_pass(world: World, count: int) -> None:
    """Wait until the schedule fired that often from now on."""
    file = world.root / "ticks"
    before = file.stat().st_size
    wait_for(lambda: file.stat().st_size >= before + count, f"{count} ticks of the schedule")


@pytest.mark.parametrize("workers", [1, 2])
def test_run_outlives_its_database_and_says_so_once(
    breakable_world: tuple[World, Server], workers: int
) -> None:
    world, server = breakable_world
    world.people(Person(7, runs=3))
    world.request(7, "BEFORE")
    with scheduler_of(world, workers=workers) as log:
        wait_for(lambda: world.row("BEFORE")["status"] == "completed", "the first export")
        world.close()
        server.crash()
        wait_for(lambda: events(log)["waiting_for_environment"], "a word of the trouble")
        ticks_pass(world, 4)
        server.start()
        world.request(7, "AFTER")
        wait_for(lambda: world.row("AFTER")["status"] == "completed", "the export afterwards")
        wait_for(lambda: events(log)["environment_well"], "a word that all is well")
        ticks_pass(world, 2)
    said = events(log)
    assert (said["waiting_for_environment"], said["environment_well"]) == (1, 1), said
    assert {attempt["outcome"] for attempt in world.attempts()} == {"completed"}
    assert world.row("AFTER")["attempts"] == 1
    world.check_invariants()


def test_run_outlives_its_store_and_says_so_once(world: World) -> None:
    world.people(Person(7, runs=3))
    world.request(7, "BEFORE")
    with scheduler_of(world) as log:
        wait_for(lambda: world.row("BEFORE")["status"] == "completed", "the first export")
        # A folder that is a file now: as if its disk had been unmounted, and for root as well.
        away = world.exports.rename(world.root / "away")
        world.exports.touch()
        world.request(7, "AFTER")
        wait_for(lambda: events(log)["waiting_for_environment"], "a word of the trouble")
        ticks_pass(world, 3)
        world.exports.unlink()
        away.rename(world.exports)
        wait_for(lambda: world.row("AFTER")["status"] == "completed", "the export afterwards")
        wait_for(lambda: events(log)["environment_well"], "a word that all is well")
    said = events(log)
    assert (said["waiting_for_environment"], said["environment_well"]) == (1, 1), said
    # A sweep looks at the store before it claims.
    assert {attempt["outcome"] for attempt in world.attempts()} == {"completed"}
    assert world.row("AFTER")["attempts"] == 1
    world.check_invariants()


@pytest.mark.parametrize("point", ["claim-before-commit", *BEFORE_THE_RECORD])
def test_server_crashed_in_mid_sweep_ends_in_exactly_one_completion(
    breakable_world: tuple[World, Server], point: str
) -> None:
    world, server = breakable_world
    world.people(Person(7, runs=3))
    world.request(7, "R-7")
    process = Broken(world, point, "wait", lease_seconds=30, backoff_base_seconds=1)
    process.wait()
    world.close()
    server.crash()
    server.start()
    process.go()
    done = process.end()
    assert done.returncode in (0, 69), done.stderr
    assert "Traceback" not in done.stderr

    row = world.row("R-7")
    assert row["status"] in ("pending", "completed"), (point, row["status"])
    if row["status"] == "pending":
        world.update("R-7", next_attempt_at=row["requested_at"])
        good_sweep(world, completed=1)
    world.check_invariants()
    assert [a["outcome"] for a in world.attempts()].count("completed") == 1


@pytest.mark.timeout(120)
def test_worker_that_hangs_is_ended_and_replaced(world: World) -> None:
    world.people(Person(7, runs=3))
    for number in range(4):
        world.request(7, f"R-{number}")
    command = ("scheduler", "sweep", "--once", "--workers", "2")
    done = Broken(world, "packing", "hang", *command, export_timeout_seconds=1).end()
    assert done.json["completed"] == 3, done.stderr
    died = [line for line in done.logs if line["event"] == "worker_died"]
    assert [line["exit_code"] for line in died] == [70]
    past_the_lease(world)
    good_sweep(world, reclaimed=1, completed=1)


def test_run_long_export_keeps_the_watchdog_fed(sqlite_world: World) -> None:
    """An export that outlasts the watchdog's time many times over is work, not a hang."""
    world = sqlite_world
    world.people(Person(7, runs=3))
    world.request(7, "LONG")
    path = world.root / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(path))
        supervisor.settimeout(60)
        world.environment |= {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}
        running = Broken(world, "packing", "wait", "scheduler", "run", lease_seconds=30)
        running.wait()
        fed = 0
        while fed < 20:  # of 67 ms each: several times the watchdog's 200 ms
            fed += supervisor.recv(4096).count(b"WATCHDOG=1")
        assert world.row("LONG")["status"] == "processing"
        running.go()
        wait_for(lambda: world.row("LONG")["status"] == "completed", "the export's end")
        running.process.send_signal(signal.SIGTERM)
        assert finish(running.process).returncode == 0
