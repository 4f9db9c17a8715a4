"""The units under a real systemd: installed by install.sh into a Debian of their own, and booted.

One boot for all tests; each leaves the services stopped. Nothing on the machine has a network.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from backend.settings import CHECKOUT_ROOT
from tests.deploy.conftest import Debian
from tests.deploy.debian import Machine, booted
from tests.deploy.release import VERSION, a_release, command, tracked
from tests.harness import wait_for

pytestmark = pytest.mark.timeout(900)

SCHEDULER: Final = "dsar-scheduler.service"
DATABASE: Final = "/var/lib/dsar/by-credential.sqlite3"
WATCHDOG_SECONDS: Final = 6
# Only what a test cannot wait for is shortened.
IMPATIENT: Final = f"[Service]\nRestartSec=1\nWatchdogSec={WATCHDOG_SECONDS}\n"
CREDENTIAL: Final = """[Service]
LoadCredential=DSAR_DATABASE_URL:/etc/dsar/credentials/DSAR_DATABASE_URL
"""
STUCK: Final = """[Service]
Environment=STUCK=/var/lib/dsar/stuck
ExecStart=
ExecStart=/opt/dsar/venv/bin/python /opt/stuck.py
"""
OFTEN: Final = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\nRandomizedDelaySec=0\n"
ADD_PERSON: Final = """
import sqlite3, sys
path, user_id, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with sqlite3.connect(path) as connection:
    connection.execute("INSERT INTO users (id, email, name) VALUES (?, ?, 'A')",
                       (user_id, f"{user_id}@example.org"))
    connection.executemany(
        "INSERT INTO workflows (user_id, name, is_active) VALUES (?, 'Invoices', 1)",
        ((user_id,) for _ in range(rows)))
