"""Job processes: how the scheduler starts, stops, watches and ends them; and of which release."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from backend.clock import SYSTEM_CLOCK
from backend.settings import CHECKOUT_ROOT, load_settings, settings_passed_on
from scheduler import job_process, release
from scheduler.channel import Channel
from scheduler.job_process import DIED, DONE, FAILED, REPLACED, Outcome, run_job
from scheduler.notify import Notifier
from scheduler.pulse import Pulse
from scheduler.service import SweepService
from scheduler.shutdown import Shutdown

PROLOGUE = f"""
import os, signal, socket, sys, time
sys.path.insert(0, {str(CHECKOUT_ROOT)!r})
from scheduler.channel import Channel
channel = Channel(socket.socket(fileno=int(sys.argv[1])))
"""
ORDER = "order = channel.receive()\n"
DONE_WITH_THE_ORDER = "channel.send('done', order=order)\n"


def run(
    monkeypatch: pytest.MonkeyPatch, code: str, shutdown: Shutdown | None = None, **limits: float
) -> tuple[Outcome, Pulse]:
    """Run a job that is this code, with limits shorter than the program's."""
    monkeypatch.setattr(job_process, "COMMAND", (sys.executable, "-c", PROLOGUE + code))
    for name, seconds in limits.items():
        monkeypatch.setattr(job_process, name, seconds)
    pulse = Pulse(SYSTEM_CLOCK)
    return run_job("sweep", pulse, shutdown or Shutdown(60), settings="{}"), pulse


def test_job_gets_its_order_and_its_last_word_is_the_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcome, pulse = run(monkeypatch, ORDER + DONE_WITH_THE_ORDER)

    assert outcome.kind == DONE
    assert outcome.said["order"] == {"kind": "order", "job": "sweep", "settings": "{}"}
    assert pulse.running and pulse.healthy  # whoever called lets it rest


