"""Whole processes on real databases: many sweepers, killed ones, drained ones, silent ones."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from backend.errors import BusyError, WrongState
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.outlook import look
from backend.services.requests import Requests
from backend.services.retention import Retention
from backend.services.verification import Verification
from tests.factories import Person
from tests.harness import REQUESTS, World, finish, members, wait_for

LEASE = 2  # seconds; as short as a test can bear
# Rows a second of an export that a test ends in its course: twenty seconds, however fast the
# machine. At full speed one was sometimes over before the second signal.
SLOWLY = 3_000


def insert_plainly(world: World, count: int, user_id: int = 7) -> None:
    """As the application does: by SQL, with the four given columns and nothing else."""
    with world.begin() as connection:
        for number in range(count):
            connection.exec_driver_sql(
                "INSERT INTO dsar_requests (user_id, gdpr_reference_id, status, requested_at) "
                f"VALUES ({user_id}, 'GDPR-{number}', 'pending', '2026-11-01 10:00:00')"
            )


@pytest.mark.timeout(600)
def test_sweep_four_processes_thousand_requests_each_exported_once(server_world: World) -> None:
    world = server_world
    world.people(*(Person(user, runs=3, logs=3) for user in range(10, 20)))
    with world.begin() as connection:
        for number in range(1000):
            connection.exec_driver_sql(
                "INSERT INTO dsar_requests (user_id, gdpr_reference_id, status, requested_at) "
                f"VALUES ({10 + number % 10}, 'GDPR-{number}', 'pending', '2026-11-01 10:00:00')"
            )

    sweeps = [world.start("scheduler", "sweep", "--once") for _ in range(4)]
    done = [finish(sweep, 500) for sweep in sweeps]

    assert [each.returncode for each in done] == [0, 0, 0, 0], [d.stderr[-500:] for d in done]
    assert sum(each.json["completed"] for each in done) == 1000
    assert Counter(row["status"] for row in world.rows()) == {"completed": 1000}
    attempts = world.attempts()
    assert len(attempts) == 1000
    assert {a["outcome"] for a in attempts} == {"completed"}
    world.check_invariants()
    for number in range(1000):
        files = members(world.public(f"GDPR-{number}"))
        assert files["account.json"]["id"] == 10 + number % 10
        assert files["dsar_request.json"]["gdpr_reference_id"] == f"GDPR-{number}"
    _open_with_other_tools(world, 25)


@pytest.mark.timeout(600)
def test_sweep_sixteen_workers_thousand_requests_each_exported_once(server_world: World) -> None:
    world = server_world
    world.people(Person(7, runs=2, logs=2))
    insert_plainly(world, 1000)

    done = world.sweep("--workers", "16", timeout=500)

    assert (done.returncode, done.json["completed"]) == (0, 1000), done.stderr[-2000:]
    assert {row["status"] for row in world.rows()} == {"completed"}
    assert Counter(a["outcome"] for a in world.attempts()) == {"completed": 1000}
    assert len({a["worker"] for a in world.attempts()}) > 8
    world.check_invariants()


@pytest.mark.timeout(600)
def test_operators_work_while_sweeps_run(world: World) -> None:
    """Retry, cancel, verify, prune and export, at random, on requests that are being swept."""
    chance = random.Random(7)
    world.people(Person(7, runs=200))
    insert_plainly(world, 150)
    sweeps = [world.start("scheduler", "sweep", "--once") for _ in range(3)]
    cancelled: set[str] = set()
    with world.services() as services:
        requests = Requests(services.controller)
        verification = Verification(services.controller, services.claims, services.store)
        retention = Retention(
            services.controller, services.claims, services.store, retention_days=30
        )
        while any(sweep.poll() is None for sweep in sweeps):
            reference = f"GDPR-{chance.randrange(150)}"
            match chance.choice(["retry", "cancel", "verify", "verify all", "prune", "export"]):
                case "retry":
                    with suppress(WrongState, BusyError):
                        requests.retry(reference)
                case "cancel" if len(cancelled) < 20:
                    with suppress(WrongState):
                        requests.cancel(reference)
                        cancelled.add(reference)
                case "verify":
                    assert not verification.verify(reference).is_bad
                case "verify all":
                    assert not [bad for bad in verification.verify_all() if bad.is_bad]
                case "prune":
                    retention.prune()
                case "export":
                    result = persist_dsar_export(reference)
                    assert result["ok"] or result["error_code"] in (
                        "being_exported",
                        "superseded",
                        "wrong_state",
                    ), result
    for sweep in sweeps:
        done = finish(sweep)
        assert done.returncode == 0, done.stderr
    assert world.sweep().returncode == 0
    world.check_invariants()
    statuses = {row["gdpr_reference_id"]: row["status"] for row in world.rows()}
    assert set(statuses.values()) <= {"completed", "cancelled"}
    assert {r for r, status in statuses.items() if status == "cancelled"} <= cancelled


def _open_with_other_tools(world: World, count: int) -> None:
    """Where they are installed; .ci/run sees to it that they are."""
    for number in range(count):
        path = world.public(f"GDPR-{number}")
        commands = [["unzip", "-tqq", str(path)]]
        if number < 2:  # a JVM takes a second to start
            commands.append(["jar", "tf", str(path)])
        for command in commands:
            if shutil.which(command[0]) or os.environ.get("CI"):
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)


@pytest.mark.parametrize("workers", [1, 3])
def test_sweep_with_workers_and_limit_obeys_both(world: World, workers: int) -> None:
    world.people(Person(7, runs=2))
    insert_plainly(world, 9)

    first = world.sweep("--workers", str(workers), "--limit", "5")
    second = world.sweep("--workers", str(workers))

    assert (first.returncode, first.json["completed"]) == (0, 5), first.stderr[-2000:]
    assert (second.returncode, second.json["completed"]) == (0, 4), second.stderr[-2000:]
    world.check_invariants()


def staged(world: World) -> list[str]:
    return [name for name in world.versions() if name.endswith(".part")]


@pytest.fixture
def busy(world: World) -> World:
    """One request that takes a while."""
    world.people(Person(7, runs=600), times=100)
    world.request(7, "BIG")
    return world


def test_sweep_with_workers_over_nothing_ends_with_them(sqlite_world: World) -> None:
    # Its output ends only when the last process that has it has ended.
    done = sqlite_world.sweep("--workers", "3")
    assert done.json["claimed"] == 0
    assert done.logs == []


@pytest.mark.parametrize("workers", [1, 2])
def test_sweep_killed_in_mid_export_is_rerun_after_the_lease(busy: World, workers: int) -> None:
    sweep = busy.start(
        *("scheduler", "sweep", "--once", "--workers", str(workers)),
        lease_seconds=LEASE,
        rows_per_second=SLOWLY,
    )
    wait_for(lambda: staged(busy), "a staged file")
    os.killpg(sweep.pid, signal.SIGKILL)
    finish(sweep)
    assert busy.row("BIG")["status"] == "processing"
    assert not busy.public("BIG").exists()

    with busy.services() as services:
        wait_for(lambda: look(services.controller, prune_before=None).expired, "the lease's end")
    done = busy.sweep()

    assert done.returncode == 0, done.stderr
    assert (done.json["reclaimed"], done.json["completed"]) == (1, 1)
    row = busy.row("BIG")
    assert (row["status"], row["claim_token"], row["crashes"]) == ("completed", 2, 1)
    assert busy.versions() == [f"{row['id']}.2.zip"]
    assert [a["outcome"] for a in busy.attempts()] == ["lost", "completed"]
    busy.check_invariants()


@pytest.mark.parametrize("workers", [1, 2])
def test_sweep_terminated_within_its_grace_finishes_the_export(busy: World, workers: int) -> None:
    busy.request(7, "NEXT")
    arguments = ("scheduler", "sweep", "--once", "--workers", str(workers), "--limit", "1")
    sweep = busy.start(*arguments, drain_seconds=120)
    wait_for(lambda: staged(busy), "a staged file")
    sweep.send_signal(signal.SIGTERM)
    done = finish(sweep)

    assert done.returncode == 0, done.stderr
    assert done.json["completed"] == 1
    assert busy.row("BIG")["status"] == "completed"
    assert busy.row("NEXT")["status"] == "pending"
    busy.check_invariants()


@pytest.mark.parametrize(("drain", "signals"), [(0, 1), (600, 2)])
@pytest.mark.parametrize("workers", [1, 2])
def test_sweep_terminated_past_its_grace_gives_the_request_back(
    busy: World, workers: int, drain: int, signals: int
) -> None:
    arguments = ("scheduler", "sweep", "--once", "--workers", str(workers))
    sweep = busy.start(*arguments, drain_seconds=drain, rows_per_second=SLOWLY)
    wait_for(lambda: staged(busy), "a staged file")
    for _ in range(signals):
        sweep.send_signal(signal.SIGTERM)
        let_it_be_taken()
    done = finish(sweep)

    assert done.returncode == 0, done.stderr
    assert done.json["released"] == 1, done.stdout
    row = busy.row("BIG")
    assert (row["status"], row["attempts"], row["interruptions"]) == ("pending", 0, 1)
    assert busy.versions() == []
    busy.check_invariants()


def let_it_be_taken() -> None:
    """Two signals of one number that are pending together are one: let the first be taken."""
    time.sleep(0.05)


def test_run_sweeps_at_start_drains_on_sigterm_and_tells_its_health(world: World) -> None:
    world.people(Person(7, runs=2))
    insert_plainly(world, 3)
    before = world.run("scheduler", "healthcheck")
    assert (before.returncode, "heartbeat, " in before.stderr) == (1, True), before.stderr
    scheduler = world.start("scheduler", sweep_cron="0 0 1 1 *")
    try:
        wait_for(
            lambda: Counter(row["status"] for row in world.rows()) == {"completed": 3},
            "the sweep at start",
        )
        wait_for((world.root / "run" / "heartbeat").exists, "the heartbeat")
        assert world.run("scheduler", "healthcheck").returncode == 0
    finally:
        scheduler.send_signal(signal.SIGTERM)
        done = finish(scheduler)
    assert done.returncode == 0, done.stderr
    events = [line["event"] for line in done.logs]
    assert "scheduler_started" in events and events[-1] == "scheduler_stopped"
    assert "sweep_finished" in events
    assert world.run("scheduler", "healthcheck").returncode == 1


def test_run_terminated_in_mid_export_drains(busy: World) -> None:
    scheduler = busy.start("scheduler", drain_seconds=0, rows_per_second=SLOWLY)
    wait_for(lambda: staged(busy), "a staged file")
    scheduler.send_signal(signal.SIGTERM)
    done = finish(scheduler)
    assert done.returncode == 0, done.stderr
    assert busy.row("BIG")["status"] == "pending"
    busy.check_invariants()


def test_run_interrupted_at_the_keyboard_ends_well(sqlite_world: World) -> None:
    world = sqlite_world
    world.people(Person(7, runs=2))
    insert_plainly(world, 1)
    scheduler = world.start("scheduler", "run", sweep_cron="0 0 1 1 *")
    wait_for(lambda: world.row("GDPR-0")["status"] == "completed", "the sweep at start")
    scheduler.send_signal(signal.SIGINT)
    assert finish(scheduler).returncode == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_sweep_that_fails_leaks_nothing(world: World, workers: int) -> None:
    """A renamed table: the driver's error carries the statement and its parameters."""
    world.people(Person(7654321, runs=2), Person(8, runs=2))
    world.request(7654321, "SECRETREF-77")
    with world.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE audit_logs RENAME TO audit_logs_gone")

    done = world.sweep("--workers", str(workers), max_attempts=1, log_level="DEBUG")

    assert done.returncode == 1
    assert done.json["failed"] == 1
    row = world.row("SECRETREF-77")
    (attempt,) = world.attempts()
    assert row["status"] == "failed" and attempt["error_code"] == "query_failed"
    shown = done.stdout + done.stderr + row["last_error"] + repr(attempt)
    for secret in ("7654321", "SECRETREF", "person-", "audit_logs", "SELECT", "example.org"):
        assert secret not in shown, secret
    assert any(line.get("error_code") == "query_failed" for line in done.logs)


