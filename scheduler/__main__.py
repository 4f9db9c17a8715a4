"""``dsar-scheduler``, and ``python -m scheduler``: without a command named, the latter runs."""

from __future__ import annotations

import sys

from backend import own_process
from scheduler.cli import cli


def main(*arguments: str, name: str = "dsar-scheduler") -> None:
    """The console script. Ends the process with the command's exit code."""
    own_process.prepare()
    cli(list(arguments) or None, prog_name=name)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["run"]), name="python -m scheduler")
