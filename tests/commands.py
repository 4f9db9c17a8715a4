"""Whether a command that stands in a file is one of this program's."""

from __future__ import annotations

import shlex

import click
import pytest


def assert_command_exists(call: list[str]) -> None:
    """Parse a call as click would, without running it. Raises what click says is wrong."""
    from backend.cli.dsar_commands import dsar
    from scheduler.cli import cli

    program, name, *arguments = call
    group = dsar if program == "dsar" else cli
    assert name in group.commands, f"{program} has no command {name}"
    try:
        with click.Context(group, info_name=program) as parent:
            group.commands[name].make_context(name, arguments, parent=parent)
    except click.UsageError as error:
        pytest.fail(f"{shlex.join(call)}: {error.format_message()}")
