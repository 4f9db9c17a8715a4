"""What is deployed, held to the code: settings, commands, error codes, times of the units."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner
from sqlalchemy.exc import DataError, SQLAlchemyError

from backend import errors
from backend.settings import PREFIX, Settings, load_settings
from tests.documents import calls, problem

ROOT: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = ROOT / "deploy"
RUNBOOK: Final = (DEPLOY / "RUNBOOK.md").read_text()
EXAMPLE: Final = (DEPLOY / "dsar.env.example").read_text()
CONTAINERFILE: Final = (DEPLOY / "container" / "Containerfile").read_text()
SERVICES: Final = ("dsar-scheduler.service", "dsar-sweep.service")
STATE: Final = Path("/var/lib/dsar")
SECRETS_DIR: Final = "DSAR_SECRETS_DIR"
NAMES: Final = {PREFIX + name.upper() for name in Settings.model_fields} | {SECRETS_DIR}

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def unit(name: str) -> dict[str, list[str]]:
    """A unit's assignments, whatever their section; a key may stand several times."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def example() -> dict[str, str]:
    """The example's commented-out assignments."""
    return dict(re.findall(r"^#(DSAR_[A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The defaults of an installed wheel under the scheduler's unit."""
    for key in [key for key in os.environ if key.startswith(PREFIX)]:
        monkeypatch.delenv(key)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("backend.settings.in_checkout", lambda: False)
    monkeypatch.setattr("backend.settings._base_folder", lambda: STATE)
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/dsar")
    return monkeypatch


# -- the example of the settings ---------------------------------------------------------------


def test_env_example_every_setting_listed_once() -> None:
    names = re.findall(r"^#?(DSAR_[A-Z_]+)=", EXAMPLE, re.MULTILINE)

    assert sorted(names) == sorted(NAMES)


def test_env_example_as_shipped_sets_nothing() -> None:
    assert all(line.startswith("#") for line in EXAMPLE.splitlines() if line)


def test_env_example_every_setting_explained_in_one_line() -> None:
    lines = EXAMPLE.splitlines()

    for number, line in enumerate(lines):
        if line.startswith("#DSAR_"):
            assert re.match(r"# [A-Za-z].*\.( |$)", lines[number - 1]), line
            assert not lines[number - 2], f"more than one line explains {line}"


def test_env_example_uncommented_is_the_defaults(installed: pytest.MonkeyPatch) -> None:
    for assignment in unit("dsar-scheduler.service")["Environment"]:
        installed.setenv(*assignment.split("=", 1))
    defaults = load_settings()
    for key, value in example().items():
        installed.setenv(key, value)

    assert load_settings() == defaults


def test_export_root_everywhere_the_same_folder() -> None:
    root = example()["DSAR_EXPORT_ROOT"]

    assert Path(root).parent == STATE
    for name in SERVICES:
        assert unit(name)["Environment"] == [f"DSAR_EXPORT_ROOT={root}"]
        assert unit(name)["StateDirectory"] == [STATE.name]
    command = (DEPLOY / "systemd" / "dsar.sh").read_text().replace("$own", "")
    assert f'--setenv=DSAR_EXPORT_ROOT="{root}" ' in command
    assert f"DSAR_EXPORT_ROOT={root}\n" in CONTAINERFILE


# -- the units ---------------------------------------------------------------------------------


def seconds(value: str) -> float:
    return float(value.removesuffix("s"))


@pytest.mark.parametrize("name", SERVICES)
def test_service_stop_timeout_longer_than_drain_and_margins(name: str) -> None:
    from scheduler import shutdown, workers

    longest = (
        Settings.model_fields["drain_seconds"].default
        + shutdown.FORCE_SECONDS
        + workers._KILL_SECONDS
    )

    assert seconds(unit(name)["TimeoutStopSec"][0]) > longest
    assert int(re.findall(r"--stop-timeout (\d+)", CONTAINERFILE)[0]) > longest


def test_scheduler_unit_watchdog_set_and_slower_than_its_feeding() -> None:
    from scheduler import service

    scheduler = unit("dsar-scheduler.service")

    assert scheduler["Type"] == ["notify"]
    assert scheduler["NotifyAccess"] == ["main"]
    assert seconds(scheduler["WatchdogSec"][0]) > 3 * service._LOOK_SECONDS


def test_scheduler_unit_bad_configuration_not_restarted() -> None:
    scheduler = unit("dsar-scheduler.service")

    assert scheduler["Restart"] == ["on-failure"]
    prevented = {int(code) for code in scheduler["RestartPreventExitStatus"][0].split()}
    assert prevented == {errors.EXIT_USAGE, errors.EXIT_CONFIG}


def test_runtime_folder_one_unit_only() -> None:
    # Two units with the same one: whichever ends first deletes the other's heartbeat.
    assert unit("dsar-scheduler.service")["RuntimeDirectory"] == ["dsar"]
    assert "RuntimeDirectory" not in unit("dsar-sweep.service")


@pytest.mark.parametrize("name", SERVICES)
def test_service_command_exists(name: str) -> None:
    program, *arguments = unit(name)["ExecStart"][0].split()

    assert Path(program).parent == Path("/opt/dsar/venv/bin")
    assert problem([Path(program).name, *arguments]) is None


@pytest.mark.parametrize("name", [*SERVICES, "dsar-sweep.timer"])
def test_unit_never_migrates(name: str) -> None:
    keys = unit(name)

    assert not any("migrate" in value for values in keys.values() for value in values)
    assert "ExecStartPre" not in keys


def test_template_unit_is_the_scheduler_with_folders_of_its_own() -> None:
    template = unit("dsar-scheduler@.service")
    scheduler = unit("dsar-scheduler.service")

    assert template.pop("EnvironmentFile") == ["/etc/dsar/%i.env"]
    assert scheduler.pop("EnvironmentFile") == ["-/etc/dsar/dsar.env"]
    assert template.pop("Description") == [f"{scheduler.pop('Description')[0]} (%i)"]
    alike = {key: [each.replace("-%i", "") for each in values] for key, values in template.items()}
    assert alike == scheduler


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--help"], "usage: "),
        (["one.whl", "two.whl"], "usage: "),
        (["no-such.whl"], "run it as root" if os.geteuid() else "there is no wheel at no-such.whl"),
    ],
)
def test_install_refuses_and_says_why(arguments: list[str], complaint: str) -> None:
    command = ["/bin/sh", str(DEPLOY / "install.sh"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith(f"install.sh: {complaint}")
    assert done.stdout == ""


def check(script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(script)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@needs_systemd
def test_check_as_shipped_passes() -> None:
    done = check(DEPLOY / "check.sh")

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("deploy: all checks passed\n")


@needs_systemd
@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("systemd/dsar-scheduler.service", "WatchdogSec=", "WatchdogSecs=", "WatchdogSecs"),
        ("systemd/dsar-scheduler.service", "ProtectHome=yes\n", "", "differs"),
        ("systemd/dsar-sweep.service", "/opt/dsar/venv/bin/", "/opt/", "not a program in"),
        ("systemd/dsar-sweep.timer", "OnCalendar=*:0/5", "OnCalendar=*:0/x", "calendar"),
        ("systemd/dsar.sh", "esac", "", "a syntax error"),
        ("container/Containerfile", "docker.io/library/", "registry.example/", "official image"),
        ("container/Containerfile", "USER 10001", "USER root", "no line matches"),
    ],
)
def test_check_spoilt_file_fails_and_names_it(
    tmp_path: Path, file: str, old: str, new: str, complaint: str
) -> None:
    copy = tmp_path / "deploy"
    shutil.copytree(DEPLOY, copy)
    text = (copy / file).read_text()
    assert old in text
    (copy / file).write_text(text.replace(old, new))

    done = check(copy / "check.sh")

    assert done.returncode == 1
    assert complaint in done.stderr
    assert Path(file).name in done.stderr


@needs_systemd
def test_check_unprotected_service_fails_on_its_exposure(tmp_path: Path) -> None:
    copy = tmp_path / "deploy"
    shutil.copytree(DEPLOY, copy)
    for name in SERVICES:
        path = copy / "systemd" / name
        kept = re.sub(
            r"^(Protect|Private|System|Restrict|Capab).*\n", "", path.read_text(), flags=re.M
        )
        path.write_text(kept)

    done = check(copy / "check.sh")

    assert done.returncode == 1
    assert "exposure is above the threshold" in done.stderr


def test_check_without_systemd_says_what_is_missing(tmp_path: Path) -> None:
    done = check(DEPLOY / "check.sh", PATH=str(tmp_path))

    assert done.returncode == 1
    assert done.stderr.startswith("check.sh: systemd-analyze is not on the PATH")


# -- the image ---------------------------------------------------------------------------------


def test_ignore_lists_of_both_builders_agree() -> None:
    ours = (ROOT / ".containerignore").read_text()

    assert (DEPLOY / "container" / "Containerfile.dockerignore").read_text() == ours


def test_containerfile_everything_copied_is_in_the_context() -> None:
    ignored = (ROOT / ".containerignore").read_text().splitlines()
    copied: set[str] = set()
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", CONTAINERFILE, re.MULTILINE):
        copied.update(line.split())

    assert "*" in ignored
    assert copied == {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert "backend/exports" in ignored


def test_version_everywhere_the_projects() -> None:
    from backend.cli.dsar_commands import dsar
    from scheduler.cli import cli

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert f"\nARG VERSION={version}\n" in CONTAINERFILE
    for program in (dsar, cli):
        shown = CliRunner().invoke(program, ["--version"])
        assert shown.stdout == f"levqor-dsar {version}\n"
        named = CliRunner().invoke(program, ["version"])
        assert json.loads(named.stdout) == {"version": version}


# -- the runbook -------------------------------------------------------------------------------


def test_runbook_every_operator_command_is_shown() -> None:
    from backend.cli.dsar_commands import dsar
    from scheduler.cli import cli

    shown = {(call[0], call[1]) for call in calls(RUNBOOK)}
    commands = {("dsar", name) for name in dsar.commands}
    commands |= {("dsar-scheduler", name) for name in cli.commands}

    assert commands - shown <= {("dsar-scheduler", "run")}  # the unit's


def tree(root: type[errors.DSARError]) -> Iterator[type[errors.DSARError]]:
    yield root
    for each in root.__subclasses__():
        if each.__module__ == errors.__name__:
            yield from tree(each)


def codes() -> set[str]:
    """Every code: of the error tree, of other programs' errors, and of workers that are gone."""
    from backend.failures import failure_of
    from backend.services.claims import WORKER_LOST
    from scheduler.job_process import WORKER_FAILED

    foreign = (
        OSError(errno.ENOSPC, ""),
        OSError(errno.EROFS, ""),
        OSError(errno.EIO, ""),
        MemoryError(),
        ValueError(),
        SQLAlchemyError(),
        DataError("", None, Exception()),
    )
    found = {each.code for each in tree(errors.DSARError)}
    found |= {failure_of(error).code for error in foreign}
    return found | {WORKER_LOST, WORKER_FAILED, "statement_timeout", "legacy_error"}


def documented_codes() -> list[str]:
    chapter = RUNBOOK.split("\n## Error codes\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[a-z_`, ]+`) \|", chapter, re.MULTILINE)
    return [code for cell in cells for code in re.findall(r"`([a-z_]+)`", cell)]


def test_runbook_error_codes_each_has_one_entry() -> None:
    assert sorted(documented_codes()) == sorted(codes())


def test_runbook_exit_codes_each_has_a_row() -> None:
    from scheduler.shutdown import EXIT_FORCED
    from scheduler.workers import EXIT_HUNG

    chapter = RUNBOOK.split("\n## Exit codes\n")[1].split("\n## ")[0]
    used = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}

    rows = {int(code) for code in re.findall(r"^\| (\d+) \|", chapter, re.MULTILINE)}
    assert rows == used | {EXIT_HUNG, EXIT_FORCED}


def test_runbook_settings_named_exist() -> None:
    named = set(re.findall(r"DSAR_[A-Z_]+", RUNBOOK))

    assert named <= NAMES


def test_runbook_links_within_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}

    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= anchors


def test_runbook_files_of_the_checkout_exist() -> None:
    for path in re.findall(r"deploy/[A-Za-z0-9_./*-]+", RUNBOOK):
        assert list(ROOT.glob(path)), path
