"""The fault matrix: a real process is killed, stopped, cut off or starved at a named place.

After each fault the next sweep runs (past the lease), and ``World.check_invariants`` reads database
and disk.
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backend.services.outlook import look
from backend.settings import CHECKOUT_ROOT
from tests.factories import Person
from tests.harness import REQUESTS, Done, World, finish, members, wait_for
from tests.launcher import Started

LEASE = 1
SECRET = "s3cr3t-bob@example.org"

BEFORE_THE_RECORD = [
    "claimed",
    "collecting",
    "packing",
    "staged-before-rename",
    "staged",
    "recording",
    "published-before-commit",
    "record-at-commit",
]


class Broken:
    """A process with a failpoint, and the files by which it and the test know of each other."""

    def __init__(self, world: World, point: str, action: str, *command: str, **settings: Any):
        self.reached = world.root / "reached"
        self._go = world.root / "go"
        for path in (self.reached, self._go):
            path.unlink(missing_ok=True)
        world.environment |= {
            "FAILPOINT_REACHED": str(self.reached),
            "FAILPOINT_GO": str(self._go),
            "FAILPOINT_TEXT": SECRET,
        }
        command = command or ("scheduler", "sweep", "--once")
        self.process: Started = world.start(
            "tests.failpoints", point, action, *command, **{"lease_seconds": LEASE, **settings}
        )

    def wait(self) -> None:
        wait_for(lambda: self.reached.exists() or self.process.poll() is not None, "the failpoint")
        assert self.reached.exists(), finish(self.process).stderr

    def go(self) -> None:
        self._go.touch()

    def end(self) -> Done:
        return finish(self.process)


@pytest.fixture
def ada(world: World) -> World:
    world.people(Person(7, runs=3))
    world.request(7, "R-7")
    return world


def past_the_lease(world: World) -> None:
    with world.services() as services:
        wait_for(lambda: look(services.controller, prune_before=None).expired, "the lease's end")


def good_sweep(world: World, **counts: int) -> None:
    done = world.sweep()
    assert done.returncode == 0, done.stderr
    assert {name: done.json[name] for name in counts} == counts
    world.check_invariants()


# -- kill -9 -----------------------------------------------------------------------------------


def test_killed_before_the_claim_commits_leaves_it_pending(ada: World) -> None:
    done = Broken(ada, "claim-before-commit", "kill").end()
    assert done.returncode == -signal.SIGKILL
    row = ada.row("R-7")
    assert (row["status"], row["attempts"], row["claim_token"]) == ("pending", 0, 0)
    good_sweep(ada, completed=1, reclaimed=0)


@pytest.mark.parametrize("point", BEFORE_THE_RECORD)
def test_killed_before_the_record_is_rerun_and_leaves_nothing(ada: World, point: str) -> None:
    done = Broken(ada, point, "kill").end()
    assert done.returncode == -signal.SIGKILL
    assert ada.row("R-7")["status"] == "processing"
    if point in BEFORE_THE_RECORD[:6]:
        assert not ada.public("R-7").exists()
    past_the_lease(ada)
    good_sweep(ada, completed=1, reclaimed=1)
    row = ada.row("R-7")
    assert ada.versions() == [f"{row['id']}.2.zip"]


@pytest.mark.parametrize("point", BEFORE_THE_RECORD)
def test_killed_reexport_leaves_the_earlier_export_served(ada: World, point: str) -> None:
    good_sweep(ada, completed=1)
    before = ada.row("R-7")
    content = ada.public("R-7").read_bytes()

    command = ("backend.cli.dsar_commands", "export", "R-7")
    assert Broken(ada, point, "kill", *command).end().returncode == -signal.SIGKILL
    past_the_lease(ada)
    good_sweep(ada, reclaimed=1, completed=0)

    after = ada.row("R-7")
    assert {k for k in after if after[k] != before[k]} == {"claim_token", "crashes"}
    assert ada.public("R-7").read_bytes() == content


def test_killed_after_the_record_is_not_run_again(ada: World) -> None:
    good_sweep(ada, completed=1)
    command = ("backend.cli.dsar_commands", "export", "R-7")
    assert Broken(ada, "recorded", "kill", *command).end().returncode == -signal.SIGKILL
    row = ada.row("R-7")
    assert (row["status"], row["export_claim_token"]) == ("completed", 2)
    assert ada.sweep().json["claimed"] == 0
    assert ada.dsar("prune").json["leftovers"] == 1
    ada.check_invariants()
    assert ada.versions() == [f"{row['id']}.2.zip"]


# -- frozen ------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", BEFORE_THE_RECORD[:5])
def test_stopped_past_its_lease_changes_nothing_when_it_wakes(ada: World, point: str) -> None:
    frozen = Broken(ada, point, "stop")
    frozen.wait()
    past_the_lease(ada)
    good_sweep(ada, completed=1, reclaimed=1)
    before = ada.row("R-7")

    frozen.process.send_signal(signal.SIGCONT)
    frozen.end()

    assert ada.row("R-7") == before
    ada.dsar("verify")
    ada.check_invariants()
    outcomes = [attempt["outcome"] for attempt in ada.attempts(before["id"])]
    assert outcomes == ["lost", "completed"]


@pytest.mark.parametrize("point", ["recording", "published-before-commit", "record-at-commit"])
def test_stopped_in_its_transaction_and_cut_off_changes_no_record(
    server_world: World, point: str
) -> None:
    """Frozen with the row locked: every other sweeper passes it over, until its session dies."""
    world = server_world
    world.people(Person(7, runs=3))
    world.request(7, "R-7")
    frozen = Broken(world, point, "stop")
    frozen.wait()
    past_the_lease(world)
    world.request(7, "OTHER")
    other = world.sweep()
    assert (other.json["completed"], other.json["reclaimed"]) == (1, 0), other.stderr

    cut_connections(world)
    good_or_stale = world.sweep()
    assert (good_or_stale.json["completed"], good_or_stale.json["reclaimed"]) == (1, 1)
    before = world.row("R-7")

    frozen.process.send_signal(signal.SIGCONT)
    frozen.end()

    assert world.row("R-7") == before
    world.dsar("verify")
    world.check_invariants()


# -- cut connections ---------------------------------------------------------------------------


def cut_connections(world: World) -> None:
    """Have the server end every session on this database but our own."""
    with world.begin() as connection:
        if world.engine.dialect.name == "postgresql":
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return
        ids = connection.exec_driver_sql(
            "SELECT id FROM information_schema.processlist "
            "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        ).scalars()
        for number in list(ids):
            connection.exec_driver_sql(f"KILL {number}")


@pytest.mark.parametrize("point", ["claim-before-commit", *BEFORE_THE_RECORD])
def test_connections_cut_anywhere_end_in_exactly_one_completion(
    server_world: World, point: str
) -> None:
    world = server_world
    world.people(Person(7, runs=3))
    world.request(7, "R-7")
    process = Broken(world, point, "wait", lease_seconds=30, backoff_base_seconds=1)
    process.wait()
    cut_connections(world)
    process.go()
    done = process.end()
    assert done.returncode in (0, 69), done.stderr
    assert "Traceback" not in done.stderr

    world.update("R-7", next_attempt_at=sa.func.coalesce(None, REQUESTS.c.requested_at))
    if world.row("R-7")["status"] != "completed":
        good_sweep(world, completed=1)
    world.check_invariants()
    outcomes = [attempt["outcome"] for attempt in world.attempts()]
    assert outcomes.count("completed") == 1


# -- disk --------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["packing", "staged-before-rename", "recording"])
def test_disk_full_leaves_no_staged_file_and_the_older_export(ada: World, point: str) -> None:
    good_sweep(ada, completed=1)
    before = ada.row("R-7")
    done = Broken(ada, point, "enospc", "backend.cli.dsar_commands", "export", "R-7").end()
    assert done.returncode in (1, 69), done.stderr
    assert done.json["error_code"] == "disk_full"
    after = ada.row("R-7")
    assert {k for k in after if after[k] != before[k]} == {"claim_token"}
    ada.check_invariants()
    assert SECRET not in done.stdout + done.stderr + repr(ada.attempts())


def test_disk_full_for_real_is_named(server_world: World) -> None:
    """A limit on the size of files stands in for a small disk; the database is elsewhere."""
    world = server_world
    world.people(Person(7, runs=3_000))
    world.request(7, "R-7")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DSAR_")}
    limited = subprocess.run(
        [sys.executable, "-m", "scheduler", "sweep", "--once"],
        cwd=CHECKOUT_ROOT,
        env=kept | world.variables(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert '"error_code": "disk_full"' in limited.stderr, limited.stderr
    assert world.versions() == []
    row = world.row("R-7")
    assert row["status"] == "pending"
    world.update("R-7", next_attempt_at=row["requested_at"])
    good_sweep(world, completed=1)


# -- a request that is the trouble itself ------------------------------------------------------


def test_request_that_raises_every_time_backs_off_then_fails_alone(ada: World) -> None:
    ada.people(Person(8, runs=1))
    done = Broken(ada, "packing", "always-raise", max_attempts=1).end()
    assert done.returncode == 1
    row = ada.row("R-7")
    assert row["status"] == "failed"
    assert row["last_error"].startswith("unexpected_error ValueError at failpoints:_raise:")
    shown = done.stdout + done.stderr + row["last_error"] + repr(ada.attempts())
    assert SECRET not in shown


def test_request_that_kills_its_worker_fails_at_the_limit(ada: World) -> None:
    for crash in range(3):
        assert Broken(ada, "packing", "kill", max_attempts=3).end().returncode == -9
        past_the_lease(ada)
        done = ada.sweep("--limit", "1", max_attempts=3, min_free_bytes=2**62)
        row = ada.row("R-7")
        if crash < 2:
            assert row["status"] == "pending", done.stderr
            ada.update("R-7", next_attempt_at=row["requested_at"])
    assert (row["status"], row["last_error"]) == ("failed", "worker_lost")
    ada.check_invariants()


@pytest.mark.timeout(120)
def test_export_that_hangs_is_ended_and_retried(ada: World) -> None:
    started = Broken(ada, "packing", "hang", export_timeout_seconds=1)
    assert started.end().returncode == 70
    assert ada.row("R-7")["status"] == "processing"
    past_the_lease(ada)
    good_sweep(ada, reclaimed=1, completed=1)


@pytest.mark.parametrize("point", ["collecting", "staged", "packing"])
@pytest.mark.parametrize("change", ["deleted", "cancelled"])
def test_row_changed_in_mid_run_throws_the_result_away(ada: World, point: str, change: str) -> None:
    process = Broken(ada, point, "wait", lease_seconds=30)
    process.wait()
    if change == "deleted":
        with ada.begin() as connection:
            connection.execute(sa.delete(REQUESTS))
    else:
        assert ada.dsar("cancel", "R-7").returncode == 0
    process.go()
    done = process.end()
    assert (done.returncode, done.json["completed"]) == (0, 0), done.stderr
    assert (done.json["claimed"], done.json["superseded"]) == (1, 1)
    assert ada.versions() == []
    assert not ada.public("R-7").exists()
    assert [attempt["outcome"] for attempt in ada.attempts()] == ["superseded"]
    ada.check_invariants()


# -- clocks and locks --------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_host_clock_off_by_an_hour_changes_neither_claims_nor_leases(
    server_world: World, seconds: int
) -> None:
    world = server_world
    world.people(Person(7, runs=3))
    world.request(7, "R-7")
    with world.services(lease_seconds=30) as services:
        assert services.claims.claim_reference("R-7", worker="other:1").token == 1
    world.request(7, "NEXT")
    world.environment["FAILPOINT_SECONDS"] = str(seconds)
    done = Broken(world, "clock", "wait", lease_seconds=30).end()
    assert done.returncode == 0, done.stderr
    assert (done.json["completed"], done.json["reclaimed"]) == (1, 0)
    assert world.row("R-7")["status"] == "processing"
    assert world.row("NEXT")["status"] == "completed"


def test_sqlite_writer_past_its_busy_timeout_is_retried_then_named(
    sqlite_world: World, tmp_path: Path
) -> None:
    world = sqlite_world
    world.people(Person(7, runs=3))
    world.request(7, "R-7")
    blocker = sqlite3.connect(tmp_path / "dsar.sqlite3", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    done = world.sweep()
    blocker.execute("ROLLBACK")
    blocker.close()
    assert done.returncode == 69
    assert done.json["error_code"] == "database_busy"
    assert world.row("R-7")["attempts"] == 0
    good_sweep(world, completed=1)


@pytest.mark.parametrize("point", ["pruned-before-delete", "deleted-before-relink"])
@pytest.mark.parametrize("fault", ["kill", "raise", "enospc"])
def test_prune_interrupted_is_finished_by_the_next(ada: World, point: str, fault: str) -> None:
    ada.request(7, "KEPT")
    good_sweep(ada, completed=2)
    ada.update("R-7", exported_at=datetime.now(UTC) - timedelta(days=31))
    command = ("backend.cli.dsar_commands", "prune")
    assert Broken(ada, point, fault, *command).end().returncode != 0
    row = ada.row("R-7")
    assert (row["status"], row["export_state"]) == ("completed", "pruned")

    assert ada.dsar("prune").returncode == 0
    assert not ada.public("R-7").exists() and ada.public("KEPT").exists()
    ada.check_invariants()
    assert ada.dsar("export", "R-7").json["ok"] is True
    ada.check_invariants()


# -- prune in the middle -----------------------------------------------------------------------


@pytest.mark.parametrize("point", BEFORE_THE_RECORD[:6])
def test_prune_in_the_middle_of_an_export_takes_nothing_of_it(ada: World, point: str) -> None:
    good_sweep(ada, completed=1)
    process = Broken(
        ada, point, "wait", "backend.cli.dsar_commands", "export", "R-7", lease_seconds=30
    )
    process.wait()
    if point != "recording":  # there the row is locked, and prune waits for it
        assert ada.dsar("prune").returncode == 0
    process.go()
    assert process.end().returncode == 0
    ada.check_invariants()
    assert members(ada.public("R-7"))["account.json"]["id"] == 7
