"""The figures of deploy/SCALING.md: one process and two, a folder and object storage.

    python -m tests.benchmarks.stores
    python -m tests.benchmarks.stores --people 500 --rows 5000 --rows 200000

Two sweeps that know nothing of each other stand for two machines on one PostgreSQL; SeaweedFS for
the object store. All of it shares this machine, so rates are a lower bound. Prints a table in
Markdown, within two minutes on two idle cores.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click
import sqlalchemy as sa

from backend.models import DSARRequest
from tests.benchmarks.fill import load_people, open_requests
from tests.benchmarks.measure import Cost, cost_of, cost_of_all
from tests.benchmarks.places import Place, a_place
from tests.factories import Person, table
from tests.servers import ObjectStoreServer, an_object_store
from tests.worlds import POSTGRESQL

_SWEEP: Final = [sys.executable, "-m", "scheduler", "sweep", "--once"]
_FIRST: Final = 1_000
_LARGE: Final = 900_000


@click.command()
@click.option("--people", default=100, show_default=True, help="Small people, of 50 rows each.")
@click.option(
    "--rows",
    "sizes",
    multiple=True,
    default=(5_000, 100_000),
    show_default=True,
    help="Rows of one large person; several times.",
)
def main(people: int, sizes: Sequence[int]) -> None:
    """Measure, and print a line as each figure is known."""
    click.echo(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    click.echo("| work | store | seconds | a second | peak MB of a process |")
    click.echo("|---|---|---|---|---|")
    with a_place(POSTGRESQL) as place, an_object_store() as server:
        numbers = range(_FIRST, _FIRST + people)
        large = {rows: Person(_LARGE + each, runs=rows) for each, rows in enumerate(sizes)}
        small = [Person(each, runs=30, logs=15) for each in numbers]
        load_people(place.world, [*small, *large.values()])
        for store in ("folder", "objects"):
            for processes in (1, 2):
                cost = _swept(place, server, store, numbers, processes)
                _print(f"{people} people, {processes} sweep(s)", store, cost, people)
        for rows, person in large.items():
            for store in ("folder", "objects"):
                cost = _swept(place, server, store, [person.user_id], 1)
                _print(f"one person of {rows:,} rows", store, cost, rows)


def _swept(
    place: Place,
    server: ObjectStoreServer,
    store: str,
    subjects: Sequence[int] | range,
    processes: int,
) -> Cost:
    """What a sweep of everybody's first request costs; of the second of two such runs."""
    environment = place.environment()
    for _ in range(2):
        if store == "objects":
            environment |= server.variables(f"bench/{uuid.uuid4().hex[:8]}")
        open_requests(place.world, subjects)
        cost = _run(environment, place.folder, processes)
        _check(place, len(subjects))
    return cost


def _run(environment: Mapping[str, str], folder: Path, processes: int) -> Cost:
    if processes == 1:
        return cost_of(_SWEEP, environment=environment, folder=folder)
    return cost_of_all([_SWEEP] * processes, environment=environment, folder=folder)


def _check(place: Place, people: int) -> None:
    requests = table(DSARRequest)
    query = sa.select(sa.func.count()).where(requests.c.status == DSARRequest.STATUS_COMPLETED)
    with place.world.begin() as connection:
        completed = connection.execute(query).scalar_one()
    assert completed == people, f"{completed} of {people} completed"


def _print(work: str, store: str, cost: Cost, count: int) -> None:
    rate = count / cost.seconds
    click.echo(f"| {work} | {store} | {cost.seconds:.1f} | {rate:,.0f} | {cost.peak_mb:.0f} |")


if __name__ == "__main__":
    main()