def test_sweep_one_bad_request_keeps_nobody_from_their_turn(world: World) -> None:
    world.people(Person(7, runs=2))
    world.request(None, "NOBODY", requested_at=datetime(2025, 1, 1, tzinfo=UTC))
    world.request(7, "GOOD")

    done = world.sweep()

    assert done.returncode == 1
    assert (done.json["completed"], done.json["failed"]) == (1, 1)
    assert world.row("GOOD")["status"] == "completed"
    assert world.row("NOBODY")["last_error"].startswith("subject_missing")


def test_sweep_prunes_what_is_past_its_days(world: World) -> None:
    world.people(Person(7, runs=2))
    insert_plainly(world, 2)
    assert world.sweep().returncode == 0
    world.update("GDPR-0", exported_at=datetime.now(UTC) - timedelta(days=31))

    done = world.sweep()

    assert done.json["pruned"] == 1
    row = world.row("GDPR-0")
    assert (row["status"], row["export_state"]) == ("completed", "pruned")
    assert not world.public("GDPR-0").exists() and world.public("GDPR-1").exists()
    world.check_invariants()


def test_sweep_full_store_ends_early_without_using_an_attempt(world: World) -> None:
    world.people(Person(7, runs=2))
    insert_plainly(world, 2)

    done = world.sweep(min_free_bytes=2**62)

    assert done.returncode == 69
    assert done.json["error_code"] == "disk_full"
    assert "DSAR_MIN_FREE_BYTES" in done.stderr
    assert {row["attempts"] for row in world.rows()} == {0}
    assert {row["status"] for row in world.rows()} == {"pending"}


# An application that has the commands under a name of its own.
_OWN_COMMAND = """
from backend.app import create_app
from backend.cli.dsar_commands import dsar

app = create_app()
app.cli.add_command(dsar, "privacy")
"""


def test_export_command_works_on_flask_and_by_module(world: World) -> None:
    world.people(Person(7, runs=2))
    world.request(7, "GDPR-TEST-123")
    first = world.dsar("export", "GDPR-TEST-123")
    second = world.run("flask", "--app", "backend.app", "dsar", "export", "GDPR-TEST-123")
    own = world.root / "own.py"
    own.write_text(_OWN_COMMAND)
    third = world.run("flask", "--app", str(own), "privacy", "export", "GDPR-TEST-123")
    for done in (first, second, third):
        assert done.returncode == 0, done.stderr
        assert "export_completed" in done.stderr
        assert done.json["ok"] is True
        assert Path(done.json["file_path"]) == world.public("GDPR-TEST-123")
    with world.begin() as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(REQUESTS)).scalar()
    assert count == 1
