"""A scheduler that is scraped: a real process, its socket, its worker processes, its textfile."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from scheduler.metrics import read_book
from tests.acceptance.test_processes import SLOWLY
from tests.factories import Person
from tests.harness import World, finish, wait_for


def scraped(path: Path) -> dict[tuple[str, tuple[str, ...]], float]:
    """What a scheduler answers on its socket; nothing while it does not."""
    try:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(10)
            channel.connect(str(path))
            channel.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: channel.recv(65536), b""))
    except OSError:
        return {}
    return read_book(answer.partition(b"\r\n\r\n")[2].decode()).values


def test_run_counts_what_its_workers_do_and_leaves_no_socket(sqlite_world: World) -> None:
    world = sqlite_world
    world.people(Person(7, runs=3))
    for number in range(4):
        world.request(7, f"R-{number}")
    world.request(None, "NOBODY")
    path, textfile = world.root / "metrics.sock", world.root / "dsar.prom"

    process = world.start(
        "scheduler", "run", workers=2, metrics_listen=f"unix:{path}", metrics_textfile=textfile
    )
    swept = wait_for(
        lambda: (found := scraped(path)).get(("dsar_attempts_total", ("completed",))) and found,
        "the first sweep's figures",
    )

    assert swept["dsar_attempts_total", ("completed",)] == 4
    assert swept["dsar_attempts_total", ("failed",)] == 1
    assert swept["dsar_attempt_errors_total", ("subject_missing",)] == 1
    assert swept["dsar_requests", ("failed",)] == 1
    assert swept["dsar_scheduler_healthy", ()] == 1
    assert swept["dsar_scheduler_start_timestamp_seconds", ()] <= time.time()
    wait_for(lambda: scraped(path)["dsar_scheduler_sweeping", ()] == 0, "the end of the sweep")
    written = read_book(textfile.read_text()).values
    assert written["dsar_attempts_total", ("completed",)] == 4
    assert ("dsar_scheduler_healthy", ()) not in written
    process.send_signal(signal.SIGTERM)
    assert finish(process).returncode == 0
    assert not path.exists()


def test_run_sweeping_is_told_while_it_sweeps(sqlite_world: World) -> None:
    world = sqlite_world
    world.people(Person(7, runs=600), times=100)
    world.request(7, "BIG")
    path = world.root / "metrics.sock"
    process = world.start("scheduler", "run", metrics_listen=f"unix:{path}", rows_per_second=SLOWLY)
    try:
        wait_for(
            lambda: scraped(path).get(("dsar_scheduler_sweeping", ())) == 1, "a sweep under way"
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        finish(process)


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "taken"])
def test_run_on_an_address_that_will_not_do_ends_with_78(sqlite_world: World, address: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        if address == "taken":
            address = f"127.0.0.1:{other.getsockname()[1]}"
        done = sqlite_world.run("scheduler", "run", metrics_listen=address)

    assert done.returncode == 78, done.stderr
    assert "DSAR_METRICS_LISTEN" in done.stderr
    assert "Traceback" not in done.stderr
