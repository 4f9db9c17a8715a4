"""Procrastinate's empty jobs: what a queue on PostgreSQL costs before any work is done.

    python -m tests.benchmarks.peers.empty_jobs {prepare|work} DATABASE_URL COUNT

``prepare`` makes its tables and defers COUNT jobs that do nothing; ``work`` runs them all, one at
a time, and ends.
"""

from __future__ import annotations

import asyncio
import sys

import procrastinate


async def nothing(number: int) -> None:
    """The job."""


async def prepare(url: str, count: int) -> None:
    app = application(url)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await app.tasks["nothing"].batch_defer_async(*({"number": n} for n in range(count)))


async def work(url: str, count: int) -> None:
    app = application(url)
    async with app.open_async():
        await app.run_worker_async(concurrency=1, wait=False)
        done = await app.job_manager.list_jobs_async(status="succeeded")
        if len(list(done)) != count:
            raise SystemExit("not every job succeeded")


def application(url: str) -> procrastinate.App:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))
    app.task(name="nothing")(nothing)
    return app


if __name__ == "__main__":
    step = {"prepare": prepare, "work": work}[sys.argv[1]]
    asyncio.run(step(sys.argv[2], int(sys.argv[3])))
