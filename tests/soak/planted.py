"""Plant a break of the protocol, and see whether the soak notices it.

    python -m tests.soak.planted [NAME ...] [--database D] [--seconds 600]

The breaks are those of ``tests/mutants/protocol.toml``. Each is planted in a copy of the tree, and
its soak must say BROKEN within the time: a soak that does not see planted breaks proves nothing by
being green. Exits with 1 if one is not noticed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Final

import click

from tests.mutants import LISTS, ROOT, Mutant, read_lists
from tests.mutants.__main__ import copy_tree

# What its twin guards: an UPDATE that needs no fence while the row is locked and compared.
_TWINS: Final = {"record-alone-without-its-fence"}


def breaks() -> list[Mutant]:
    """The planted breaks that change what the program does."""
    listed = tomllib.loads((LISTS / "protocol.toml").read_text("utf-8"))["mutant"]
    wanted = {each["name"] for each in listed} - _TWINS
    return [each for each in read_lists() if each.name in wanted]


def soak_of(broken: Mutant, database: str, seconds: float) -> tuple[bool, str]:
    """Run the soak of a tree with this break; whether it was noticed, and by what."""
    with tempfile.TemporaryDirectory(prefix="dsar-planted-") as folder:
        copy = Path(folder) / "tree"
        copy_tree(ROOT, copy)
        broken.apply(copy)
        command = [sys.executable, "-m", "tests.soak", "--database", database]
        done = subprocess.run(
            [*command, "--seconds", str(seconds)],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy), "TMPDIR": folder},
            capture_output=True,
            text=True,
            check=False,
        )
    lines = (done.stdout + done.stderr).strip().splitlines()
    return done.returncode != 0, lines[-1] if lines else "no output"


@click.command()
@click.argument("names", nargs=-1)
@click.option("--database", default="postgresql", show_default=True)
@click.option("--seconds", default=600.0, show_default=True, help="At the most, for each break.")
def main(names: tuple[str, ...], database: str, seconds: float) -> None:
    """Plant each break (or those named) and run the soak."""
    known = {each.name: each for each in breaks()}
    if unknown := set(names) - set(known):
        raise click.UsageError(f"no such break: {', '.join(unknown)}; there are {', '.join(known)}")
    missed = []
    for name in names or known:
        started = time.monotonic()
        noticed, line = soak_of(known[name], database, seconds)
        took = time.monotonic() - started
        click.echo(f"{name}: {'noticed' if noticed else 'NOT NOTICED'} ({took:.0f} s) {line}")
        missed += [] if noticed else [name]
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
