"""Every command as its user types it; and what bad input gets: one line, the right exit code."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from backend.settings import CHECKOUT_ROOT
from tests.factories import Person
from tests.harness import Done, World, members


@pytest.fixture
def ada(world: World) -> World:
    world.people(Person(7, runs=3))
    world.request(7, "R-7")
    return world


def one_line(done: Done, code: int, *words: str) -> None:
    """The exit code, one error line that holds the words, and no traceback."""
    errors = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert done.returncode == code, (done.returncode, done.stderr)
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("error: "), errors
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in errors[0], (word, errors[0])


def test_request_opens_one_that_the_next_sweep_exports(ada: World) -> None:
    opened = ada.dsar("request", "--user-id", "7", "--received-at", "2026-01-31")
    assert opened.returncode == 0, opened.stderr
    assert opened.json["status"] == "pending"
    assert opened.json["due_at"].startswith("2026-02-28")
    reference = opened.json["reference_id"]
    assert ada.sweep().json["completed"] == 2
    assert members(ada.public(reference))["account.json"]["id"] == 7


def test_request_bad_input_opens_nothing(ada: World) -> None:
    taken = ada.dsar("request", "--user-id", "7", "--reference", "r-7")
    one_line(taken, 1, "r-7", "taken")
    one_line(ada.dsar("request", "--user-id", "7", "--reference", "../x"), 1, "../x", "letter")
    one_line(ada.dsar("request", "--user-id", "4711"), 1, "does not exist")
    when = ada.dsar("request", "--user-id", "7", "--received-at", "yesterday")
    assert (when.returncode, "--received-at" in when.stderr) == (2, True)
    assert len(ada.rows()) == 1


def test_preview_counts_without_a_file(ada: World) -> None:
    done = ada.dsar("preview", "--user-id", "7")
    assert done.json["sections"]["workflow_runs"] == 3
    assert done.json["sections"]["account"] == 1
    assert not ada.exports.exists()
    one_line(ada.dsar("preview", "--user-id", "4711"), 1, "does not exist")


def test_list_and_show_tell_what_waits_and_what_failed(ada: World) -> None:
    ada.request(7, "OLD", requested_at=datetime(2025, 1, 1, tzinfo=UTC))
    ada.request(7, "SOON", requested_at=datetime.now(UTC) - timedelta(days=26))
    ada.request(None, "NOBODY")
    ada.sweep("--limit", "1")

    listed = ada.dsar("list").json
    by_reference = {each["reference_id"]: each for each in listed["requests"]}
    assert "OLD" not in by_reference
    assert by_reference["SOON"]["urgency"] == "nearly due"
    assert listed["counts"] == {"completed": 1, "pending": 3}
    done = ada.dsar("list", "--status", "completed").json
    assert [each["reference_id"] for each in done["requests"]] == ["OLD"]
    shown = ada.dsar("show", "OLD").json
    assert shown["request"]["status"] == "completed"
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["completed"]
    one_line(ada.dsar("show", "NONE"), 1, "NONE", "dsar list")


def test_retry_and_cancel_are_the_ways_out(ada: World) -> None:
    ada.request(None, "NOBODY")
    assert ada.sweep().returncode == 1
    assert ada.row("NOBODY")["status"] == "failed"
    ada.update("NOBODY", user_id=7)
    assert ada.dsar("retry", "NOBODY").json["status"] == "pending"
    assert ada.sweep().json["completed"] == 1
    ada.request(7, "NEVER")
    assert ada.dsar("cancel", "NEVER").json["status"] == "cancelled"
    assert ada.sweep().json["claimed"] == 0
    one_line(ada.dsar("retry", "NEVER"), 1, "NEVER", "cancelled")
    one_line(ada.dsar("cancel", "R-7"), 1, "R-7", "completed")
    one_line(ada.dsar("export", "NEVER"), 1, "NEVER", "cancelled")


def test_export_of_a_request_that_another_worker_has_is_busy(ada: World) -> None:
    with ada.services() as services:
        services.claims.claim_reference("R-7", worker="other:1")
    done = ada.dsar("export", "R-7")
    one_line(done, 75, "R-7")
    assert done.json == {
        "ok": False,
        "error": done.json["error"],
        "error_code": "being_exported",
        "reference_id": "R-7",
        "outcome": None,
    }
    one_line(ada.dsar("retry", "R-7"), 75, "R-7")


def damage_missing(path: Path) -> None:
    path.unlink()


def damage_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def damage_altered(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def damage_swapped(path: Path) -> None:
    other = next(p for p in path.parent.iterdir() if p != path)
    shutil.copyfile(other, path)


@pytest.mark.parametrize("damage", [damage_missing, damage_cut, damage_altered, damage_swapped])
def test_verify_finds_damage_and_export_mends_it(ada: World, damage: Any) -> None:
    ada.people(Person(8, runs=9))
    ada.request(8, "R-8")
    ada.sweep()
    good = ada.dsar("verify")
    assert (good.returncode, good.json["counts"]) == (0, {"good": 2})
    row = ada.row("R-7")
    damage(ada.exports / ".versions" / f"{row['id']}.{row['export_claim_token']}.zip")

    found = ada.dsar("verify")
    one_line(found, 1, "dsar export")
    assert [f["reference_id"] for f in found.json["findings"]] == ["R-7"]
    assert ada.dsar("verify", "R-8").returncode == 0

    assert ada.dsar("export", "R-7").returncode == 0
    assert ada.dsar("verify").returncode == 0
    ada.check_invariants()


def test_verify_mends_the_public_link(ada: World) -> None:
    ada.sweep()
    ada.public("R-7").unlink()
    ada.public("R-7").write_text("not ours")

    done = ada.dsar("verify", "R-7")

    assert done.json["links_repaired"] == 1
    ada.check_invariants()


def test_prune_deletes_leftovers_and_what_nobody_knows(ada: World) -> None:
    ada.sweep()
    versions = ada.exports / ".versions"
    for name in ("1.99.zip", "1.99.part", "777.1.zip", ".link-1.5"):
        (versions / name).write_text("left over")
    ada.public("NOBODYS").write_text("orphan")

    done = ada.dsar("prune")

    assert done.returncode == 0, done.stderr
    assert (done.json["leftovers"], done.json["links"], done.json["pruned"]) == (4, 1, 0)
    ada.check_invariants()
    ada.update("R-7", exported_at=datetime.now(UTC) - timedelta(days=31))
    assert ada.dsar("prune").json["pruned"] == 1
    assert ada.versions() == [] and not ada.public("R-7").exists()
    assert ada.dsar("verify").json["counts"] == {"pruned": 1}
    assert ada.dsar("export", "R-7").returncode == 0
    ada.check_invariants()


def test_prune_with_retention_nought_keeps_files(ada: World) -> None:
    ada.sweep()
    ada.update("R-7", exported_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert ada.dsar("prune", retention_days=0).json["pruned"] == 0
    assert ada.public("R-7").exists()


def test_adopted_export_is_kept_until_a_new_one_is_recorded(ada: World) -> None:
    """An earlier program's file has no version; a failed re-export must not cost it."""
    ada.exports.mkdir()
    ada.public("R-7").write_text("the old export")
    ada.update("R-7", status="completed", export_state="unverified", exported_at=datetime.now(UTC))
    with ada.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE audit_logs RENAME TO audit_logs_gone")
    assert ada.dsar("export", "R-7").returncode == 1
    assert ada.dsar("prune").returncode == 0
    assert ada.public("R-7").read_text() == "the old export"
    assert ada.dsar("verify").json["counts"] == {"unverified": 1}
    with ada.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE audit_logs_gone RENAME TO audit_logs")
    assert ada.dsar("export", "R-7").returncode == 0
    ada.check_invariants()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_prune_takes_an_adopted_export_from_the_public_name_only(
    ada: World, elsewhere: bool
) -> None:
    ada.exports.mkdir()
    ada.public("R-7").write_text("the old export")
    path = "/srv/old/export.zip" if elsewhere else str(ada.public("R-7"))
    old = datetime(2025, 1, 1, tzinfo=UTC)
    ada.update(
        "R-7",
        status="completed",
        export_state="unverified",
        exported_at=old,
        export_storage_path=path,
    )
    assert ada.dsar("prune").json["pruned"] == (0 if elsewhere else 1)
    assert ada.public("R-7").exists() is elsewhere


