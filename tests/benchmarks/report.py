"""The one table: what was measured, against what, against which target."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tests.benchmarks.measure import Series

HEADINGS: Final = (
    "work",
    "way",
    "median",
    "lowest – highest",
    "CPU s",
    "peak MB",
    "file MB",
    "ours against it",
    "target",
    "verdict",
)


@dataclass(frozen=True)
class Check:
    """One comparison. ``target`` is empty where the figure is for information alone."""

    ratio: str
    target: str = ""
    met: bool = True


@dataclass(frozen=True)
class Row:
    """One line of the table. ``series`` are the runs behind it, kept in the JSON."""

    work: str
    way: str
    median: str = ""
    spread: str = ""
    cpu: str = ""
    peak: str = ""
    size: str = ""
    checks: tuple[Check, ...] = ()
    note: str = ""
    series: Series | None = field(default=None, repr=False)

    def cells(self) -> tuple[str, ...]:
        verdicts = ["met" if check.met else "**missed**" for check in self.checks if check.target]
        return (
            self.work,
            f"{self.way}: {self.note}" if self.note else self.way,
            self.median,
            self.spread,
            self.cpu,
            self.peak,
            self.size,
            "; ".join(check.ratio for check in self.checks),
            "; ".join(check.target for check in self.checks if check.target),
            "; ".join(verdicts),
        )


def row_of(
    work: str,
    way: str,
    series: Series,
    *checks: Check,
    per_second: float | None = None,
    note: str = "",
) -> Row:
    """A row of a series of whole processes; ``per_second``: how many things one run did."""
    if not series.costs:
        return Row(work, way, median="–", note=series.why_not or "not run", series=series)
    lowest, highest = series.spread()
    if per_second is None:
        median, spread = (
            seconds(series.median("seconds")),
            f"{seconds(lowest)} – {seconds(highest)}",
        )
    else:
        median = f"{per_second / series.median('seconds'):.0f} a second"
        spread = f"{per_second / highest:.0f} – {per_second / lowest:.0f}"
    size = series.median("file_bytes") / 1e6
    return Row(
        work,
        way,
        median=median,
        spread=spread if len(series.costs) > 1 else "one run",
        cpu=f"{series.median('cpu_seconds'):.1f}",
        peak=f"{series.median('peak_mb'):.0f}",
        size=f"{size:.1f}" if size else "",
        checks=checks,
        note=note,
        series=series,
    )


def seconds(value: float) -> str:
    """Seconds with three figures; under a tenth, milliseconds."""
    if value < 0.1:
        return f"{value * 1000:.2g} ms" if value < 0.01 else f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def markdown(rows: Iterable[Row], environment: dict[str, str]) -> str:
    """The table, with where and when it was measured."""
    lines = ["# Benchmark", "", *(f"- {key}: {value}" for key, value in environment.items()), ""]
    lines += [
        "Medians of whole processes, measured from outside, in turns (A B A B) on the same data; "
        "peak MB is the largest process of each way; 1 MB = 1,000,000 bytes.",
        "",
        *table_of(HEADINGS, [[_escaped(cell) for cell in row.cells()] for row in rows]),
    ]
    return "\n".join(lines) + "\n"


def table_of(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows)]


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def as_json(rows: Iterable[Row], environment: dict[str, str]) -> str:
    """The same, with every run behind each row."""
    found = [asdict(row) for row in rows]
    for row in found:
        for cost in (row["series"] or {}).get("costs", ()):
            del cost["output"]
    value = {"environment": environment, "rows": found}
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def write(folder: Path, rows: Sequence[Row], environment: dict[str, str]) -> None:
    """Write ``table.md`` and ``results.json`` into ``folder``, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(markdown(rows, environment), encoding="utf-8")
    (folder / "results.json").write_text(as_json(rows, environment), encoding="utf-8")
