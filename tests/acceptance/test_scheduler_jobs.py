"""The scheduler and its job processes: who is signalled, who dies, what is replaced."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backend.settings import CHECKOUT_ROOT
from scheduler.metrics import read_book
from scheduler.service import EXIT_REPLACED
from tests.acceptance.test_faults import Broken
from tests.acceptance.test_processes import SLOWLY, let_it_be_taken, staged
from tests.acceptance.test_trouble import events, scheduler_of
from tests.factories import Person
from tests.harness import World, finish, wait_for


@pytest.fixture
def busy(sqlite_world: World) -> World:
    """One request that takes a while."""
    sqlite_world.people(Person(7, runs=600), times=100)
    sqlite_world.request(7, "BIG")
    return sqlite_world


@pytest.mark.parametrize("workers", [1, 2])
def test_run_signalled_with_all_its_processes_is_asked_once(busy: World, workers: int) -> None:
    """As by a terminal's Ctrl-C, or by systemd with KillMode=control-group."""
    scheduler = busy.start("scheduler", "run", workers=workers, drain_seconds=120)
    wait_for(lambda: staged(busy), "a staged file")

    os.killpg(scheduler.pid, signal.SIGINT)
    done = finish(scheduler)

    assert done.returncode == 0, done.stderr
    assert busy.row("BIG")["status"] == "completed"
    assert {"sweep_finished", "scheduler_stopped"} <= {line["event"] for line in done.logs}
    assert "job_died" not in done.stderr and "worker_died" not in done.stderr


def test_run_asked_twice_has_its_job_stop_at_once(busy: World) -> None:
    scheduler = busy.start("scheduler", "run", drain_seconds=600, rows_per_second=SLOWLY)
    wait_for(lambda: staged(busy), "a staged file")

    for _ in range(2):
        scheduler.send_signal(signal.SIGTERM)
        let_it_be_taken()
    done = finish(scheduler)

    assert done.returncode == 0, done.stderr
    row = busy.row("BIG")
    assert (row["status"], row["attempts"], row["interruptions"]) == ("pending", 0, 1)
    busy.check_invariants()


def test_run_killed_takes_its_job_with_it_and_the_request_is_given_back(busy: World) -> None:
    scheduler = busy.start("scheduler", "run", rows_per_second=SLOWLY)
    wait_for(lambda: staged(busy), "a staged file")

    scheduler.kill()

    # The job has the pipe of the log, too: this ends when it does.
    done = finish(scheduler)
    assert done.returncode == -signal.SIGKILL
    assert [line["event"] for line in done.logs].count("parent_gone") == 1
    row = busy.row("BIG")
    assert (row["status"], row["attempts"], row["interruptions"]) == ("pending", 0, 1)
    busy.check_invariants()


def test_run_outlives_a_job_that_dies_and_counts_it(world: World) -> None:
    world.people(Person(7, runs=3))
    world.request(7, "R-7")
    textfile = world.root / "dsar.prom"
    running = Broken(world, "packing", "kill", "scheduler", "run", metrics_textfile=textfile)
    running.wait()
    wait_for(textfile.exists, "the sweep's figures")

    running.process.send_signal(signal.SIGTERM)
    done = running.end()

    assert done.returncode == 0, done.stderr
    said = {line["event"]: line for line in done.logs}
    assert said["job_died"]["exit_code"] == -signal.SIGKILL
    assert said["sweep_failed"]["error_code"] == "worker_failed"
    found = read_book(textfile.read_text()).values
    assert found["dsar_sweep_troubles_total", ("worker_failed",)] == 1
    assert world.row("R-7")["status"] == "processing"  # until its lease is over


def test_run_goes_by_the_settings_of_its_start(sqlite_world: World) -> None:
    world = sqlite_world
    world.people(Person(7, runs=3))
    secrets = world.root / "secrets"
    secrets.mkdir()
    (secrets / "dsar_sweep_limit").write_text("5\n")
    world.environment["DSAR_SECRETS_DIR"] = str(secrets)
    with scheduler_of(world) as log:
        shutil.rmtree(secrets)  # whoever read them now would say so
        world.request(7, "R-7")
        wait_for(lambda: world.row("R-7")["status"] == "completed", "the export")
    assert not events(log)["sweep_failed"]


def test_run_looks_again_at_sections_that_changed(sqlite_world: World) -> None:
    world = sqlite_world
    world.people(Person(7, runs=3))
    path = world.root / "sections.toml"
    draft = world.dsar("sections", "draft", "--subject-table", "users", "-o", str(path))
    assert draft.returncode == 0, draft.stderr
    text = path.read_text()
    with scheduler_of(world, sections_file=path) as log:
        world.request(7, "R-7")
        wait_for(lambda: world.row("R-7")["status"] == "completed", "the export")
        looked = events(log)["coverage_gap"] + events(log)["controller_unstated"]
        path.write_text(f"{text}\n# edited\n")
        world.request(7, "R-8")
        wait_for(lambda: world.row("R-8")["status"] == "completed", "the export afterwards")
        again = events(log)["coverage_gap"] + events(log)["controller_unstated"]
    assert again > looked > 0


def test_run_whose_release_is_replaced_ends_for_another_start(
    sqlite_world: World, tmp_path: Path
) -> None:
    copy = tmp_path / "release"
    for package in ("backend", "scheduler"):
        ignored = shutil.ignore_patterns("exports", "__pycache__")
        shutil.copytree(CHECKOUT_ROOT / package, copy / package, ignore=ignored)
    (copy / "tests").mkdir()
    for name in ("__init__.py", "failpoints.py"):
        if (CHECKOUT_ROOT / "tests" / name).exists():
            shutil.copy(CHECKOUT_ROOT / "tests" / name, copy / "tests")
    log = tmp_path / "log"
    environment = sqlite_world.variables() | {"FAILPOINT_REACHED": str(tmp_path / "ticks")}
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.failpoints", "every-second", "count", "scheduler", "run"],
            cwd=copy,
            env={k: v for k, v in os.environ.items() if not k.startswith("DSAR_")} | environment,
            stdin=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        wait_for(lambda: events(log)["scheduler_started"], "the scheduler's start")
        os.utime(copy / "backend" / "errors.py", (1, 1))
        assert process.wait(60) == EXIT_REPLACED
    finally:
        process.kill()
        process.wait()
    said = events(log)
    assert (said["release_replaced"], said["scheduler_stopped"]) == (1, 1), log.read_text()
