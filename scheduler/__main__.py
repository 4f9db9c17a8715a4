"""``dsar-scheduler``, and ``python -m scheduler``: without a command named, the latter runs."""

from __future__ import annotations

import gc
import sys


def main(*arguments: str, name: str = "dsar-scheduler") -> None:
    """The console script. Ends the process with the command's exit code."""
    # What imports make stays. Python's own threshold (700 new objects) has the collector go over
    # all of it again and again to find that out: 0.20 s of the 1.16 s of CPU of an empty
    # ``sweep --once``.
    gc.set_threshold(20_000, 20, 20)
    from scheduler.cli import cli

    cli(list(arguments) or None, prog_name=name)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["run"]), name="python -m scheduler")