# -- bad input ---------------------------------------------------------------------------------


def test_unmigrated_database_names_the_remedy(database_url: str, tmp_path: Path) -> None:
    world = World(database_url, tmp_path)
    for arguments in (
        ("backend.cli.dsar_commands", "export", "R"),
        ("backend.cli.dsar_commands", "list"),
        ("scheduler", "sweep", "--once"),
        ("scheduler", "run"),
    ):
        one_line(world.run(*arguments), 78, "dsar migrate")
    assert list(tmp_path.glob("*.sqlite3")) == []


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("lease_seconds", "soon", "DSAR_LEASE_SECONDS"),
        ("sweep_cron", "0 0 30 2 *", "DSAR_SWEEP_CRON"),
        ("database_url", "sqlite://", "DSAR_DATABASE_URL"),
        ("database_url", "nonsense", "DSAR_DATABASE_URL"),
        ("export_root", "ftp://host/x", "DSAR_EXPORT_ROOT"),
        ("log_level", "LOUD", "DSAR_LOG_LEVEL"),
    ],
)
def test_wrong_setting_names_the_key(sqlite_world: World, key: str, value: str, word: str) -> None:
    settings: dict[str, Any] = {key: value}
    for arguments in (
        ("backend.cli.dsar_commands", "list"),
        ("scheduler", "sweep", "--once"),
        ("scheduler", "run"),
    ):
        one_line(sqlite_world.run(*arguments, **settings), 78, word)


