"""The console script ``dsar``; also ``python -m backend.cli``."""

from __future__ import annotations

from backend import collector, own_process


def main() -> None:
    """Ends the process with the command's exit code."""
    own_process.prepare()
    collector.pause()
    from backend.cli.dsar_commands import dsar

    collector.resume()
    dsar(prog_name="dsar")


if __name__ == "__main__":
    main()
