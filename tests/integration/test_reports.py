"""dsar report: on every database the same figures, and nobody in them."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from base64 import b64encode
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from backend.clock import SYSTEM_CLOCK
from backend.models import DSARAttempt
from backend.services.report import Period, make_report
from backend.services.report_page import render
from tests.factories import table
from tests.harness import World

MARCH = Period(date(2026, 3, 1), date(2026, 3, 31), UTC)


def at(day: int, hour: int = 12, month: int = 3) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


def attempt(world: World, number: int, outcome: str, **values: Any) -> None:
    row = {
        "request_id": number,
        "claim_token": 1,
        "attempt": 1,
        "worker": "a-host:1",
        "started_at": at(5),
        "outcome": outcome,
    }
    with world.begin() as connection:
        connection.execute(sa.insert(table(DSARAttempt)).values(**row | values))


def fill(world: World) -> None:
    done = {"status": "completed"}
    world.request(4711, "SECRET-1", requested_at=at(2), completed_at=at(4), **done)
    # Completed in time, handed over late: the hand-over decides.
    handed = {"delivered_at": at(3, month=4), "hold_reason": "hush", "held_seconds": 60}
    world.request(4711, "SECRET-2", requested_at=at(2), completed_at=at(4), **done, **handed)
    late = {"completed_at": at(20, month=5)}
    world.request(4711, "SECRET-3", requested_at=at(10), **done, **late)
    world.request(4711, "SECRET-4", requested_at=at(10), **done, **late, extension_months=2)
    # Being exported again: it stays answered.
    again = {"status": "processing", "claimed_from": "completed"}
    world.request(4711, "SECRET-5", requested_at=at(31, 23), completed_at=at(1, month=4), **again)
    world.request(4711, "SECRET-6", requested_at=at(11), status="failed")
    world.request(4711, "SECRET-7", requested_at=at(12), status="cancelled")
    world.request(4711, "SECRET-8", requested_at=at(12), **done)  # adopted without a date
    world.request(4711, "BEFORE", requested_at=at(28, month=2))
    world.request(4711, "AFTER", requested_at=at(1, 0, month=4))
    for number, milliseconds in enumerate((100, 200, 4000), start=1):
        attempt(world, number, "completed", duration_ms=milliseconds)
    attempt(world, 4, "retried", error_code="disk_full", duration_ms=7)
    attempt(world, 5, "failed", error_code="disk_full")
    attempt(world, 6, "lost", error_code="worker_lost")
    attempt(world, 7, "released", error_code="drained")
    attempt(world, 8, "completed", started_at=at(5, month=4), duration_ms=1)


def test_report_counts_what_became_of_each_request(world: World) -> None:
    fill(world)
    report = make_report(world.database_url, SYSTEM_CLOCK, MARCH).as_dict()
    total = report["requests"]
    assert {name: total[name] for name in ("received", "answered", "on_time", "late")} == {
        "received": 8,
        "answered": 6,
        "on_time": 3,
        "late": 2,
    }
    assert (total["open"], total["overdue"], total["cancelled"]) == (1, 1, 1)
    assert (total["extended"], total["held"], total["delivered"]) == (1, 1, 1)
    assert total["on_time_rate"] == 0.5
    assert total["receipt_to_completion_days"] == {
        "count": 5,
        "median": 2.0,
        "p90": 70.95,  # to three figures of its seconds
        "max": 71.0,
    }
    assert total["receipt_to_delivery_days"]["max"] == 32.0
    assert report["attempts"] == {
        "completed": 3,
        "failed": 1,
        "lost": 1,
        "released": 1,
        "retried": 1,
    }
    assert report["failures"] == {"disk_full": 2, "worker_lost": 1}
    assert report["export_seconds"] == {"count": 3, "median": 0.2, "p90": 4.0, "max": 4.0}
    weeks = {each["from"]: each["received"] for each in report["buckets"]}
    assert weeks == {
        "2026-03-01": 0,
        "2026-03-02": 2,
        "2026-03-09": 5,
        "2026-03-16": 0,
        "2026-03-23": 0,
        "2026-03-30": 1,
    }


def test_report_of_a_longer_period_goes_by_month(sqlite_world: World) -> None:
    fill(sqlite_world)
    period = Period(date(2026, 1, 1), date(2026, 12, 31), UTC)
    report = make_report(sqlite_world.database_url, SYSTEM_CLOCK, period).as_dict()
    assert report["by"] == "month" and len(report["buckets"]) == 12
    assert [each["received"] for each in report["buckets"]][:5] == [0, 1, 8, 1, 0]


def test_report_passes_over_what_is_no_date(sqlite_world: World) -> None:
    fill(sqlite_world)
    with sqlite_world.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE dsar_requests SET requested_at = '2026-03-05 at noon' "
            "WHERE gdpr_reference_id = 'SECRET-1'"
        )
    report = make_report(sqlite_world.database_url, SYSTEM_CLOCK, MARCH)
    assert report.total.received == 7


def test_report_in_every_form_names_nobody(sqlite_world: World, tmp_path: Any) -> None:
    world = sqlite_world
    fill(world)
    page = tmp_path / "march.html"
    written = world.dsar("report", "--month", "2026-03", "-o", str(page))
    assert (written.returncode, written.json["format"]) == (0, "html"), written.stderr
    as_json = world.dsar("report", "--from", "2026-03-01", "--to", "2026-03-31")
    as_csv = world.dsar("report", "--month", "2026-03", "--format", "csv")
    lines = list(csv.DictReader(as_csv.stdout.splitlines()))
    assert [line["received"] for line in lines] == ["0", "2", "5", "0", "0", "1", "8"]
    assert (lines[-1]["week_from"], lines[-1]["on_time_rate"]) == ("total", "0.5")
    assert as_json.json["requests"]["received"] == 8
    for text in (page.read_text(), as_json.stdout, as_csv.stdout):
        for secret in ("SECRET", "4711", "hush", "a-host"):
            assert secret not in text
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_report_page_calls_nobody_and_escapes(sqlite_world: World) -> None:
    fill(sqlite_world)
    attempt(sqlite_world, 9, "failed", error_code="<script>alert(1)</script>")
    text = render(make_report(sqlite_world.database_url, SYSTEM_CLOCK, MARCH))
    assert "<script" not in text and "&lt;script&gt;" in text
    assert not re.search(r"(src|href)=|https?:|url\(|@import|\sstyle=|\son\w+=", text)
    style = re.search(r"<style>(.*)</style>", text, re.DOTALL)
    assert style is not None
    digest = b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in text.replace("&#39;", "'")
    assert 'class="overdue"' in text and "March" not in text


def test_report_of_a_period_without_requests(sqlite_world: World) -> None:
    empty = make_report(sqlite_world.database_url, SYSTEM_CLOCK, MARCH)
    assert empty.as_dict()["requests"]["on_time_rate"] is None
    assert "No request was received in this period" in render(empty)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--month", "2026-13"], "--month"),
        (["--month", "2026-03", "--year", "2026"], "one of"),
        (["--to", "2026-03-01"], "--from"),
        (["--from", "2026-03-02", "--to", "2026-03-01"], "before it begins"),
        (["--format", "table", "-o", "x"], "terminal"),
        (["-o", "/nonexistent/x.html"], "cannot be written"),
    ],
)
def test_report_bad_arguments_exit_with_two(
    sqlite_world: World, arguments: list[str], word: str
) -> None:
    done = sqlite_world.dsar("report", *arguments)
    assert (done.returncode, word in done.stderr) == (2, True), done.stderr


def test_report_without_arguments_is_of_this_month(sqlite_world: World) -> None:
    sqlite_world.request(7, "R", requested_at=datetime.now(UTC))
    sqlite_world.request(7, "OLD", requested_at=datetime.now(UTC) - timedelta(days=32))
    assert json.loads(sqlite_world.dsar("report").stdout)["requests"]["received"] == 1