@pytest.mark.parametrize("end", ["sys.exit(3)", "os.kill(os.getpid(), signal.SIGKILL)", "1 / 0"])
def test_job_that_dies_without_a_word_has_died(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    outcome, _ = run(monkeypatch, f"sys.stderr = None\n{ORDER}{end}\n")

    assert outcome == Outcome(DIED)


def test_job_that_cannot_be_started_has_died(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_process, "COMMAND", ("/nonexistent/python",))

    assert run_job("sweep", Pulse(SYSTEM_CLOCK), Shutdown(60)) == Outcome(DIED)


@pytest.mark.parametrize(
    ("code", "limit"),
    [
        ("signal.pause()", {"FIRST_WORD_SECONDS": 0.5}),
        ("channel.send('beat', seconds=0.2); signal.pause()", {}),
        # Stopped, it could not even run a handler.
        ("channel.send('beat', seconds=0.2); os.kill(os.getpid(), signal.SIGSTOP)", {}),
    ],
)
def test_job_silent_past_its_time_is_killed(
    monkeypatch: pytest.MonkeyPatch, code: str, limit: dict[str, Any]
) -> None:
    outcome, _ = run(monkeypatch, code, **limit)

    assert outcome == Outcome(DIED, killed=True)


def test_job_that_does_not_end_after_its_last_word_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcome, _ = run(monkeypatch, f"{ORDER}{DONE_WITH_THE_ORDER}signal.pause()", _END_SECONDS=0.3)

    assert (outcome.kind, outcome.killed) == (DONE, True)


def test_job_is_told_each_stop_and_a_hung_one_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Shutdown(600)
    asked.request()
    asked.request()

    stops = "order = [channel.receive()['kind'] for _ in range(3)]\n"
    outcome, _ = run(monkeypatch, stops + DONE_WITH_THE_ORDER, asked)
    assert outcome.said["order"] == ["order", "stop", "stop"]

    outcome, _ = run(monkeypatch, "signal.pause()", asked, _KILL_SECONDS=0.2)
    assert outcome == Outcome(DIED, killed=True)


def test_job_survives_signals_from_its_birth_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a service manager signals every process of the service."""
    both = "for each in (signal.SIGTERM, signal.SIGINT): os.kill(os.getpid(), each)\n"
    leave = "from scheduler.shutdown import leave_signals_to_the_parent as leave; leave()\n"

    outcome, _ = run(monkeypatch, both + leave + both + ORDER + DONE_WITH_THE_ORDER)

    assert outcome.kind == DONE


def test_job_of_another_release_does_nothing() -> None:
    order = {"release": "another's", "drain_seconds": 0, "settings": "{}"}

    outcome = run_job("prune", Pulse(SYSTEM_CLOCK), Shutdown(0), **order)

    assert outcome.kind == REPLACED


def test_job_that_was_told_not_all_settings_prunes_nothing() -> None:
    """A default in place of the database's URL would name another database."""
    order = {"release": release.fingerprint(), "drain_seconds": 0, "settings": "{}"}

    outcome = run_job("prune", Pulse(SYSTEM_CLOCK), Shutdown(0), **order)

    assert (outcome.kind, outcome.said["code"]) == (FAILED, "unexpected_error")


def test_settings_passed_on_are_those_that_were_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DSAR_DATABASE_URL", "postgres://dsar:s3cret@db.example.org/app")
    monkeypatch.setenv("DSAR_EXPORT_ROOT", "s3://bucket/prefix")
    monkeypatch.setenv("DSAR_STORE_OPTIONS", "endpoint=https://a.example region=eu")
    monkeypatch.setenv("DSAR_METRICS_TEXTFILE", "/x/dsar.prom")
    read = load_settings()
    passed = read.model_dump_json()
    for name in ("DATABASE_URL", "EXPORT_ROOT", "RETENTION_DAYS", "SECTIONS_FILE"):
        monkeypatch.setenv(f"DSAR_{name}", "nonsense")
    (tmp_path / ".env").write_text("DSAR_WORKERS=nonsense\n")
    monkeypatch.chdir(tmp_path)

    assert settings_passed_on(passed).model_dump() == read.model_dump()

    values = json.loads(passed)
    del values["database_url"]
    with pytest.raises(ValueError, match="this release's"):
        settings_passed_on(json.dumps(values))


def test_channel_ends_with_the_other_side_and_keeps_no_half_word() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    theirs.sendall(b'{"kind": "beat", "seconds": 1}\n{"kind": "do')
    assert channel.receive() == {"kind": "beat", "seconds": 1}
    assert channel.receive(0) is None
    theirs.close()
    with pytest.raises(EOFError):
        channel.receive()
    assert not channel.send("stop")
    channel.close()


def test_fingerprint_changes_with_the_code_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for number in (1, 2):
        for package in ("backend", "scheduler"):
            folder = tmp_path / f"{number}" / package
            folder.mkdir(parents=True)
            (folder / "__init__.py").touch()
            os.utime(folder / "__init__.py", (number, number))
    current = tmp_path / "current"
    current.symlink_to("1")
    monkeypatch.setattr(release, "ROOT", current)
    before = release.fingerprint()
    (current / "backend" / "exports").mkdir()
    (current / "backend" / "exports" / "export.zip").touch()
    assert release.fingerprint() == before
    current.unlink()
    assert release.fingerprint() != before
    current.symlink_to("2")
    assert release.fingerprint() != before


def test_service_whose_report_raises_lets_its_pulse_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    service = SweepService(Shutdown(60), Notifier({}), workers=None)
    code = PROLOGUE + ORDER + DONE_WITH_THE_ORDER
    monkeypatch.setattr(job_process, "COMMAND", (sys.executable, "-c", code))
    pulse = Pulse(SYSTEM_CLOCK)
    ended: list[Outcome] = []

    def raising(outcome: Outcome) -> None:
        ended.append(outcome)
        raise ValueError("a report")

    service._job("sweep", pulse, raising)

    assert [each.kind for each in ended] == [DONE]
    assert not pulse.running