def test_refused_password_is_one_line_without_it(server_world: World) -> None:
    world = server_world
    if world.engine.dialect.name == "postgresql":
        url = _locked_role(world)
    else:
        url = make_url(world.database_url).set(username="nobody", password="pa55word")
    text = url.render_as_string(hide_password=False)
    for arguments in (
        ("backend.cli.dsar_commands", "export", "R"),
        ("scheduler", "sweep", "--once"),
        ("scheduler", "run"),
    ):
        done = world.run(*arguments, database_url=text)
        one_line(done, 69, "DSAR_DATABASE_URL", "refused the user or the password")
        assert "pa55word" not in done.stderr + done.stdout


def _locked_role(world: World) -> Any:
    """A role that the server asks for a password, which the tests' own server asks of nobody."""
    with world.begin() as connection:
        connection.exec_driver_sql("DROP ROLE IF EXISTS locked")
        connection.exec_driver_sql("CREATE ROLE locked LOGIN PASSWORD 'another'")
        hba = Path(str(connection.exec_driver_sql("SHOW hba_file").scalar()))
        rule = "local all locked scram-sha-256\nhost all locked 0.0.0.0/0 scram-sha-256\n"
        if not hba.exists():
            pytest.skip("the server's pg_hba.conf is on another machine")
        if rule not in hba.read_text():
            hba.write_text(rule + hba.read_text())
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    return make_url(world.database_url).set(username="locked", password="pa55word")


def test_unreachable_database_is_one_line(tmp_path: Path) -> None:
    for url in (
        "postgresql://u:pa55word@127.0.0.1:1/x",
        "mariadb://u:pa55word@127.0.0.1:1/x",
    ):
        world = World(url, tmp_path)
        for arguments in (("backend.cli.dsar_commands", "list"), ("scheduler", "sweep", "--once")):
            done = world.run(*arguments)
            one_line(done, 69, "127.0.0.1:1", "cannot be reached")
            assert "pa55word" not in done.stderr + done.stdout


def test_export_root_that_cannot_be_written_is_one_line(ada: World) -> None:
    blocked = ada.root / "blocked"
    blocked.write_text("a file where a folder should be")
    root = str(blocked / "exports")
    done = ada.dsar("export", "R-7", export_root=root)
    one_line(done, 69, "DSAR_EXPORT_ROOT")
    assert done.json["error_code"] == "store_unavailable"
    one_line(ada.sweep(export_root=root), 69, "ended early", "DSAR_EXPORT_ROOT")
    one_line(ada.run("scheduler", "run", export_root=root), 69, "DSAR_EXPORT_ROOT")
    row = ada.row("R-7")
    assert (row["status"], row["attempts"]) == ("pending", 0)


