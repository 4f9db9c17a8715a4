"""Many workers, new requests all the while, and a chaos that kills, freezes, cuts and restarts.

    python -m tests.soak [--database sqlite|postgresql|mariadb] [--seconds 60] [--seed N]

The order of the chaos comes from one printed seed. Most workers freeze or die at named places
of an export, and many of the frozen ones wake without knowing that time has passed, as a
virtual machine does: then the database's fence is the only guard. ``watcher`` holds the invariants
against database and disk all the while. At the end everything is completed exactly once for each
time that it was asked for, or failed with a reason; otherwise the exit code is 1 and the world's
folder is kept.
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
from tests.soak.watcher import Watcher, frozen_of
from tests.worlds import a_database

LEASE = 1.0
SETTINGS: dict[str, Any] = {
    "lease_seconds": LEASE,
    "backoff_base_seconds": 2,
    "backoff_cap_seconds": 3,
    "max_attempts": 50,
    "drain_seconds": 1,
    "log_level": "WARNING",
}

FAULTS = ["kill"] * 4 + ["stop"] * 3 + ["term"] * 3 + ["twice"] * 3 + ["cut"] * 2 + ["crash"]
FAULTS += ["again"] * 14 + ["none"] * 6
# Where an export freezes or dies. A frozen worker may stop at two places, one after the other.
POINTS = ["claimed", "collecting", "packing", *["staged"] * 4, *["recording"] * 3]
POINTS += [*["published-before-commit"] * 3, "record-at-commit", "recorded"]


@dataclass
class Soak:
    """One run: its world, its workers, its chance, and what it did to them."""

    world: World
    chance: random.Random
    workers: int
    server: Server | None
    watcher: Watcher
    running: list[Started] = field(default_factory=list)
    stopped: dict[int, float] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    asked_again: set[str] = field(default_factory=set)

    def start_worker(self) -> None:
        once = ("sweep", "--once")
        mode = self.chance.choice([once, once, once, (*once, "--workers", "2"), ("run",)])
        self.start("scheduler", *mode, sweep_cron="* * * * *")

    def start(self, module: str, *arguments: str, **settings: Any) -> None:
        """Start a process that works; most of them with places at which they freeze or die."""
        command = (module, *arguments)
        if self.chance.random() < 0.7:
            points = sorted(set(self.chance.sample(POINTS, self.chance.randint(1, 2))))
            if self.chance.random() < 0.7:
                points.append("suspended")
            action = self.chance.choice(["stop", "stop", "kill"])
            command = ("tests.failpoints", "+".join(points), action, *command)
            self.faults[f"{action} inside"] += 1
        self.running.append(self.world.start(*command, **settings, **SETTINGS))

    def turn(self) -> None:
        """Let time pass for a moment: keep the workers up, add requests, do one fault."""
        for process in [each for each in self.running if each.poll() is not None]:
            self.running.remove(process)
            finish(process)
        while len(self.running) < self.workers:
            self.start_worker()
        for _ in range(self.chance.randrange(5)):
            self.world.request(self.chance.randrange(10, 20), f"SOAK-{self.requests}")
            self.requests += 1
        fault = self.chance.choice(FAULTS)
        getattr(self, f"_{fault}")(self.chance.choice(self.running))
        self.faults[fault] += 1
        self._wake()
        time.sleep(0.2 + self.chance.random() / 2)
        self.require_unbroken()

    def require_unbroken(self) -> None:
        """Raise ``AssertionError`` for what the watcher saw."""
        assert not self.watcher.broken, "; ".join(self.watcher.broken[:3])

    def _none(self, process: Started) -> None:
        """Leave everybody alone for once."""

    def _kill(self, process: Started) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def _stop(self, process: Started) -> None:
        process.send_signal(signal.SIGSTOP)

    def _again(self, process: Started) -> None:
        """Somebody asks for an export that was completed, or runs, once more."""
        if self.requests:
            reference = f"SOAK-{self.chance.randrange(self.requests)}"
            self.asked_again.add(reference)
            self.start("backend.cli.dsar_commands", "export", reference)

    def _wake(self, *, everybody: bool = False) -> None:
        """Wake what is frozen, most of it after its lease has run out."""
        now = time.monotonic()
        frozen = {pid for process in self.running for pid in frozen_of(process.pid)}
        self.stopped = {pid: at for pid, at in self.stopped.items() if pid in frozen}
        for pid in frozen:
            sleeps = LEASE * self.chance.choice([0.3, 2.0, 3.0])
            if everybody or now > self.stopped.setdefault(pid, now + sleeps):
                self.watcher.woke()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
                self.stopped.pop(pid, None)

    def _term(self, process: Started) -> None:
        process.send_signal(signal.SIGTERM)

    def _twice(self, process: Started) -> None:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)

    def _cut(self, process: Started) -> None:
        from tests.acceptance.test_faults import cut_connections

        if self.world.engine.dialect.name != "sqlite":
            self.watcher.cut()
            cut_connections(self.world)

    def _crash(self, process: Started) -> None:
        """The database server dies and comes back."""
        if self.server is not None:
            self.watcher.cut()
            self.server.crash()
            self.server.start()
            self.watcher.cut()

    def end(self) -> None:
        """Kill what still works."""
        for process in self.running:
            self._kill(process)

    def settle(self) -> None:
        """No more faults: stop everybody, then sweep until nothing is left to be done."""
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 60
        while any(process.poll() is None for process in self.running):
            assert time.monotonic() < deadline, "a worker did not end in 60 s"
            self._wake(everybody=True)
            time.sleep(0.1)
        for process in self.running:
            finish(process)
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
                times = completions[row["id"]]
                asked_once = row["gdpr_reference_id"] not in self.asked_again
                assert times == 1 if asked_once else times > 0, f"{row['id']}: {times} times"
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
        world.people(*(Person(user, runs=3_000 if user % 2 else 20) for user in range(10, 20)))
        with Watcher(world) as watcher:
            run = Soak(world, random.Random(seed), workers, server, watcher)
            deadline = time.monotonic() + seconds
            try:
                while time.monotonic() < deadline:
                    try:
                        run.turn()
                    except (sa.exc.DBAPIError, EnvironmentTrouble):
                        run.faults["own connection cut"] += 1
                run.settle()
                run.require_unbroken()
                watcher.require_none_left()
            except BaseException:
                run.end()
                raise
        statuses = run.check()
        outcomes = Counter(attempt["outcome"] for attempt in world.attempts())
        world.close()
    shutil.rmtree(folder)
    faults = {name: count for name, count in run.faults.items() if name != "none"}
    return (
        f"{kind}: {seconds:.0f} s, seed {seed}, {sum(faults.values())} faults "
        f"{faults}, {watcher.looks} looks, {run.requests} requests {dict(statuses)}, "
        f"attempts {dict(outcomes)}"
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
@click.option("--workers", default=6, show_default=True, help="Processes at a time.")
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
