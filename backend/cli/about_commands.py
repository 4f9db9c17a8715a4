"""Commands about a program itself, the same for ``dsar`` and ``dsar-scheduler``."""

from __future__ import annotations

import click

from backend.cli.console import as_json, show


def completion_of(program: str) -> click.Command:
    """The command that prints a program's completion script for a shell."""

    @click.command(
        name="completion",
        help=f"""Print the shell's completion script: source it, or install it.

        \b
        Examples:
          {program} completion bash > /etc/bash_completion.d/{program}
          {program} completion zsh > /usr/local/share/zsh/site-functions/_{program}
          {program} completion fish > ~/.config/fish/completions/{program}.fish
        """,
        short_help="Print the shell's completion script.",
    )
    @click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
    def completion(shell: str) -> None:
        from click.shell_completion import get_completion_class

        kind = get_completion_class(shell)
        assert kind is not None
        variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
        script = kind(click.Group(), {}, program, variable)
        # Not source(): it runs bash to find out its version.
        click.echo(script.source_template % script.source_vars())

    return completion


def version_of(program: str) -> click.Command:
    """The command that says which release a program is."""

    @click.command(
        name="version",
        help=f"""Print which release this is, as --version does. Needs no settings.

        \b
        Examples:
          {program} version
          {program} version --json
        """,
        short_help="Print which release this is.",
    )
    @as_json
    def version(json_wanted: bool) -> None:
        from importlib.metadata import version as installed

        release = installed("levqor-dsar")
        show({"version": release}, json_wanted, lambda: click.echo(f"levqor-dsar {release}"))

    return version
