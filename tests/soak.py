"""Many workers, new requests all the while, and a chaos that kills, stops, cuts and restarts.

    python -m tests.soak [--database sqlite|postgresql|mariadb] [--seconds 60] [--seed N]

The order of the chaos comes from one printed seed, which replays it. At the end everything is
completed exactly once, or failed with a reason, and the invariants hold; otherwise the exit code
is 1 and the world's folder is kept.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa

from backend.errors import EnvironmentTrouble
from tests.factories import Person
from tests.harness import World, finish
from tests.launcher import Started
from tests.servers import Server
from tests.worlds import a_database

LEASE = 2.0
SETTINGS: dict[str, Any] = {
    "lease_seconds": LEASE,
    "backoff_base_seconds": 1,
    "backoff_cap_seconds": 2,
    "max_attempts": 50,
    "drain_seconds": 1,
    "log_level": "WARNING",
}


FAULTS = ["kill"] * 4 + ["stop"] * 3 + ["term"] * 2 + ["twice"] * 2 + ["cut"] * 2 + ["crash"]
FAULTS += ["none"] * 3


@dataclass
class Soak:
    """One run: its world, its workers, its chance, and what it did to them."""

    world: World
    chance: random.Random
    workers: int
    server: Server | None
    running: list[Started] = field(default_factory=list)
    stopped: dict[int, float] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    requests: int = 0

    def start_worker(self) -> None:
        mode = self.chance.choice(
            [("sweep", "--once"), ("sweep", "--once", "--workers", "2"), ("run",)]
        )
        self.running.append(
            self.world.start("scheduler", *mode, sweep_cron="* * * * *", **SETTINGS)
        )

    def turn(self) -> None:
        """Let time pass for a moment: keep the workers up, add requests, do one fault."""
        for process in [each for each in self.running if each.poll() is not None]:
            self.running.remove(process)
            finish(process)
        while len(self.running) < self.workers:
            self.start_worker()
        for _ in range(self.chance.randrange(8)):
            self.world.request(self.chance.randrange(10, 20), f"SOAK-{self.requests}")
            self.requests += 1
        fault = self.chance.choice(FAULTS)
        getattr(self, f"_{fault}")(self.chance.choice(self.running))
        self.faults[fault] += 1
        self._wake()
        time.sleep(0.2 + self.chance.random())

    def _none(self, process: Started) -> None:
        """Leave everybody alone for once."""

    def _kill(self, process: Started) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def _stop(self, process: Started) -> None:
        process.send_signal(signal.SIGSTOP)
        self.stopped[process.pid] = time.monotonic() + LEASE * (1 + self.chance.random())

    def _wake(self, *, everybody: bool = False) -> None:
        for process in self.running:
            if process.pid in self.stopped and (
                everybody or time.monotonic() > self.stopped[process.pid]
            ):
                process.send_signal(signal.SIGCONT)
                del self.stopped[process.pid]

    def _term(self, process: Started) -> None:
        process.send_signal(signal.SIGTERM)

    def _twice(self, process: Started) -> None:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)

    def _cut(self, process: Started) -> None:
        from tests.acceptance.test_faults import cut_connections

        if self.world.engine.dialect.name != "sqlite":
            cut_connections(self.world)

    def _crash(self, process: Started) -> None:
        """The database server dies and comes back."""
        if self.server is not None:
            self.server.crash()
            self.server.start()

    def settle(self) -> None:
        """No more faults: stop everybody, then sweep until nothing is left to be done."""
        self._wake(everybody=True)
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            finish(process, 60)
        self.running.clear()
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            self.world.sweep("--workers", "2", **SETTINGS)
            statuses = Counter(row["status"] for row in self.world.rows())
            if not statuses["pending"] and not statuses["processing"]:
                return
            time.sleep(0.5)
        raise AssertionError(f"not settled: {statuses}")

    def check(self) -> Counter[str]:
        """Everything completed exactly once, or failed with a reason."""
        done = self.world.sweep(**SETTINGS)
        assert done.json["claimed"] == 0, done.stdout
        assert self.world.dsar("prune").returncode == 0
        self.world.check_invariants()
        statuses: Counter[str] = Counter()
        completions = Counter(
            attempt["request_id"]
            for attempt in self.world.attempts()
            if attempt["outcome"] == "completed"
        )
        for row in self.world.rows():
            statuses[row["status"]] += 1
            if row["status"] == "completed":
                assert completions[row["id"]] == 1, row["id"]
            else:
                assert row["status"] == "failed"
                assert row["last_error"], row["id"]
        assert sum(statuses.values()) == self.requests
        assert not [a for a in self.world.attempts() if a["outcome"] == "running"]
        return statuses


def soak(kind: str, seconds: float, seed: int, workers: int) -> str:
    """One run. Returns a line about it; raises AssertionError where a promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix="dsar-soak-"))
    with a_database(kind, folder) as (url, server):
        world = World(url, folder).migrate()
        world.people(*(Person(user, runs=15_000) for user in range(10, 20)))
        run = Soak(world, random.Random(seed), workers, server)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                run.turn()
            except (sa.exc.DBAPIError, EnvironmentTrouble):
                run.faults["own connection cut"] += 1
        run.settle()
        statuses = run.check()
        outcomes = Counter(attempt["outcome"] for attempt in world.attempts())
        world.close()
    shutil.rmtree(folder)
    faults = {name: count for name, count in run.faults.items() if name != "none"}
    return (
        f"{kind}: {seconds:.0f} s, seed {seed}, {sum(faults.values())} faults "
        f"{faults}, {run.requests} requests {dict(statuses)}, attempts {dict(outcomes)}"
    )


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="How long the chaos lasts.")
@click.option("--seed", type=int, help="Replays a run. Default: a new one, which is printed.")
@click.option(
    "--database",
    type=click.Choice(["sqlite", "postgresql", "mariadb"]),
    default="sqlite",
    show_default=True,
    help="A new one; a server of its own.",
)
@click.option("--workers", default=4, show_default=True, help="Processes at a time.")
def main(seconds: float, seed: int | None, database: str, workers: int) -> None:
    """Run the chaos, then hold what is left to the promises."""
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    click.echo(f"seed {seed}")
    try:
        click.echo(soak(database, seconds, seed, workers))
    except AssertionError as error:
        click.echo(f"BROKEN (seed {seed}): {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
