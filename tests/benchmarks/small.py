"""Many small people: how many complete, durable exports a second."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa

from backend.models import DSARRequest
from tests.benchmarks.fill import load_people, open_requests
from tests.benchmarks.measure import Cost, NotRun, Series, Way, cost_of, cost_of_all, in_turns
from tests.benchmarks.places import Place, a_place, available
from tests.benchmarks.report import Check, Row, row_of
from tests.factories import Person, table
from tests.worlds import POSTGRESQL, fresh_database

ONE: Final = "ours, one process"
WORKERS: Final = "ours, --workers 2"
TWO: Final = "ours, two sweeps at once"
JOBS: Final = "procrastinate, empty jobs, concurrency 1"

# What stands between ours and 1.5 times the empty jobs' rate, by a profile of a sweep (samples of
# the sweeping thread on a busy machine): 31 % waits for six answers of PostgreSQL's, the COMMIT
# among them; 15 % sends and reads statements; 17 % flushes the version, its folder and its name to
# the disk (three flushes, each of which a crash after the record would need); 14 % writes the page
# that a person reads; 8 % reads, renders and packs the rows, 4 % the archive's other members; the
# rest is spread thin. An empty job has the first two alone, so the target asks for a whole export
# in less than its own trips take.
_FIRST: Final = 1_000
_SWEEP: Final = [sys.executable, "-m", "scheduler", "sweep", "--once"]


def measure(kind: str, people: int, rounds: int) -> list[Row]:
    """Sweep requests of ``people`` people of about 50 rows each."""
    work = f"{people:,} people of 50 rows, {kind}"
    if not available(kind):
        return [Row(work, "ours", note="not installed")]
    with a_place(kind) as place:
        numbers = range(_FIRST, _FIRST + people)
        load_people(place.world, [Person(each, runs=30, logs=15) for each in numbers])
        ways = [Way(ONE, _sweep(place, people))]
        if kind != "sqlite":
            ways.append(Way(WORKERS, _sweep(place, people, "--workers", "2")))
            ways.append(Way(TWO, _two_sweeps(place, people)))
        if kind == POSTGRESQL:
            ways.append(Way(JOBS, _empty_jobs(place, people)))
        return _rows(work, people, in_turns(work, ways, rounds))


def _sweep(place: Place, people: int, *arguments: str) -> Callable[[], Cost]:
    def run() -> Cost:
        open_requests(place.world, range(_FIRST, _FIRST + people))
        cost = cost_of([*_SWEEP, *arguments], environment=place.environment(), folder=place.folder)
        _check(place, people)
        return cost

    return run


def _two_sweeps(place: Place, people: int) -> Callable[[], Cost]:
    """Two processes that know nothing of each other, as on two machines with one database."""

    def run() -> Cost:
        open_requests(place.world, range(_FIRST, _FIRST + people))
        cost = cost_of_all([_SWEEP, _SWEEP], environment=place.environment(), folder=place.folder)
        _check(place, people)
        return cost

    return run


def _check(place: Place, people: int) -> None:
    """A run counts only where every request was completed and every file is there."""
    requests = table(DSARRequest)
    query = sa.select(sa.func.count()).where(requests.c.status == DSARRequest.STATUS_COMPLETED)
    with place.world.begin() as connection:
        completed = connection.execute(query).scalar_one()
    files = sum(1 for _ in place.world.exports.glob("levqor-dsar-*.zip"))
    if completed != people or files != people:
        raise NotRun(f"{completed} of {people} completed, {files} files")


def _empty_jobs(place: Place, count: int) -> Callable[[], Cost]:
    module = [sys.executable, "-m", "tests.benchmarks.peers.empty_jobs"]

    def run() -> Cost:
        try:
            import procrastinate  # noqa: F401
        except ModuleNotFoundError:
            raise NotRun("not installed; make bench installs it") from None
        assert place.server is not None
        with fresh_database(place.server.url) as url:
            plain = sa.make_url(url).set(drivername="postgresql")
            arguments = [plain.render_as_string(hide_password=False), str(count)]
            started: dict[str, Any] = {
                "environment": place.environment(),
                "folder": place.folder,
            }
            cost_of([*module, "prepare", *arguments], **started)
            return cost_of([*module, "work", *arguments], **started)

    return run


def _rows(work: str, people: int, series: dict[str, Series]) -> list[Row]:
    rows = []
    one = series[ONE]
    for name, each in series.items():
        checks: tuple[Check, ...] = ()
        if name != ONE and one.costs and each.costs:
            ratio = one.median("seconds") / each.median("seconds")
            if name == JOBS:
                checks = (Check(f"{1 / ratio:.2f} × its rate", "≥ 1.5 ×", 1 / ratio >= 1.5),)
            else:
                judged = name == WORKERS and work.endswith(POSTGRESQL)
                target = "≥ 1.4 ×" if judged else ""
                checks = (Check(f"{ratio:.2f} × one process", target, ratio >= 1.4),)
        rows.append(row_of(work, name, each, *checks, per_second=people))
    return rows
