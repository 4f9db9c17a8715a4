"""Peak memory of exporting one person, against the number of their rows.

    python -m tests.benchmarks.memory [--rows 10000 --rows 1000000] [--database URL]

Each size is a person of their own, exported by a process of its own; the peak is the operating
system's account of that whole process (ru_maxrss). Without ``--database`` a SQLite file is made in
a temporary folder; a URL names an *empty* database, which is migrated and filled.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.factories import Person
from tests.harness import World


def measure(world: World, reference: str) -> tuple[float, float]:
    """Export one request in a process of its own; its peak in MiB and its seconds."""
    started = time.perf_counter()
    process = world.start("backend.cli.dsar_commands", "export", reference, lease_seconds=600)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read()
    process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"export of {reference} failed"
    return usage.ru_maxrss / 1024, time.perf_counter() - started


@click.command()
@click.option("--rows", "sizes", type=int, multiple=True, default=(10_000, 1_000_000))
@click.option("--database", help="URL of an empty database. Default: SQLite in a temporary folder.")
def main(sizes: tuple[int, ...], database: str | None) -> None:
    """Print peak memory and time for people of these sizes."""
    with tempfile.TemporaryDirectory(prefix="dsar-memory-") as folder:
        world = World(database or f"sqlite:///{folder}/dsar.sqlite3", Path(folder)).migrate()
        first = None
        click.echo(f"{'rows':>12} {'peak MiB':>9} {'more than the first':>20} {'seconds':>8}")
        for number, size in enumerate(sizes, start=10):
            world.people(Person(number, runs=size - 7, logs=0, tokens=2, workflows=2))
            world.request(number, f"R-{size}")
            peak, seconds = measure(world, f"R-{size}")
            first = peak if first is None else first
            click.echo(f"{size:>12,} {peak:>9.1f} {peak - first:>+20.1f} {seconds:>8.1f}")
            sys.stdout.flush()
        world.close()


if __name__ == "__main__":
    main()