"""


def install(root: Path, wheels: Path) -> None:
    """Run install.sh in the root, twice: the second time it keeps what is there. Then roll back."""
    for name in tracked():
        (root / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT_ROOT / name, root / "src" / name)
    with a_release() as release:
        shutil.copy(release.wheel, root / "src")
        wheel = f"/src/{release.wheel.name}"
    shutil.copytree(wheels, root / "wheels")
    offline = ["env", "PIP_CONFIG_FILE=/dev/null", "PIP_NO_INDEX=1", "PIP_FIND_LINKS=/wheels"]
    for told in (f"levqor-dsar {VERSION}\n", "installed in /opt/dsar/releases/"):
        printed = command("chroot", root, *offline, "/src/deploy/install.sh", wheel, timeout=600)
        assert told in printed
        assert "Installed. Next:" in printed
    ours = ("usr/local/bin/dsar", "etc/systemd/system/dsar-scheduler.service")
    kept = [(root / name).read_bytes() for name in ours]
    for name in ours:
        (root / name).write_text("of a newer release\n")
    (root / "opt/dsar/venv").unlink()
    (root / "opt/dsar/venv").symlink_to("/opt/dsar/releases/9.9.9")
    command("chroot", root, f"/opt/dsar/releases/{VERSION}/deploy/install.sh")
    assert [(root / name).read_bytes() for name in ours] == kept
    assert str((root / "opt/dsar/venv").readlink()) == f"/opt/dsar/releases/{VERSION}"


def drop_in(root: Path, unit: str, name: str, text: str) -> None:
    folder = root / "etc/systemd/system" / f"{unit}.d"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.conf").write_text(text)


@pytest.fixture(scope="module")
def root(debian: Debian) -> Path:
    made = debian.root
    install(made, debian.wheels)
    for unit in (SCHEDULER, "dsar-sweep.service"):
        drop_in(made, unit, "credential", CREDENTIAL)
    for unit in (SCHEDULER, "dsar-scheduler@.service"):
        drop_in(made, unit, "impatient", IMPATIENT)
    drop_in(made, "dsar-sweep.timer", "often", OFTEN)
    secret = made / "etc/dsar/credentials/DSAR_DATABASE_URL"
    secret.write_text(f"sqlite:///{DATABASE}\n")
    secret.chmod(0o600)
    with (made / "etc/dsar/dsar.env").open("a") as settings:
        settings.write("DSAR_MIN_FREE_BYTES=0\n")
    shutil.copy(CHECKOUT_ROOT / "tests/deploy/stuck.py", made / "opt/stuck.py")
    return made


@pytest.fixture(scope="module")
def machine(root: Path) -> Iterator[Machine]:
    with booted(root, root.parent / "console") as made:
        assert json.loads(made.run("dsar", "migrate", "--demonstration"))["ok"]
        yield made


@pytest.fixture
def scheduler(machine: Machine) -> Iterator[Machine]:
    """The service, started; ``systemctl start`` returns when it has said that it is ready."""
    machine.run("systemctl", "start", SCHEDULER)
    yield machine
    machine.run("systemctl", "stop", SCHEDULER)


def add_person(machine: Machine, user_id: int, *, rows: int = 1, database: str = DATABASE) -> None:
    python = ["/opt/dsar/venv/bin/python", "-c", ADD_PERSON]
    machine.run("runuser", "-u", "dsar", "--", *python, database, str(user_id), str(rows))


def open_request(machine: Machine, user_id: int, dsar: str = "dsar") -> str:
    reference = f"R-{user_id}"
    machine.run(dsar, "request", "--user-id", str(user_id), "--reference", reference)
    return reference


def shown(machine: Machine, reference: str, dsar: str = "dsar") -> dict[str, Any]:
    found = json.loads(machine.run(dsar, "show", reference))["request"]
    assert isinstance(found, dict)
    return found


def wait_completed(machine: Machine, reference: str, dsar: str = "dsar") -> dict[str, Any]:
    def completed() -> dict[str, Any] | None:
        found = shown(machine, reference, dsar)
        return found if found["status"] == "completed" else None

    done = wait_for(completed, f"the export of {reference}")
    assert isinstance(done, dict)
    return done


def restarts(machine: Machine) -> int:
    return int(machine.shows(SCHEDULER, "NRestarts"))


def wait_restarted(machine: Machine, before: int) -> None:
    wait_for(lambda: restarts(machine) > before, "a restart", 60)
    machine.wait_shows(SCHEDULER, "SubState", "running")
    assert restarts(machine) == before + 1


def test_service_starts_is_ready_and_well(scheduler: Machine) -> None:
    assert scheduler.shows(SCHEDULER, "Type") == "notify"
    assert scheduler.shows(SCHEDULER, "ActiveState") == "active"
    assert scheduler.shows(SCHEDULER, "StatusText") in ("waiting for the next sweep", "sweeping")
    assert json.loads(scheduler.run("dsar-scheduler", "healthcheck"))["ok"]
    assert "scheduler_started" in scheduler.journal(SCHEDULER)


def test_service_secret_read_from_its_credential_and_in_no_environment(scheduler: Machine) -> None:
    pid = scheduler.shows(SCHEDULER, "MainPID")
    environment = scheduler.run("cat", f"/proc/{pid}/environ").split("\0")

    assert "CREDENTIALS_DIRECTORY=/run/credentials/dsar-scheduler.service" in environment
    assert not any("DATABASE_URL" in each for each in environment)
    scheduler.run("test", "-s", DATABASE)
    scheduler.run("test", "!", "-e", "/var/lib/dsar/instance")  # where the default would be


def test_service_exports_what_is_pending(machine: Machine) -> None:
    add_person(machine, 7)
    reference = open_request(machine, 7)
    machine.run("systemctl", "start", SCHEDULER)

    found = wait_completed(machine, reference)

    machine.run("systemctl", "stop", SCHEDULER)
    assert found["file_path"] == f"/var/lib/dsar/exports/levqor-dsar-{reference}.zip"
    assert machine.run("stat", "-c", "%U %a", found["file_path"]) == "dsar 600\n"


def test_service_feeds_its_watchdog(scheduler: Machine) -> None:
    def fed_at() -> int:
        return int(scheduler.shows(SCHEDULER, "WatchdogTimestampMonotonic"))

    assert scheduler.shows(SCHEDULER, "WatchdogUSec") == f"{WATCHDOG_SECONDS}s"
    first = fed_at()
    enough = 2 * WATCHDOG_SECONDS * 1_000_000
    wait_for(lambda: fed_at() > first + enough, "food for two watchdog periods", 60)
    assert restarts(scheduler) == 0


def test_service_frozen_is_killed_by_the_watchdog_and_restarted(scheduler: Machine) -> None:
    before = restarts(scheduler)
    scheduler.run("systemctl", "kill", "--signal=STOP", "--kill-whom=main", SCHEDULER)

    wait_restarted(scheduler, before)

    assert "Watchdog timeout" in scheduler.journal(SCHEDULER)
    assert "Failed with result 'watchdog'" in scheduler.journal(SCHEDULER)


def test_service_whose_sweep_is_stuck_is_killed_by_the_watchdog(
    machine: Machine, root: Path
) -> None:
    """The main thread and the scheduler's live on: only the sweep hangs, nobody feeds for it."""
    drop_in(root, SCHEDULER, "stuck", STUCK)
    machine.run("systemctl", "daemon-reload")
    machine.run("runuser", "-u", "dsar", "touch", "/var/lib/dsar/stuck")
    kills = machine.journal(SCHEDULER).count("Watchdog timeout")
    machine.run("systemctl", "start", SCHEDULER)

    wait_restarted(machine, 0)

    journal = machine.journal(SCHEDULER)
    assert "scheduler_stuck" in journal
    assert journal.count("Watchdog timeout") == kills + 1
    machine.run("systemctl", "stop", SCHEDULER)
    (root / f"etc/systemd/system/{SCHEDULER}.d/stuck.conf").unlink()
    machine.run("systemctl", "daemon-reload")


