"""A clock that is set back or forward, and a host that was suspended, delay no sweep."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backend.clock import SystemClock
from backend.heartbeat import STALE_SECONDS, HeartbeatFile
from scheduler.notify import Notifier
from scheduler.service import CronTrigger, SweepService
from scheduler.shutdown import Shutdown

DAY = timedelta(days=1)


class SetClock(SystemClock):
    """The host's clock, off by so much."""

    def __init__(self) -> None:
        self.off = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.off


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def service(clock: SetClock) -> Iterator[SweepService]:
    """A service whose jobs are planned and never run: APScheduler is paused."""
    made = SweepService(Shutdown(60), Notifier({}), workers=None, clock=clock)
    made._scheduler.start(paused=True)
    for name, cron in (("sweep", "*/5 * * * *"), ("prune", "17 3 * * *")):
        trigger = CronTrigger(cron)
        made._scheduler.add_job(
            lambda: None,
            trigger,
            id=name,
            next_run_time=trigger.get_next_fire_time(None, clock.now()),
        )
    yield made
    made._scheduler.shutdown(wait=False)


def planned(service: SweepService, job: str = "sweep") -> datetime:
    moment: datetime = service._scheduler.get_job(job).next_run_time
    return moment


def test_clock_that_goes_as_it_should_changes_no_plan(service: SweepService) -> None:
    before = planned(service), planned(service, "prune")
    service._follow_the_clock()
    assert (planned(service), planned(service, "prune")) == before
    assert service._is_healthy()


@pytest.mark.parametrize("back", [timedelta(minutes=20), DAY, 400 * DAY])
def test_clock_that_is_set_back_is_noticed_and_followed(
    service: SweepService, clock: SetClock, back: timedelta
) -> None:
    clock.off = -back
    assert not service._is_healthy()

    service._follow_the_clock()

    assert service._is_healthy()
    assert planned(service) - clock.now() <= timedelta(minutes=5)
    assert planned(service, "prune") - clock.now() <= DAY


@pytest.mark.parametrize("forward", [timedelta(minutes=20), DAY])
def test_clock_that_is_set_forward_wakes_the_scheduler(
    service: SweepService, clock: SetClock, monkeypatch: pytest.MonkeyPatch, forward: timedelta
) -> None:
    woken: list[bool] = []
    monkeypatch.setattr(service._scheduler, "wakeup", lambda: woken.append(True))
    service._follow_the_clock()
    assert not woken
    clock.off = forward
    assert not service._is_healthy()

    service._follow_the_clock()

    assert woken


def test_service_looks_at_the_clock_as_long_as_it_runs(
    service: SweepService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looks: list[str] = []
    turns = iter([False, False, True])
    monkeypatch.setattr(service, "_start", lambda: _Told(tmp_path / "run" / "heartbeat"))
    monkeypatch.setattr(service, "_schedule", lambda cron: None)
    monkeypatch.setattr(service, "_drain", lambda: None)
    monkeypatch.setattr(service, "_follow_the_clock", lambda: looks.append("clock"))
    monkeypatch.setattr("scheduler.service.reap_inherited", lambda: looks.append("reap"))
    monkeypatch.setattr(service._shutdown, "wait", lambda seconds: next(turns))

    assert service.run() == 0
    assert looks == ["clock", "reap"] * 2


class _Told:
    """The settings that a service goes by, without metrics."""

    sweep_cron, workers, min_free_bytes = "*/5 * * * *", 1, 0
    metrics_textfile = metrics_listen = None

    def __init__(self, heartbeat_path: Path) -> None:
        self.heartbeat_path = heartbeat_path


def test_heartbeat_from_before_the_clock_was_set_back_is_stale(tmp_path: Path) -> None:
    heartbeat = HeartbeatFile(tmp_path / "run" / "heartbeat")
    heartbeat.prepare()
    age = heartbeat.age_seconds()
    assert age is not None and age < STALE_SECONDS

    ahead = time.time() + DAY.total_seconds()
    os.utime(tmp_path / "run" / "heartbeat", (ahead, ahead))

    age = heartbeat.age_seconds()
    assert age is not None and age > STALE_SECONDS
    assert datetime.now(UTC).timestamp() < ahead
