"""The README's few lines of the table: of one run, so that figures compare."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from tests.benchmarks import big, small
from tests.benchmarks.report import Row, table_of
from tests.worlds import POSTGRESQL

_BIG: Final = re.compile(rf"one person, ([\d,]+) rows, {POSTGRESQL}")
_SMALL: Final = re.compile(rf"[\d,]+ people of 50 rows, {POSTGRESQL}")
_CLAIM: Final = re.compile(rf"[\d,]+ requests (pending|finished), {POSTGRESQL}")
_NAMES: Final = {
    big.OURS: "**this program**",
    big.IGZIP: "`COPY … \\| igzip -1`, the limit",
    big.ZIP: "`COPY … \\| zip -6`",
    big.NAIVE: "ORM, `json.dumps`, `zipfile`",
    small.ONE: "exports a second, one process",
    small.WORKERS: "exports a second, `--workers 2`",
    small.JOBS: "procrastinate's empty jobs a second",
}


def summary(rows: Sequence[Row], environment: dict[str, str]) -> str:
    """Markdown: where it was measured, the big person, and what else was measured; or nothing."""
    person, others = _big(rows), _others(rows)
    # To the last bracket: a processor's name may hold some of its own, as Intel(R).
    machine = re.sub(r" \(.*\)", "", environment["machine"].split(", files")[0])
    lines = [f"{environment['date'][:10]}, {machine}, the database on the same machine:", ""]
    return "\n".join([*lines, *person, *([""] if person and others else []), *others]) + "\n"


def _big(rows: Sequence[Row]) -> list[str]:
    """The largest person that every way was measured with."""
    sizes = {}
    for row in rows:
        if (found := _BIG.fullmatch(row.work)) and row.way in (big.IGZIP, big.NAIVE):
            sizes[int(found[1].replace(",", ""))] = row.work
    if not sizes:
        return []
    work = sizes[max(sizes)]
    cells = [
        (_NAMES.get(row.way, row.way), row.median, row.peak, row.size)
        for row in rows
        if row.work == work
    ]
    return table_of((work.rpartition(", ")[0], "time", "peak MB", "file MB"), cells)


def _others(rows: Iterable[Row]) -> list[str]:
    cells = []
    for row in rows:
        if _SMALL.fullmatch(row.work) and row.way in _NAMES and row.series and row.series.costs:
            cells.append((_NAMES[row.way], row.median.removesuffix(" a second")))
        elif row.work == f"nothing to do, {POSTGRESQL}" and row.series and row.series.costs:
            idle = row.way == "idle scheduler"
            name = "idle scheduler, memory" if idle else "`sweep --once` with nothing to do"
            cells.append((name, f"{row.peak} MB" if idle else row.median))
        elif _CLAIM.fullmatch(row.work) and row.way == "a claim":
            cells.append((f"a claim among {row.work.rpartition(', ')[0]}", row.median))
    return table_of(("small people, and nothing to do", ""), cells) if cells else []
