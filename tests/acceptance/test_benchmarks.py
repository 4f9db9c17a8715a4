"""The benchmark measures: every part of it, tiny, on the database that needs no server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from backend.settings import CHECKOUT_ROOT
from tests.benchmarks.measure import Cost, NotRun, Series, Way, cost_of, in_turns
from tests.benchmarks.publish import FOLDER, KEPT, publish
from tests.benchmarks.report import Check, markdown, row_of
from tests.benchmarks.startup import statements_in
from tests.benchmarks.summary import summary
from tests.harness import wait_for


def test_benchmark_tiny_on_sqlite_writes_every_part_of_its_table(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--form", "tiny", "--database", "sqlite"]
    done = subprocess.run(
        [*command, "--results", str(tmp_path)],
        cwd=CHECKOUT_ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    rows = results["rows"]
    assert [row for row in rows if row["series"] and row["series"]["why_not"]] == []
    works = "\n".join(row["work"] for row in rows)
    for part in (
        "person, 40 rows",
        "20 → 40 rows",
        "2 people",
        "nothing to do",
        "pending",
        "100 rows",
    ):
        assert part in works, works
    costs = [cost for row in rows if row["series"] for cost in row["series"]["costs"]]
    assert all(cost["seconds"] > 0 for cost in costs)
    assert (tmp_path / "table.md").read_text() in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_benchmark_that_is_ended_leaves_no_server_and_no_files(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--form", "tiny", "--only", "small"]
    command += ["--database", "postgresql", "--results", str(tmp_path)]
    # Not below tmp_path: a socket's path holds a hundred characters.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        heard = signal.signal(number, signal.SIG_DFL)  # it does not heed what was ignored before it
        benchmark = subprocess.Popen(
            command,
            cwd=CHECKOUT_ROOT,
            env=os.environ | {"TMPDIR": name},
            stderr=subprocess.DEVNULL,
        )
        signal.signal(number, heard)
        try:
            server = wait_for(lambda: server_in(folder), "the server")
            benchmark.send_signal(number)
            assert benchmark.wait(60) == 128 + number
        finally:
            benchmark.kill()
        wait_for(lambda: not lives(server), "its server's end")
        assert not [path for path in folder.rglob("*") if "dsar" in path.name]


def lives(process: int) -> bool:
    """Whether it runs: who inherited it may not have asked yet how it ended."""
    try:
        return ") Z" not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def server_in(folder: Path) -> int | None:
    """The process of a PostgreSQL below a folder that takes connections; not one of initdb's."""
    for file in folder.rglob("postmaster.pid"):
        with suppress(OSError):
            lines = file.read_text().split()
            if "ready" in lines:
                return int(lines[0])
    return None


def test_benchmark_whose_results_have_no_place_says_so_before_it_measures(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "tests.benchmarks", "--results", str(tmp_path / "file" / "x")]
    done = subprocess.run(
        command, cwd=CHECKOUT_ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, "Not a directory" in done.stderr) == (2, True), done.stderr


def test_cost_of_process_is_its_own_and_not_that_of_who_started_it(tmp_path: Path) -> None:
    ballast = bytearray(200_000_000)
    cost = cost_of(["true"], environment=os.environ, folder=tmp_path)
    assert len(ballast) > cost.peak_mb * 1e6
    assert cost.peak_mb < 50


def test_in_turns_alternates_and_stops_what_cannot_run() -> None:
    order = []

    def way(name: str, *, fails: bool = False) -> Way:
        def run() -> Cost:
            order.append(name)
            if fails:
                raise NotRun("not installed")
            return Cost(1.0)

        return Way(name, run, most=1 if name == "slow" else 10)

    series = in_turns("work", [way("a"), way("absent", fails=True), way("slow"), way("b")], 2)
    assert order == ["a", "absent", "slow", "b", "a", "b"]
    assert {name: len(each.costs) for name, each in series.items()} == {
        "a": 2,
        "absent": 0,
        "slow": 1,
        "b": 2,
    }
    assert series["absent"].why_not == "not installed"


@pytest.mark.parametrize(("met", "verdict"), [(True, "| met |"), (False, "| **missed** |")])
def test_table_of_a_target_says_whether_it_was_met(met: bool, verdict: str) -> None:
    series = Series([Cost(2.0), Cost(3.0), Cost(1.0)])
    row = row_of("work", "a | b", series, Check("2 ×", "≤ 1 ×", met), Check("for information"))
    absent = row_of("work", "absent", Series(why_not="not installed"))
    table = markdown([row, absent], {"date": "today"})
    assert r"| work | a \| b | 2.00 s | 1.00 s – 3.00 s |" in table
    assert table.count(verdict) == 1
    assert "| absent: not installed | – |" in table


def test_statements_in_servers_log_are_counted_whole() -> None:
    log = (
        "2026-01-05 08:30:00 UTC [7] LOG:  statement: SELECT a\n\tFROM dsar_requests\n"
        "2026-01-05 08:30:00 UTC [7] LOG:  execute <unnamed>: SELECT b\n"
        "2026-01-05 08:30:00 UTC [7] DETAIL:  Parameters: $1 = 'x'\n"
    )
    assert statements_in(log) == ["SELECT a FROM dsar_requests", "SELECT b"]


def test_publish_replaces_the_figures_of_an_earlier_run(tmp_path: Path) -> None:
    (tmp_path / "tests" / "benchmarks").mkdir(parents=True)
    readme = tmp_path / "README.md"
    readme.write_text("# Name\n\n## Developing\n\nText.\n")
    for figure in ("one", "two"):
        for name in KEPT:
            (tmp_path / name).write_text(f"{figure}\n")
        publish(tmp_path, tmp_path)
    text = readme.read_text()
    assert text.startswith("# Name\n\n## How fast\n\ntwo\n\n![")
    assert text.endswith("\n\n## Developing\n\nText.\n")
    assert "one\n" not in text
    assert (tmp_path / FOLDER / "table.md").read_text() == "two\n"


def test_summary_names_the_machine_without_its_processor() -> None:
    machine = "2 cores (Intel(R) Xeon(R) Processor @ 2.80GHz), 25 GB memory, files on ext2/ext3"

    told = summary([], {"date": "2026-11-28 18:46 UTC", "machine": machine})

    assert told.startswith("2026-11-28, 2 cores, 25 GB memory, the database on the same machine:")


def test_readme_shows_the_figures_of_the_run_that_is_kept() -> None:
    results = CHECKOUT_ROOT / FOLDER
    readme = (CHECKOUT_ROOT / "README.md").read_text(encoding="utf-8")
    assert results.is_dir() == ("## How fast" in readme)
    if results.is_dir():
        assert (results / "summary.md").read_text(encoding="utf-8") in readme
        assert f"({FOLDER}/plot.png)" in readme
        assert (results / "plot.png").stat().st_size < 100_000