def test_export_root_without_permission_is_one_line(ada: World) -> None:
    # A folder that not even root may write to.
    done = ada.dsar("export", "R-7", export_root="/sys/dsar-exports")
    one_line(done, 69, "DSAR_EXPORT_ROOT", "not writable")


def test_usage_errors_exit_with_two(sqlite_world: World) -> None:
    bare = sqlite_world.run("scheduler", "sweep")
    assert (bare.returncode, "--once" in bare.stderr) == (2, True)
    assert sqlite_world.run("scheduler", "sweep", "--once", "--limit", "0").returncode == 2
    assert sqlite_world.dsar("export").returncode == 2
    assert sqlite_world.dsar("nothing").returncode == 2


def test_misspelt_setting_is_told(sqlite_world: World) -> None:
    done = sqlite_world.sweep(lease_second=5)
    assert [line["setting"] for line in done.logs] == ["DSAR_LEASE_SECOND"]


def test_misspelt_setting_is_told_by_every_command_without_its_value(
    sqlite_world: World,
) -> None:
    wrong = {"databse_url": "postgresql://u:pa55word@db/x", "lease_second": 5}
    line = "warning: no setting reads DSAR_DATABSE_URL, DSAR_LEASE_SECOND; most likely misspelt"
    for command in ("migrate", "list", "version", "prune"):
        done = sqlite_world.dsar(command, **wrong)
        assert (done.returncode, done.stderr.splitlines()) == (0, [line]), (command, done.stderr)
        assert done.json and "pa55word" not in done.stdout


def test_migrate_names_the_database_without_its_password(postgresql_world: World) -> None:
    url = make_url(postgresql_world.database_url).set(password="pa55word")  # nobody is asked for it
    text = url.render_as_string(hide_password=False)

    done = postgresql_world.dsar("migrate", database_url=text)

    assert done.json["database"] == text.replace("pa55word", "***")


def test_on_a_terminal_migrate_names_the_database(sqlite_world: World) -> None:
    shown = on_terminal(sqlite_world, "backend.cli.dsar_commands", "migrate")
    assert "│ database" in shown and "sqlite" in shown


@pytest.mark.parametrize(
    "command",
    [
        ["backend.cli.dsar_commands"],
        ["backend.cli.dsar_commands", "export"],
        ["scheduler", "sweep"],
    ],
    ids=" ".join,
)
def test_help_needs_no_database(tmp_path: Path, command: list[str]) -> None:
    """That every command has examples, and that they parse: see test_documented_commands."""
    world = World(f"sqlite:///{tmp_path / 'none.sqlite3'}", tmp_path)
    done = world.run(*command, "--help")
    assert (done.returncode, done.stdout.startswith("Usage: ")) == (0, True), done.stderr


def test_on_a_terminal_a_sweep_shows_a_table_and_no_reference(sqlite_world: World) -> None:
    sqlite_world.people(Person(7, runs=3))
    sqlite_world.request(7, "SECRETREF")
    shown = on_terminal(sqlite_world, "scheduler", "sweep", "--once")
    assert "completed" in shown and "request 1: completed" in shown
    assert "SECRETREF" not in shown
    assert "SECRETREF" in on_terminal(
        sqlite_world, "backend.cli.dsar_commands", "show", "SECRETREF"
    )
    listed = on_terminal(sqlite_world, "backend.cli.dsar_commands", "list")
    assert "completed: 1" in listed
    exported = on_terminal(sqlite_world, "backend.cli.dsar_commands", "export", "SECRETREF")
    assert '"ok": true' in exported
    verified = on_terminal(sqlite_world, "backend.cli.dsar_commands", "verify")
    assert "good: 1" in verified
    commands = (["prune"], ["migrate"], ["preview", "--user-id", "7"], ["doctor"])
    tables = [on_terminal(sqlite_world, "backend.cli.dsar_commands", *each) for each in commands]
    assert all("│" in each for each in tables)
    # Where nobody knows how much there is in all, nothing is said of it.
    assert not any("/?" in each for each in (shown, exported, verified, *tables))


