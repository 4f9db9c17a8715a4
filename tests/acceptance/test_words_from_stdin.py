"""A person's id, a reason and a password need not stand in process lists and shell histories."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.factories import Person
from tests.harness import World


def run(world: World, stdin: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DSAR_")}
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", *arguments],
        cwd=Path(__file__).parents[2],
        env=kept | world.variables(),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_dash_reads_an_id_or_a_reason_from_stdin(sqlite_world: World) -> None:
    sqlite_world.people(Person(7))
    opened = run(sqlite_world, "7\n", "request", "--user-id", "-", "--reference", "R-1")
    assert opened.returncode == 0, opened.stderr
    assert sqlite_world.row("R-1")["user_id"] == 7
    assert json.loads(run(sqlite_world, "7", "preview", "--user-id", "-").stdout)["rows"] > 0

    held = run(sqlite_world, "asked Ida for proof\nmore", "hold", "R-1", "--reason", "-")
    assert held.returncode == 0, held.stderr
    assert sqlite_world.row("R-1")["hold_reason"].endswith(": asked Ida for proof")
    extended = run(sqlite_world, "Zürich\n", "extend", "R-1", "--reason", "-")
    assert extended.returncode == 0, extended.stderr
    assert sqlite_world.row("R-1")["extension_reason"].endswith("Zürich")


def test_dash_without_a_line_on_stdin_is_a_usage_error(sqlite_world: World) -> None:
    for arguments in (
        ("request", "--user-id", "-"),
        ("hold", "R-1", "--reason", "-"),
        ("prove", "--scratch-url", "-"),
    ):
        done = run(sqlite_world, "", *arguments)
        assert done.returncode == 2
        assert "stdin holds no line" in done.stderr