def test_service_crashed_is_restarted(scheduler: Machine) -> None:
    before = restarts(scheduler)
    scheduler.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", SCHEDULER)

    wait_restarted(scheduler, before)

    assert "Failed with result 'signal'" in scheduler.journal(SCHEDULER)


def test_service_stopped_in_mid_export_drains(machine: Machine, root: Path) -> None:
    add_person(machine, 8, rows=400_000)
    reference = open_request(machine, 8)
    machine.run("systemctl", "start", SCHEDULER)
    # By the version's staged file: a command of ours takes longer to start.
    staged = root / "var/lib/dsar/exports/.versions"
    wait_for(lambda: list(staged.glob("*.part")), "the export under way")

    machine.run("systemctl", "stop", SCHEDULER)

    found = shown(machine, reference)
    assert (found["status"], found["attempts"]) == ("completed", 1)
    assert machine.shows(SCHEDULER, "Result") == "success"
    assert machine.shows(SCHEDULER, "ExecMainStatus") == "0"
    journal = machine.journal(SCHEDULER)
    said = [journal.rindex(f'"{each}"') for each in ("scheduler_draining", "sweep_finished")]
    assert said == sorted(said), "the export was over before the stop"


def test_service_badly_configured_stays_down_and_says_why(machine: Machine, root: Path) -> None:
    drop_in(root, SCHEDULER, "bad", "[Service]\nEnvironment=DSAR_WORKERS=0\n")
    machine.run("systemctl", "daemon-reload")

    machine.run("systemctl", "start", SCHEDULER, code=1)

    machine.wait_shows(SCHEDULER, "ActiveState", "failed")
    assert machine.shows(SCHEDULER, "ExecMainStatus") == "78"
    assert restarts(machine) == 0
    assert "DSAR_WORKERS" in machine.journal(SCHEDULER)
    (root / f"etc/systemd/system/{SCHEDULER}.d/bad.conf").unlink()
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed", SCHEDULER)


def test_timer_fires_the_oneshot_again_and_again(machine: Machine) -> None:
    add_person(machine, 9)
    reference = open_request(machine, 9)
    machine.run("systemctl", "start", "dsar-sweep.timer")

    wait_completed(machine, reference)
    finished = "Finished dsar-sweep.service"
    wait_for(lambda: machine.journal("dsar-sweep.service").count(finished) > 1, "another")

    machine.run("systemctl", "stop", "dsar-sweep.timer")
    assert machine.shows("dsar-sweep.service", "Result") == "success"


def test_instances_of_the_template_share_nothing(machine: Machine, root: Path) -> None:
    for number, name in enumerate(("blue", "green"), start=20):
        (root / f"etc/dsar/{name}.env").write_text("DSAR_MIN_FREE_BYTES=0\n")
        (root / f"usr/local/bin/dsar@{name}").symlink_to("dsar")
        machine.run(f"dsar@{name}", "migrate", "--demonstration")
        database = f"/var/lib/dsar-{name}/instance/dsar.sqlite3"
        add_person(machine, number, database=database)
        open_request(machine, number, f"dsar@{name}")
    both = [f"dsar-scheduler@{name}.service" for name in ("blue", "green")]

    machine.run("systemctl", "start", *both)

    for number, name in ((20, "blue"), (21, "green")):
        reference, dsar = f"R-{number}", f"dsar@{name}"
        done = wait_completed(machine, reference, dsar)
        assert done["file_path"].startswith(f"/var/lib/dsar-{name}/exports/")
        machine.run("test", "-e", f"/run/dsar-{name}/heartbeat")
    machine.run("systemctl", "stop", both[0])
    machine.run("test", "!", "-e", "/run/dsar-blue")
    machine.run("test", "-e", "/run/dsar-green/heartbeat")
    assert machine.shows(both[1], "ActiveState") == "active"
    machine.run("systemctl", "stop", both[1])


def test_journal_never_holds_a_reference(machine: Machine) -> None:
    """Nor does systemd's own part of it: commands are in no description."""
    found = machine.run("journalctl", "--no-pager", "--output=cat")

    assert "scheduler_started" in found
    assert not re.search(r"\bR-\d+\b", found)
