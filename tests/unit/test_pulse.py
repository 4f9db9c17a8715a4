"""The scheduler's small parts: shutdown, pulse, heartbeat file, notifications, tickets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backend.errors import SettingsError
from backend.heartbeat import HeartbeatFile
from scheduler.notify import Notifier
from scheduler.pulse import Pulse
from scheduler.shutdown import Shutdown
from scheduler.sweep import Tally
from scheduler.workers import counting_tickets


class FakeClock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


def test_shutdown_first_request_gives_the_grace_second_none() -> None:
    clock = FakeClock()
    shutdown = Shutdown(60, clock)
    assert not shutdown.requested and not shutdown.must_stop()
    assert shutdown.overdue_by() == 0
    shutdown.request()
    assert shutdown.requested and not shutdown.must_stop()
    clock.seconds += 61
    assert shutdown.must_stop()
    assert shutdown.overdue_by() == 0
    clock.seconds += 5
    assert shutdown.overdue_by() == 5
    again = Shutdown(60, clock)
    again.request()
    again.request()
    assert again.must_stop() and again.times == 2
    assert again.wait(0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_shutdown_in_a_process_is_asked_by_signal_and_forced_in_the_end(
    number: signal.Signals,
) -> None:
    """A program that ignores the flag is ended all the same."""
    program = (
        "import scheduler.shutdown as s, time; s.FORCE_SECONDS = 0.2; "
        "x = s.Shutdown(0.1); x.install(); print('ready', flush=True); time.sleep(60); "
        "time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.wait(30) == 70
    process.stdout.close()


def test_pulse_is_healthy_until_a_beat_is_overdue() -> None:
    clock = FakeClock()
    pulse = Pulse(clock)
    assert pulse.healthy and not pulse.running
    pulse.beat(10)
    clock.seconds += 10
    assert pulse.healthy and pulse.running
    clock.seconds += 1
    assert not pulse.healthy
    pulse.beat(7200)
    clock.seconds += 7000
    assert pulse.healthy
    pulse.rest()
    clock.seconds += 99999
    assert pulse.healthy and not pulse.running


def test_heartbeat_file_tells_its_age(tmp_path: Path) -> None:
    path = tmp_path / "run" / "heartbeat"
    heartbeat = HeartbeatFile(path)
    assert heartbeat.age_seconds() is None
    heartbeat.prepare()
    age = heartbeat.age_seconds()
    assert age is not None and age < 30
    os.utime(path, (time.time() - 500, time.time() - 500))
    old = heartbeat.age_seconds()
    assert old is not None and old > 400
    heartbeat.remove()
    heartbeat.remove()
    assert heartbeat.age_seconds() is None


def test_heartbeat_file_that_cannot_be_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="DSAR_HEARTBEAT_PATH"):
        HeartbeatFile(tmp_path / "file" / "heartbeat").prepare()


def test_heartbeat_file_follows_no_planted_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (tmp_path / "heartbeat").symlink_to(victim)
    with pytest.raises(SettingsError, match="DSAR_HEARTBEAT_PATH"):
        HeartbeatFile(tmp_path / "heartbeat").prepare()
    assert not victim.exists()
    assert HeartbeatFile(tmp_path / "heartbeat").age_seconds() is None


@pytest.mark.parametrize("abstract", [False, True])
def test_notifier_speaks_the_protocol(tmp_path: Path, abstract: bool) -> None:
    name = f"@dsar-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind("\0" + name[1:] if abstract else name)
        server.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000000"})
        notifier.ready("fine")
        assert server.recv(999) == b"READY=1\nSTATUS=fine"
        notifier.alive()
        assert server.recv(999) == b"WATCHDOG=1"
        notifier.stopping()
        assert server.recv(999) == b"STOPPING=1"
        assert notifier.watchdog_seconds == 3


def test_notifier_without_a_manager_is_silent() -> None:
    notifier = Notifier({})
    notifier.ready("x")
    assert notifier.watchdog_seconds is None
    assert Notifier({"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}).watchdog_seconds is None
    Notifier({"NOTIFY_SOCKET": "/nonexistent/socket"}).alive()


def test_tickets_run_out() -> None:
    take = counting_tickets(2)
    assert [take(), take(), take()] == [True, True, False]
    assert all(counting_tickets(None)() for _ in range(9))


def test_tally_counts_each_claim_once() -> None:
    tally = Tally().plus("completed").plus("failed").plus(None)
    assert (tally.claimed, tally.completed, tally.failed) == (3, 1, 1)
    assert (tally + tally).claimed == 6
