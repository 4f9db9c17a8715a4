"""``python -m scheduler``: the long-running process, unless a command is named."""

from __future__ import annotations

import sys

from scheduler.cli import cli

if __name__ == "__main__":
    cli(sys.argv[1:] or ["run"], prog_name="python -m scheduler")
