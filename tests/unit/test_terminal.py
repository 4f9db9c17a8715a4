"""What a terminal is shown of other programs' text: no escape, no control, nothing hidden."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import unicodedata
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from backend.cli.console import ErrorLine, print_json, print_table
from backend.errors import UsageError
from backend.terminal import visible, visible_json
from tests.factories import Person
from tests.harness import World

NASTY = (
    "\x1b]0;OWNED\x07\x1b[2J",  # sets the title, clears the screen
    "\x9b31m",  # the same in one character (C1)
    "\u202eevil\u202c",  # reordered
    "\u2066a\u2069\u200f",
    "a\u200bb\u2060c\ufeffd",  # of no width
    "a\u2028b\u2029c",
    "a\rb\x08c\x7fd",
    "\U000e0041",
)
# What rich writes by itself, colours and borders, is taken out before the rest is looked at.
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def hidden(text: str) -> list[str]:
    return [
        char
        for char in text
        if char != "\n" and unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp", "Cs"}
    ]


@given(st.text(st.characters()))
def test_visible_text_hides_nothing_and_keeps_what_is_seen(text: str) -> None:
    shown = visible(text)
    assert hidden(shown) == [] and "\n" not in shown
    seen = "".join(c for c in text if c.isprintable() and c not in "\u034f\u115f\u1160\u3164")
    assert visible(seen) == "".join(visible(c) for c in seen)


@pytest.mark.parametrize("text", ["Jürgen Öztürk", "王小明", "محمد", "नमस्ते", "e\u0301", "–✓😀"])
def test_visible_text_keeps_every_script(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    "char", [*"\u034f\u115f\u1160\u17b4\u2800\u3164\uffa0", "\ue000", "\uffff"]
)
def test_visible_text_shows_what_has_no_shape_as_an_escape(char: str) -> None:
    escape = f"\\u{ord(char):04x}"
    assert visible(f"R-{char}1") == f"R-{escape}1"
    assert visible_json(f'"R-{char}1"') == f'"R-{escape}1"'


@given(st.dictionaries(st.text(st.characters()), st.text(st.characters())))
def test_visible_json_means_what_it_meant(value: dict[str, str]) -> None:
    shown = visible_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert hidden(shown) == []
    assert json.loads(shown) == value


@pytest.mark.parametrize("text", NASTY)
def test_console_prints_nothing_hidden_anywhere(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    print_table(f"t {text}", ("a", "b"), [(text, [text]), ({"k": text}, 1)], note=text)
    print_json({"reason": text, text: [text]})

    @click.group(cls=ErrorLine)
    def group() -> None:
        """A group."""

    @group.command()
    @click.option("--n", type=click.Choice(["1"]))
    def fails(n: str) -> None:
        raise UsageError(f"there is no {text}")

    results = [
        CliRunner().invoke(group, arguments)
        for arguments in (["fails"], ["fails", "--n", text], ["fails", text], [text])
    ]
    said = capsys.readouterr().out + "".join(each.output for each in results)
    assert all(each.exit_code == 2 for each in results)
    assert hidden(said) == []
    assert "OWNED" in said or "OWNED" not in text


def on_a_terminal(world: World, *arguments: str) -> str:
    """What ``dsar`` shows on a terminal, stdout and stderr."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DSAR_")}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "backend.cli", *arguments],
        cwd=Path(__file__).parents[2],
        env=kept | world.variables() | {"TERM": "xterm", "COLUMNS": "300"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            chunk = os.read(ours, 1 << 16)
        except OSError:  # its last reader of the other side is gone
            break
        if not chunk:
            break
        shown += chunk
    os.close(ours)
    process.wait(60)
    return shown.decode()


def test_commands_on_a_terminal_show_no_escape_of_a_reference_or_a_reason(
    sqlite_world: World,
) -> None:
    sqlite_world.people(Person(7))
    text = "".join(NASTY)
    sqlite_world.request(7, f"X{text}"[:90])
    sqlite_world.request(7, "GOOD")
    reason = f"asked{text}"
    assert sqlite_world.dsar("hold", "GOOD", "--reason", reason).returncode == 0
    listed = sqlite_world.dsar("list")
    assert hidden(listed.stdout) == []
    assert {each["reference_id"] for each in listed.json["requests"]} == {f"X{text}"[:90], "GOOD"}

    for arguments in (
        ("list",),
        ("show", "GOOD"),
        ("show", "GOOD", "--json"),
        ("show", f"X{text}"),
        ("export", "GOOD"),
    ):
        shown = COLOUR.sub("", on_a_terminal(sqlite_world, *arguments)).replace("\r\n", "\n")
        # The line that moves while something runs is drawn by escapes of its own.
        moving = re.sub(r"\x1b\[(\?25[lh]|2K|1A)|\r", "", shown)
        assert hidden(moving) == [], (arguments, shown)
        if arguments[0] in ("list", "show"):
            assert "OWNED" in shown, arguments