def test_on_a_terminal_colours_unless_they_are_not_wanted(sqlite_world: World) -> None:
    green = "\x1b[32mok"
    doctor = ("backend.cli.dsar_commands", "doctor")
    assert green in on_terminal(sqlite_world, *doctor)
    assert green not in on_terminal(sqlite_world, *doctor, NO_COLOR="1")
    sqlite_world.people(Person(7, runs=3))
    sqlite_world.request(7, "R-7")
    exported = on_terminal(sqlite_world, "scheduler", "sweep", "--once", NO_COLOR="1")
    assert "export_completed" in exported
    assert not re.search(r"\x1b\[(\d+;)*3\d", exported)


def test_on_a_terminal_an_export_shows_how_far_it_is(sqlite_world: World) -> None:
    sqlite_world.people(Person(7, runs=1500))
    sqlite_world.request(7, "R-7")

    shown = on_terminal(sqlite_world, "backend.cli.dsar_commands", "export", "R-7")

    assert "exporting" in shown or "rows" in shown
    # The line that moved is wiped, and leaves its control codes before the object.
    (found,) = re.findall(r"^.*(\{\r?\n  \"ok\".*^\})", shown, re.DOTALL | re.MULTILINE)
    assert json.loads(found)["ok"]


def test_store_that_cannot_be_opened_keeps_nobody_from_the_records(sqlite_world: World) -> None:
    sqlite_world.request(7, "R-7")
    broken = {"export_root": "az://container/prefix"}  # without the account's name

    assert sqlite_world.dsar("list", **broken).json["counts"] == {"pending": 1}
    assert sqlite_world.dsar("hold", "R-7", "--reason", "who?", **broken).returncode == 0

    refused = sqlite_world.dsar("export", "R-7", **broken)
    assert (refused.returncode, "AZURE_STORAGE_ACCOUNT_NAME" in refused.stderr) == (78, True)


def test_misspelt_command_is_answered_with_the_right_one(sqlite_world: World) -> None:
    done = sqlite_world.dsar("doctro")
    assert (done.returncode, "Did you mean 'doctor'?" in done.stderr) == (2, True)
    option = sqlite_world.dsar("list", "--limt", "3")
    assert (option.returncode, "--limit" in option.stderr) == (2, True)


@pytest.mark.parametrize(
    ("program", "begun", "whole"),
    [("dsar", "move", "move-database"), ("dsar-scheduler", "sweep --on", "--once")],
)
def test_completion_in_a_real_bash(program: str, begun: str, whole: str) -> None:
    """The script that is printed, sourced by the shell, asked as the Tab key asks."""
    folder = Path(sys.executable).parent
    words = f"{program} {begun}".split()
    ask = (
        f"source <({program} completion bash) && COMP_WORDS=({shlex.join(words)}) && "
        f"COMP_CWORD={len(words) - 1} && _{program.replace('-', '_')}_completion {program} && "
        "echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", ask],
        env={"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, [whole]), done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_needs_no_settings(sqlite_world: World, shell: str) -> None:
    done = sqlite_world.dsar("completion", shell, lease_seconds="soon")
    assert (done.returncode, "_DSAR_COMPLETE" in done.stdout) == (0, True)


def on_terminal(world: World, *arguments: str, **environment: str) -> str:
    """Run a command on a pseudo-terminal and return what it shows."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=CHECKOUT_ROOT,
        env=os.environ | world.variables() | {"TERM": "xterm", "COLUMNS": "200"} | environment,
        stdin=child,
        stdout=child,
        stderr=child,
    )
    os.close(child)
    shown = b""
    while True:
        try:
            block = os.read(parent, 65536)
        except OSError:  # how Linux says that the other side is closed
            break
        if not block:
            break
        shown += block
    os.close(parent)
    assert process.wait(60) == 0, shown
    return shown.decode()
