"""The plot: throughput and peak memory against rows, ours beside the others."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks import big
from tests.benchmarks.machine import in_short
from tests.benchmarks.report import Row

_WORK: Final = re.compile(r"one person, ([\d,]+) rows, postgresql")
# Colours that differ in lightness too (Okabe and Ito), ours the one that stands out.
_STYLES: Final = {
    big.OURS: ("this program", "#D55E00", "o", 2.6),
    big.IGZIP: ("COPY | igzip -1", "#999999", "s", 1.4),
    big.ZIP: ("COPY | zip -6", "#555555", "^", 1.4),
    big.FIDES: (big.FIDES.split(",")[0], "#0072B2", "D", 1.4),
    big.NAIVE: ("naive", "#009E73", "v", 1.4),
}

Points = dict[str, list[tuple[int, float, float]]]


def draw(rows: Sequence[Row], environment: dict[str, str], file: Path) -> bool:
    """Write a PNG; False where there is nothing to draw, or nothing to draw with."""
    points = _points(rows)
    if not points:
        return False
    try:
        import matplotlib
    except ModuleNotFoundError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    panels = (
        (axes[0], 1, "rows a second (more is better)"),
        (axes[1], 2, "peak memory, MB (less is better)"),
    )
    for panel, column, title in panels:
        for name, (label, colour, marker, width) in _STYLES.items():
            if found := points.get(name):
                panel.plot(
                    [point[0] for point in found],
                    [point[column] for point in found],
                    label=label,
                    color=colour,
                    marker=marker,
                    linewidth=width,
                    zorder=3 if name == big.OURS else 2,
                )
        panel.set(xscale="log", yscale="log", xlabel="rows of one person")
        panel.set_title(title, fontsize=11)
        panel.xaxis.set_major_formatter(FuncFormatter(_number))
        panel.yaxis.set_major_formatter(FuncFormatter(_number))
        panel.grid(visible=True, which="major", color="#DDDDDD", linewidth=0.8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False
    )
    figure.suptitle(f"One person's export from PostgreSQL, {in_short(environment)}", fontsize=12)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
    return True


def _points(rows: Sequence[Row]) -> Points:
    """Per way: rows, rows a second, peak MB; ordered by rows."""
    points: Points = defaultdict(list)
    for row in rows:
        found = _WORK.fullmatch(row.work)
        if found and row.series is not None and row.series.costs:
            size = int(found[1].replace(",", ""))
            rate = big.rows_of(size) / row.series.median("seconds")
            points[row.way].append((size, rate, row.series.median("peak_mb")))
    return {way: sorted(found) for way, found in points.items()}


def _number(value: float, _: object) -> str:
    return f"{value:,.0f}"
