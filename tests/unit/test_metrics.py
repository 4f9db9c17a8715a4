"""Metrics: what is counted, how it is written, who can read it; deploy/monitoring."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from backend.addresses import Address, parse_address
from backend.errors import ConfigurationError, SchemaError
from backend.metric_names import GAUGE, METRICS, OUTCOMES
from backend.models import DSARAttempt
from backend.services.cases import Cases
from backend.services.metrics import read_state
from backend.settings import CHECKOUT_ROOT, Settings
from scheduler.measuring import measure
from scheduler.metrics import Book, Metrics, add_to_textfile, exposition, read_book
from scheduler.sweep import SweepResult, Tally, Trouble
from tests.factories import Person
from tests.harness import World
from tests.servers import free_port

MONITORING: Final = CHECKOUT_ROOT / "deploy" / "monitoring"

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)


# -- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", Address("127.0.0.1", 9464)),
        ("127.8.9.1:1", Address("127.8.9.1", 1)),
        ("localhost:9464", Address("127.0.0.1", 9464)),
        ("[::1]:9464", Address("::1", 9464)),
        ("unix:/run/dsar/metrics.sock", Address(path="/run/dsar/metrics.sock")),
    ],
)
def test_address_of_this_machine_is_read(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0.0.0.0:9464", "other machines"),
        ("[::]:9464", "other machines"),
        ("192.0.2.7:9464", "other machines"),
        ("metrics.example.org:9464", "other machines"),
        ("127.0.0.1", "no address"),
        (":9464", "no address"),
        ("127.0.0.1:0", "no address"),
        ("127.0.0.1:65536", "no address"),
        ("127.0.0.1:٣", "no address"),
        ("unix:metrics.sock", "absolute"),
        ("unix:/" + "x" * 107, "longer"),
    ],
)
def test_address_other_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_address(text)


# -- the state ---------------------------------------------------------------------------------


def test_state_counts_what_a_person_must_look_at(world: World) -> None:
    now = datetime.now(UTC)
    world.people(Person(7, runs=1))
    world.request(7, "OLD", requested_at=now - timedelta(days=40))
    world.request(7, "SOON", requested_at=now - timedelta(days=27))
    world.request(7, "NEW", requested_at=now)
    world.request(7, "FAILED", requested_at=now - timedelta(days=50), status="failed")
    world.request(7, "DONE", requested_at=now - timedelta(days=60), status="completed")

    with world.services() as services:
        state = read_state(services.controller)

    assert state.requests == {
        "pending": 3,
        "processing": 0,
        "completed": 1,
        "failed": 1,
        "cancelled": 0,
    }
    assert (state.overdue, state.nearly_due) == (2, 1)
    assert abs(state.oldest_pending_seconds - 40 * 86400) < 120


def test_state_of_what_is_due_leaves_out_held_and_backing_off_whose_deadline_still_counts(
    world: World,
) -> None:
    now = datetime.now(UTC)
    world.people(Person(7, runs=1))
    world.request(7, "HELD", requested_at=now - timedelta(days=27))
    world.request(7, "LATER", requested_at=now - timedelta(days=20))
    world.update("LATER", next_attempt_at=now + timedelta(hours=1))
    world.request(7, "AGAIN", requested_at=now - timedelta(days=10))
    world.update("AGAIN", next_attempt_at=now - timedelta(hours=2))

    with world.services() as services:
        Cases(services.controller).hold("HELD", reason="asked for proof")
        first = read_state(services.controller)
        Cases(services.controller).resume("HELD")
        world.update("AGAIN", next_attempt_at=now + timedelta(hours=2))
        second = read_state(services.controller)
        world.request(7, "APPLICATION", requested_at=now - timedelta(days=3))
        third = read_state(services.controller)

    assert (first.nearly_due, first.overdue) == (1, 0)
    assert abs(first.oldest_pending_seconds - 2 * 3600) < 120
    assert second.oldest_pending_seconds < 120
    assert abs(third.oldest_pending_seconds - 3 * 86400) < 120


def test_state_with_a_date_that_is_none_still_counts(sqlite_world: World) -> None:
    sqlite_world.request(7, "BAD")
    with sqlite_world.begin() as connection:
        connection.exec_driver_sql("UPDATE dsar_requests SET requested_at = '0000 soon'")

    with sqlite_world.services() as services:
        state = read_state(services.controller)

    assert state.requests["pending"] == 1
    assert state.oldest_pending_seconds == 0


# -- the book and its textfile -----------------------------------------------------------------


def news() -> Book:
    book = Book()
    book.set("dsar_requests", 4, "pending")
    book.add("dsar_attempts_total", 2, "retried")
    book.observe("dsar_sweep_duration_seconds", 3.0)
    return book


def test_book_is_the_same_in_another_process() -> None:
    assert Book.of_list(json.loads(json.dumps(news().as_list()))).values == news().values


def test_outcomes_counted_are_the_model_s() -> None:
    named = {value for name, value in vars(DSARAttempt).items() if name.startswith("OUTCOME_")}
    assert named - set(OUTCOMES) == {DSARAttempt.OUTCOME_RUNNING, DSARAttempt.OUTCOME_LOST}


def test_book_is_read_as_it_was_written() -> None:
    book = news()

    again = read_book(exposition(book.collect).decode())

    wanted = {key: value for key, value in again.values.items() if key in book.values}
    assert wanted == book.values
    assert exposition(again.collect) == exposition(book.collect)


def test_textfile_counters_go_on_and_gauges_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "dsar.prom"
    before = os.umask(0o077)
    try:
        for _ in range(3):
            add_to_textfile(path, news())
    finally:
        os.umask(before)

    found = read_book(path.read_text()).values
    assert found["dsar_requests", ("pending",)] == 4
    assert found["dsar_attempts_total", ("retried",)] == 6
    assert found["dsar_sweep_duration_seconds_bucket", ("1",)] == 0
    assert found["dsar_sweep_duration_seconds_bucket", ("+Inf",)] == 3
    assert found["dsar_sweep_duration_seconds_sum", ()] == 9
    assert found["dsar_sweep_last_success_timestamp_seconds", ()] == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == ["dsar.prom"]


@pytest.mark.parametrize("content", [b"not { metrics", b"\xff\xfe", b""])
def test_textfile_that_cannot_be_read_starts_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dsar.prom"
    path.write_bytes(content)

    add_to_textfile(path, news())

    assert read_book(path.read_text()).values["dsar_attempts_total", ("retried",)] == 2


def test_textfile_failed_replacement_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dsar.prom"
    add_to_textfile(path, news())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        add_to_textfile(path, news())

    assert read_book(path.read_text()).values["dsar_attempts_total", ("retried",)] == 2
    assert os.listdir(tmp_path) == ["dsar.prom"]


def test_textfile_of_two_writers_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "dsar.prom"
    code = (
        "from pathlib import Path; from scheduler.metrics import Book, add_to_textfile\n"
        f"for _ in range(20):\n b = Book(); b.add('dsar_reclaims_total', 1)\n"
        f" add_to_textfile(Path({str(path)!r}), b)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code], cwd=CHECKOUT_ROOT) for _ in range(2)]

    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert read_book(path.read_text()).values["dsar_reclaims_total", ()] == 40


# -- a scheduler's -----------------------------------------------------------------------------


def swept(world: World, settings: Settings, **result: Any) -> Book:
    """What a textfile holds after one sweep of that result."""
    with world.services() as services:
        Metrics(settings).add(measure(services, SweepResult("s", **result))[0])
    assert settings.metrics_textfile is not None
    return read_book(settings.metrics_textfile.read_text())


def test_sweep_is_counted_from_the_trail(world: World) -> None:
    world.people(Person(7, runs=3))
    world.request(7, "A")
    world.request(7, "B")
    world.request(None, "NOBODY")
    path = world.root / "dsar.prom"

    done = world.sweep("--workers", "2", metrics_textfile=path)

    assert (done.json["completed"], done.json["failed"]) == (2, 1), done.stderr
    found = read_book(path.read_text()).values
    assert found["dsar_attempts_total", ("completed",)] == 2
    assert found["dsar_attempts_total", ("failed",)] == 1
    assert found["dsar_attempt_errors_total", ("subject_missing",)] == 1
    sizes = sum(row["export_bytes_size"] or 0 for row in world.rows())
    assert found["dsar_exported_bytes_total", ()] == sizes
    assert found["dsar_exported_rows_total", ()] > 6
    assert found["dsar_export_duration_seconds_bucket", ("+Inf",)] == 2
    assert found["dsar_requests", ("failed",)] == 1
    assert found["dsar_sweeps_total", ("succeeded",)] == 1
    assert found["dsar_sweep_last_success_timestamp_seconds", ()] > 1e9
    assert found["dsar_store_free_bytes", ()] > 0
    text = path.read_text()
    assert "NOBODY" not in text and "user" not in text


def test_sweep_in_trouble_keeps_the_last_success(sqlite_world: World, tmp_path: Path) -> None:
    settings = sqlite_world.settings(metrics_textfile=tmp_path / "dsar.prom")
    first = swept(sqlite_world, settings)

    second = swept(sqlite_world, settings, reclaimed=2, trouble=Trouble("disk_full", "no room"))

    name = "dsar_sweep_last_success_timestamp_seconds"
    assert second.values[name, ()] == first.values[name, ()] > 0
    assert second.values["dsar_sweeps_total", ("ended_early",)] == 1
    assert second.values["dsar_sweep_troubles_total", ("disk_full",)] == 1
    assert second.values["dsar_reclaims_total", ()] == 2


def test_sweep_lost_claims_are_lease_losses(sqlite_world: World, tmp_path: Path) -> None:
    world = sqlite_world
    world.people(Person(7, runs=1))
    world.request(7, "A")
    with world.services() as services:
        claim = services.claims.claim_due(datetime.now(UTC), worker="w", sweep_id="s")
        assert claim is not None
        world.dsar("cancel", "A")
        services.claims.abandon(claim)

    settings = world.settings(metrics_textfile=tmp_path / "dsar.prom")
    found = swept(world, settings, tally=Tally(claimed=1, superseded=1)).values

    assert found["dsar_attempts_total", ("superseded",)] == 1
    assert found["dsar_lease_losses_total", ()] == 1


def test_sweep_that_raises_is_counted(sqlite_world: World, tmp_path: Path) -> None:
    path = tmp_path / "dsar.prom"
    metrics = Metrics(sqlite_world.settings(metrics_textfile=path))

    metrics.sweep_failed(SchemaError.code)

    found = read_book(path.read_text()).values
    assert found["dsar_sweep_troubles_total", ("schema_not_migrated",)] == 1


def test_metrics_that_cannot_be_written_end_no_sweep(sqlite_world: World) -> None:
    sqlite_world.people(Person(7, runs=1))
    sqlite_world.request(7, "A")

    done = sqlite_world.sweep(metrics_textfile="/nonexistent/dsar.prom")

    assert (done.returncode, done.json["completed"]) == (0, 1)
    last = done.logs[-1]
    assert (last["event"], last["error_class"]) == ("metrics_not_written", "FileNotFoundError")


def test_state_is_read_a_hundredth_of_the_time(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        seconds = 0.0

        def now(self) -> datetime:
            return datetime.now(UTC)

        def monotonic(self) -> float:
            Clock.seconds += 1.0  # each look a second later: a read takes one
            return Clock.seconds

    reads: list[object] = []

    def counted(control: Any, zone: Any) -> Any:
        reads.append(control)
        return read_state(control, zone=zone)

    monkeypatch.setattr("scheduler.measuring.read_state", counted)
    sqlite_world.clock = Clock()
    due_at = 0.0
    with sqlite_world.services() as services:
        for _ in range(150):
            _, due_at = measure(services, SweepResult("s"), state_due_at=due_at)

    assert len(reads) == 2


def test_off_by_default_and_without_the_library(sqlite_world: World) -> None:
    code = (
        "import sys; import scheduler.cli, scheduler.service, backend.cli.dsar_commands\n"
        "from scheduler.metrics import Metrics; from backend.settings import load_settings\n"
        "Metrics(load_settings()); sys.exit('prometheus_client' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT_ROOT, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("key", ["metrics_textfile", "metrics_listen"])
def test_wanted_without_the_library_names_the_extra(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    values = {"metrics_textfile": "/x/dsar.prom", "metrics_listen": "127.0.0.1:9464"}
    settings = sqlite_world.settings(**{key: values[key]})

    with pytest.raises(ConfigurationError, match=rf"DSAR_{key.upper()}.*levqor-dsar\[metrics\]"):
        Metrics(settings)


# -- listening ---------------------------------------------------------------------------------


def listening(world: World, address: str) -> Iterator[Metrics]:
    metrics = Metrics(world.settings(metrics_listen=address))
    metrics.listen(lambda: True, lambda: False)
    try:
        yield metrics
    finally:
        metrics.close()


def test_listener_on_a_port_answers_reads_only(sqlite_world: World) -> None:
    address = f"127.0.0.1:{free_port()}"
    for metrics in listening(sqlite_world, address):
        with sqlite_world.services() as services:
            metrics.add(measure(services, SweepResult("s"))[0])
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            found = read_book(answer.read().decode()).values
        assert found["dsar_scheduler_healthy", ()] == 1
        assert found["dsar_scheduler_sweeping", ()] == 0
        assert found["dsar_sweeps_total", ("succeeded",)] == 1
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://{address}/metrics", data=b"x", timeout=10)
        assert refused.value.code == 405
        refused.value.close()
        with pytest.raises(ConfigurationError, match=r"DSAR_METRICS_LISTEN.*in use"):
            Metrics(sqlite_world.settings(metrics_listen=address)).listen(bool, bool)


def ask(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(10)
        channel.connect(str(path))
        channel.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = b""
        while block := channel.recv(65536):
            answer += block
    return answer.decode()


def test_listener_on_a_socket_answers_and_leaves_nothing(
    sqlite_world: World, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.sock"
    # What a killed process leaves behind.
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    for _ in listening(sqlite_world, f"unix:{path}"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        answer = ask(path)
        assert answer.startswith("HTTP/1.0 200")
        assert "dsar_sweep_last_success_timestamp_seconds 0.0" in answer
        with pytest.raises(ConfigurationError, match="in use"):
            Metrics(sqlite_world.settings(metrics_listen=f"unix:{path}")).listen(bool, bool)
        assert "200" in ask(path)

    assert not path.exists()


def test_listener_a_file_in_its_place_stays(sqlite_world: World, tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    path.write_text("mine")

    with pytest.raises(ConfigurationError, match="DSAR_METRICS_LISTEN"):
        Metrics(sqlite_world.settings(metrics_listen=f"unix:{path}")).listen(bool, bool)

    assert path.read_text() == "mine"


def test_listener_a_scraper_that_hangs_up_prints_nothing(
    sqlite_world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("wsgiref").debug("loaded")
    path = tmp_path / "metrics.sock"
    for _ in listening(sqlite_world, f"unix:{path}"):
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(str(path))
            channel.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert "200" in ask(path)
    assert capfd.readouterr().err == ""


# -- deploy/monitoring -------------------------------------------------------------------------


def real_output(world: World) -> str:
    """Everything that can be exposed, as a scheduler exposes it."""
    book = Book()
    for name, metric in METRICS.items():
        if metric.kind == GAUGE:
            book.set(name, 1, *("x" for _ in metric.labels))
        elif metric.labels:
            book.add(name, 1, *("x" for _ in metric.labels))
    return exposition(book.collect).decode()


def sample_names(text: str) -> set[str]:
    return set(re.findall(r"^(\w+)[{ ]", text, re.MULTILINE))


def named(text: str) -> set[str]:
    return set(re.findall(r"\bdsar_[a-z_]+", text))


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "rules", str(MONITORING / "dsar.rules.yml")],
        ["test", "rules", str(MONITORING / "dsar.rules.test.yml")],
    ],
)
def test_rules_pass_promtool(arguments: list[str]) -> None:
    done = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_output_passes_promtool(sqlite_world: World) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=real_output(sqlite_world),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_rules_name_only_metrics_that_exist(sqlite_world: World) -> None:
    names = sample_names(real_output(sqlite_world))

    for file in ("dsar.rules.yml", "dsar.rules.test.yml"):
        expressions = re.sub(r"[\w/.-]*RUNBOOK.md#\w+", "", (MONITORING / file).read_text())
        assert named(expressions) <= names, file


def test_rules_each_alert_is_tested_and_in_the_runbook() -> None:
    rules = (MONITORING / "dsar.rules.yml").read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    tests = (MONITORING / "dsar.rules.test.yml").read_text()
    runbook = (MONITORING.parent / "RUNBOOK.md").read_text()

    assert set(re.findall(r"alertname: (\w+)", tests)) == set(alerts)
    chapter = runbook.split("\n## Alerts\n")[1].split("\n## ")[0]
    assert re.findall(r"^### (\w+)$", chapter, re.MULTILINE) == alerts
    anchors = re.findall(r"runbook: deploy/RUNBOOK.md#(\w+)", rules)
    assert anchors == [alert.lower() for alert in alerts]


def test_dashboard_names_only_metrics_that_exist(sqlite_world: World) -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]

    used = {name for expression in expressions for name in named(expression)}
    assert used <= sample_names(real_output(sqlite_world))
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids) > 10


def test_readme_explains_every_metric() -> None:
    readme = (MONITORING / "README.md").read_text()
    rows = re.findall(r"^\| `(dsar_\w+)` \| (\w+)(.*?) \|", readme, re.MULTILINE)

    assert [(name, kind) for name, kind, _ in rows] == [
        (name, metric.kind) for name, metric in METRICS.items()
    ]
    for name, _, labels in rows:
        assert tuple(re.findall(r"`(\w+)`", labels)) == METRICS[name].labels
