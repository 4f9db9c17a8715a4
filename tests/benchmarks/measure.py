"""Whole processes, measured from outside, in turns."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

MB = 1_000_000
_LAUNCH = str(Path(__file__).with_name("launch.py"))


class NotRun(Exception):
    """A way that cannot be measured here; the message says why and stands in the table."""


@dataclass(frozen=True)
class Cost:
    """What one run cost. ``work_seconds``: without start-up, where the way itself tells."""

    seconds: float
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    file_bytes: int = 0
    work_seconds: float | None = None
    output: str = field(default="", repr=False)


def cost_of(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    timeout: float = 3600,
) -> Cost:
    """Run a command to its end in ``folder``; what it cost, with its standard output.

    Raises ``NotRun`` with the end of its standard error when it fails.
    """
    with _Launched(command, environment=environment, folder=folder) as launched:
        return launched.finish(timeout)


def cost_of_all(
    commands: Sequence[Sequence[str]],
    *,
    environment: Mapping[str, str],
    folder: Path,
    timeout: float = 3600,
) -> Cost:
    """Run several commands at the same time: seconds until the last one ends, CPU of all."""
    started = time.perf_counter()
    launched = [_Launched(c, environment=environment, folder=folder) for c in commands]
    try:
        costs = [each.finish(timeout) for each in launched]
    finally:
        for each in launched:
            each.close()
    return Cost(
        seconds=time.perf_counter() - started,
        cpu_seconds=sum(cost.cpu_seconds for cost in costs),
        peak_mb=max(cost.peak_mb for cost in costs),
    )


class _Launched:
    """A command under ``launch.py``."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path
    ) -> None:
        self._command = command
        self._files = tempfile.TemporaryDirectory(prefix="dsar-launch-")
        self._report = Path(self._files.name) / "report"
        self._process = subprocess.Popen(
            [sys.executable, "-IS", _LAUNCH, str(self._report), *command],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, timeout: float) -> Cost:
        stdout, stderr = self._process.communicate(timeout=timeout)
        report = json.loads(self._report.read_text()) if self._report.exists() else None
        if self._process.returncode or report is None or report["exit_code"]:
            raise NotRun(f"failed: {self._command[0]}: {stderr.strip()[-400:]}")
        return Cost(
            seconds=report["seconds"],
            cpu_seconds=report["cpu_seconds"],
            peak_mb=report["peak_bytes"] / MB,
            output=stdout,
        )

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        self._files.cleanup()

    def __enter__(self) -> _Launched:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Way:
    """One way of doing the work. ``most``: runs at most, for what takes minutes."""

    name: str
    run: Callable[[], Cost]
    most: int = 1_000


@dataclass
class Series:
    """The runs of one way; ``why_not`` instead of runs where it could not be measured."""

    costs: list[Cost] = field(default_factory=list)
    why_not: str = ""

    def median(self, what: str) -> float:
        """The median of one of ``Cost``'s numbers. Raises ``StatisticsError`` without runs."""
        return float(statistics.median(getattr(cost, what) for cost in self.costs))

    def spread(self, what: str = "seconds") -> tuple[float, float]:
        values = [getattr(cost, what) for cost in self.costs]
        return min(values), max(values)


def in_turns(work: str, ways: Sequence[Way], rounds: int) -> dict[str, Series]:
    """Run every way once a round (A B A B), so that a machine that slows down slows all."""
    series = {way.name: Series() for way in ways}
    for number in range(rounds):
        for way in ways:
            found = series[way.name]
            if found.why_not or number >= way.most:
                continue
            try:
                cost = way.run()
            except NotRun as error:
                found.why_not = str(error)
                told = "not run"
            else:
                found.costs.append(cost)
                told = f"{cost.seconds:.2f} s"
            click.echo(f"  {work}, {way.name}, {number + 1}/{rounds}: {told}", err=True)
    return series
