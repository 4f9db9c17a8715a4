"""One person of five gigabytes: the same memory, and a ZIP that everybody's tools read."""

from __future__ import annotations

import shutil
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import Final

from backend.models import WorkflowRun
from tests.benchmarks.big import OURS, ours
from tests.benchmarks.fill import load_people, settle, trusting
from tests.benchmarks.measure import Cost, NotRun, Series, Way, cost_of, in_turns
from tests.benchmarks.places import Place, a_place, available
from tests.benchmarks.report import Check, Row, row_of
from tests.factories import Person, multiply

_NUMBER: Final = 10
_COPIES: Final = 10
_MISSING: Final = "not installed"
_JAVA: Final = Path(__file__).parent / "peers" / "ReadZip.java"


def measure(kind: str, size: int) -> list[Row]:
    """Export one person of ``size`` rows; read the ZIP."""
    if not size or not available(kind):
        return []
    work = f"one person, {size:,} rows, {kind}"
    with a_place(kind) as place:
        load_people(place.world, [Person(_NUMBER, runs=size // _COPIES, logs=size // 50)])
        _multiply(place)
        way = ours(place, _NUMBER)
        series = in_turns(work, [way], 1)[OURS]
        if not series.costs:
            return [row_of(work, OURS, series)]
        file = place.world.public(f"BENCH-{_NUMBER}")
        with zipfile.ZipFile(file) as archive:
            largest = max(info.file_size for info in archive.infolist()) / 1e9
        peak = series.median("peak_mb")
        memory = Check(f"peak {peak:.0f} MB", "≤ 100 MB", peak <= 100)
        row = row_of(work, OURS, series, memory, note=f"largest member {largest:.2f} GB")
        return [row, _readers(place, work, file)]


def _multiply(place: Place) -> None:
    """Nine more of each workflow run, made by the database."""
    with trusting(place.world) as connection:
        multiply(connection, WorkflowRun, _COPIES)
    settle(place.world)


def _readers(place: Place, work: str, file: Path) -> Row:
    """Whole reads by other programs, with their checks of sizes and CRCs."""
    commands = {
        "unzip": ["unzip", "-tqq"],
        "7z": ["7z", "t", "-bd"],
        "Python": [sys.executable, "-m", "zipfile", "-t"],
        "Java": ["java", str(_JAVA)],
    }
    ways = [
        Way(name, partial(_read, place, [*command, str(file)]))
        for name, command in commands.items()
    ]
    series = in_turns(f"{work}, read by", ways, 1)
    read = [name for name, each in series.items() if each.costs]
    missing = [name for name, each in series.items() if each.why_not == _MISSING]
    return Row(
        work,
        "read by others",
        median=", ".join(f"{name} {series[name].median('seconds'):.0f} s" for name in read),
        checks=(
            Check(
                f"read by {len(read)} of {len(series)}",
                "by all that are installed",
                len(read) + len(missing) == len(series),
            ),
        ),
        note="; ".join(f"{name} {each.why_not}" for name, each in series.items() if each.why_not),
        series=Series([cost for each in series.values() for cost in each.costs]),
    )


def _read(place: Place, command: list[str]) -> Cost:
    if shutil.which(command[0]) is None:
        raise NotRun(_MISSING)
    return cost_of(command, environment=place.environment(), folder=place.folder)
