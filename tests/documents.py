"""What documents say to type, held to the real commands: reading calls, and parsing them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final

import click

from backend.cli.dsar_commands import dsar
from scheduler.cli import cli

PROGRAMS: Final[dict[str, click.Group]] = {"dsar": dsar, "dsar-scheduler": cli}
# How else a program may be called.
_ALIASES: Final = (
    (["python", "-m", "backend.cli.dsar_commands"], ["dsar"]),
    (["flask", "--app", "backend.app", "dsar"], ["dsar"]),
    (["python", "-m", "scheduler"], ["dsar-scheduler"]),
)


def lines(text: str) -> Iterator[str]:
    """What stands in code blocks, one command a line, and in spans of code."""
    for block in re.findall(r"^ *```(?:sh|console)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        yield from (line.strip().removeprefix("$ ") for line in block.splitlines())
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from (span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose))


def call_of(line: str) -> list[str] | None:
    """A line as a call of one of the programs, or None. Pipes and redirections are the shell's."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return None
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    for alias, program in _ALIASES:
        if words[: len(alias)] == alias:
            words = program + words[len(alias) :]
    for number, word in enumerate(words):
        if word in ("|", ">", "&&", "<", "…"):
            words = words[:number]
            break
    return words if len(words) > 1 and words[0] in PROGRAMS else None


def calls(text: str) -> list[list[str]]:
    return [call for line in lines(text) if (call := call_of(line)) is not None]


def problem(call: list[str]) -> str | None:
    """Parse a call as click would, without running it; say what is wrong, if anything."""
    command: click.Command = PROGRAMS[call[0]]
    context = click.Context(command, info_name=call[0])
    words = call[1:]
    try:
        while isinstance(command, click.Group) and words[:1] not in (["--help"], ["--version"]):
            name = words.pop(0)
            if name not in command.commands:
                return f"{shlex.join(call)}: there is no {name}"
            command = command.commands[name]
            if isinstance(command, click.Group):
                context = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            return None
        command.make_context(command.name, words, parent=context)
    except click.exceptions.Exit:
        return None
    except (click.UsageError, IndexError) as error:
        return f"{shlex.join(call)}: {error}"
    return None


def commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every command of a tree, by the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


def command_at(path: tuple[str, ...]) -> click.Command:
    command: click.Command = PROGRAMS[path[0]]
    for name in path[1:]:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


def assert_command_exists(call: list[str]) -> None:
    """Fail with what click says is wrong with a call, without running it."""
    assert (wrong := problem(call)) is None, wrong
