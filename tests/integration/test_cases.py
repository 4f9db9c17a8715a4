"""The case around the export: extension, hold, hand-over, legal hold, and who is late."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from freezegun import freeze_time

from backend.errors import BusyError, RequestNotFound, UsageError, WrongState
from backend.failures import Failure, Kind
from backend.services.assembly import Services
from backend.services.cases import Cases
from backend.services.deadlines import due_at
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.open_requests import deadline_counts
from backend.services.outlook import look
from backend.services.requests import Requests
from backend.services.retention import Retention
from tests.factories import Person
from tests.harness import REQUESTS, World, members

BERLIN = ZoneInfo("Europe/Berlin")


def now_of(services: Services) -> datetime:
    with services.controller.begin() as connection:
        return services.controller.now(connection)


def cases_of(services: Services, zone: Any = UTC) -> Cases:
    return Cases(services.controller, zone=zone)


# -- deadlines ---------------------------------------------------------------------------------


def test_extend_adds_two_months_once_and_keeps_the_reason(sqlite_world: World) -> None:
    world = sqlite_world
    world.request(7, "R", requested_at=datetime(2027, 12, 31, 12, tzinfo=UTC))
    with freeze_time("2028-01-31 23:59:58"), world.services() as services:
        cases = cases_of(services)
        extended = cases.extend("R", reason=" eleven requests at once ")
        with pytest.raises(WrongState, match=r"2028-01-31.*one extension"):
            cases.extend("R", reason="again")
    assert extended.due_at == datetime(2028, 3, 31, 23, 59, 59, tzinfo=UTC)
    assert (extended.extension_months, extended.urgency) == (2, "in time")
    assert extended.extension_reason == "eleven requests at once"
    assert extended.extended_at == datetime(2028, 1, 31, 23, 59, 58, tzinfo=UTC)


def test_extend_after_the_first_month_is_refused_in_the_controllers_zone(
    sqlite_world: World,
) -> None:
    world = sqlite_world
    world.request(7, "R", requested_at=datetime(2026, 1, 31, 12, tzinfo=UTC))
    # In Berlin it is past midnight, in London not yet.
    with freeze_time("2026-02-28 23:30:00"), world.services() as services:
        with pytest.raises(WrongState, match="first month of R ended on 2026-02-28"):
            cases_of(services, BERLIN).extend("R", reason="late")
        assert cases_of(services).extend("R", reason="late", months=1).extension_months == 1


def test_extend_of_what_cannot_be_extended_is_refused(sqlite_world: World) -> None:
    world = sqlite_world
    now = datetime.now(UTC)
    world.request(7, "CANCELLED", status="cancelled", requested_at=now)
    world.request(7, "HANDED", status="completed", requested_at=now, delivered_at=now)
    world.request(7, "NEVER", requested_at=None)
    with world.services() as services:
        cases = cases_of(services)
        for reference, words in (
            ("CANCELLED", "cancelled"),
            ("HANDED", "handed over"),
            ("NEVER", "day of receipt"),
        ):
            with pytest.raises(WrongState, match=words):
                cases.extend(reference, reason="x")
        with pytest.raises(RequestNotFound):
            cases.extend("NONE", reason="x")
        for reason, months in ((" ", 2), ("x" * 1001, 2), ("x", 3), ("x", 0)):
            with pytest.raises(UsageError):
                cases.extend("CANCELLED", reason=reason, months=months)
    assert all(row["extended_at"] is None for row in world.rows())


def test_deadline_counts_agree_with_each_requests_urgency(world: World) -> None:
    now = datetime.now(UTC)
    statuses = ("pending", "processing", "failed", "completed", "cancelled")
    with world.begin() as connection:
        connection.execute(
            sa.insert(REQUESTS),
            [
                {
                    "user_id": 7,
                    "gdpr_reference_id": f"R-{days}-{months}",
                    "status": statuses[(days + months) % 5],
                    "requested_at": now - timedelta(days=days, hours=days % 24),
                    "extension_months": months,
                    "lease_expires_at": now + timedelta(hours=1),
                }
                for days in range(120)
                for months in range(3)
            ],
        )
    world.request(7, "UNDATED", requested_at=None)
    with world.services() as services:
        listed = Requests(services.controller, zone=BERLIN).list(statuses=None, limit=1000)
        counted = deadline_counts(services.controller, zone=BERLIN)
    told = [each.urgency for each in listed]
    assert counted.nearly_due == told.count("nearly due") > 0
    assert counted.overdue == told.count("overdue") > 0
    assert told.count("in time") > 0 and told.count(None) == 1


def test_deadline_counts_of_an_empty_database_are_nought(world: World) -> None:
    with world.services() as services:
        assert deadline_counts(services.controller) == (0, 0)


def test_sweep_tells_what_is_late_and_nothing_else(sqlite_world: World) -> None:
    world = sqlite_world
    assert world.sweep().logs == []
    now = datetime.now(UTC)
    world.request(None, "SOON", requested_at=now - timedelta(days=27), status="failed")
    done = world.sweep()
    assert (done.json["nearly_due"], done.json["overdue"]) == (1, 0)
    assert [(log["event"], log["level"]) for log in done.logs] == [("requests_nearly_due", "info")]
    world.request(None, "LATE", requested_at=now - timedelta(days=40), status="failed")
    done = world.sweep()
    (log,) = done.logs
    assert (log["event"], log["level"]) == ("requests_overdue", "warning")
    assert (log["nearly_due"], log["overdue"]) == (1, 1)


# -- whose turn it is --------------------------------------------------------------------------


def test_claim_old_request_that_fails_each_time_starves_nobody(world: World) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    failure = Failure(code="query_failed", kind=Kind.TRANSIENT, error_class="X", error_at="m:f:1")
    for number in range(4):
        world.request(7, f"R-{number}", requested_at=start + timedelta(days=number))

    def sweep(services: Services) -> list[str | None]:
        cutoff = now_of(services)
        met = []
        while claim := services.claims.claim_due(cutoff, worker="w:1"):
            met.append(claim.reference_id)
            if claim.reference_id == "R-0":
                services.claims.dispose(claim, failure, permanent=False)
            else:
                services.claims.dispose(claim, failure, permanent=True)
        return met

    with world.services() as services:
        assert sweep(services) == ["R-0", "R-1", "R-2", "R-3"]
        # It backs off, so newer ones go first; once it is due again, the oldest is.
        world.request(7, "NEW-1", requested_at=start + timedelta(days=9))
        assert sweep(services) == ["NEW-1"]
        world.request(7, "NEW-2", requested_at=start + timedelta(days=10))
        world.update("R-0", next_attempt_at=now_of(services))
        assert sweep(services) == ["R-0", "NEW-2"]


def test_hold_keeps_a_request_from_every_claim_until_resumed(world: World) -> None:
    world.request(7, "HELD")
    with world.services() as services:
        held = cases_of(services).hold("HELD", reason="asked for a passport")
        assert held.status == "pending"
        assert held.hold_reason == f"{this_day()}: asked for a passport"
        assert held.held_at is not None and held.next_attempt_at is None
        assert not look(services.controller, prune_before=None).due
        assert services.claims.claim_due(now_of(services), worker="w:1") is None
        with pytest.raises(WrongState, match="dsar resume HELD"):
            services.claims.claim_reference("HELD", worker="w:1")
        with pytest.raises(WrongState, match="dsar resume HELD"):
            Requests(services.controller).retry("HELD")
        resumed = cases_of(services).resume("HELD")
        assert (resumed.held_at, resumed.held_seconds >= 1) == (None, True)
        claim = services.claims.claim_due(now_of(services), worker="w:1")
        assert claim is not None and claim.reference_id == "HELD"
        with pytest.raises(BusyError):
            cases_of(services).hold("HELD", reason="x")
        with pytest.raises(WrongState, match="not held"):
            cases_of(services).resume("HELD")


def test_hold_of_a_failed_request_resumes_it_from_nought(sqlite_world: World) -> None:
    world = sqlite_world
    world.request(7, "F", status="failed", attempts=5, crashes=2, last_error="worker_lost")
    with world.services() as services:
        assert cases_of(services).hold("F", reason="is it them?").last_error == "worker_lost"
        assert cases_of(services).resume("F").status == "pending"
    row = world.row("F")
    assert (row["attempts"], row["crashes"], row["last_error"]) == (0, 0, None)


def this_day() -> str:
    return datetime.now(UTC).date().isoformat()


def test_no_reason_is_lost_to_a_later_one(world: World) -> None:
    world.request(7, "R")
    with world.services() as services:
        cases = cases_of(services)
        for say in ("first", "first", "second", " second\n"):
            cases.hold("R", reason=say)
        cases.resume("R")
        held = cases.hold("R", reason="sec\nond").hold_reason
        held = cases.hold("R", reason="second").hold_reason
        for say in ("a claim", "another"):
            cases.legal_hold("R", reason=say)
            cases.release_legal_hold("R")
        kept = cases.legal_hold("R", reason="another").legal_hold_reason
        for number in range(15):
            cases.legal_hold("R", reason=f"{number}".rjust(1000, "€"))
        with pytest.raises(UsageError, match="name the place"):
            cases.legal_hold("R", reason="€" * 1000)
    assert held is not None and kept is not None
    said = ["first", "second", "sec ond", "second"]
    assert held.replace(this_day(), "DAY").split("\n") == [f"DAY: {each}" for each in said]
    said = ["a claim", "another", "another"]
    assert kept.replace(this_day(), "DAY").split("\n") == [f"DAY: {each}" for each in said]


def test_hold_does_not_move_the_deadline_but_tells_where_it_would_be(sqlite_world: World) -> None:
    world = sqlite_world
    received = datetime(2026, 3, 1, 9, tzinfo=UTC)
    world.request(7, "R", requested_at=received)
    with freeze_time("2026-03-02 10:00:00") as frozen, world.services() as services:
        cases = cases_of(services)
        cases.hold("R", reason="first")
        frozen.tick(timedelta(days=3))
        again = cases.hold("R", reason="second")
        assert again.held_at == datetime(2026, 3, 2, 10, tzinfo=UTC)
        assert again.hold_reason == "2026-03-02: first\n2026-03-05: second"
        assert again.due_if_suspended_at == due_at(received) + timedelta(days=3)
        frozen.tick(timedelta(hours=20))  # less than a day, which is not counted
        shown = Requests(services.controller).find("R").request
        assert shown.due_if_suspended_at == due_at(received) + timedelta(days=3)
        frozen.tick(-timedelta(hours=20))
        cases.resume("R")
        frozen.tick(timedelta(days=5))
        cases.hold("R", reason="third")
        frozen.tick(timedelta(days=1))
        shown = cases.resume("R")
    assert shown.held_seconds == 4 * 86400
    assert shown.due_at == due_at(received)
    assert shown.due_if_suspended_at == due_at(received) + timedelta(days=4)


@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_extend_what_is_answered_or_cancelled_is_refused(sqlite_world: World, status: str) -> None:
    sqlite_world.request(7, "R", requested_at=datetime.now(UTC), status=status)
    with sqlite_world.services() as services, pytest.raises(WrongState, match=status):
        cases_of(services).extend("R", reason="too late")


def test_requests_whose_receipt_is_no_date_are_listed_all_the_same(sqlite_world: World) -> None:
    """SQLite takes anything from an application that writes to the table."""
    world = sqlite_world
    world.people(Person(7))
    world.request(7, "GOOD")
    world.request(7, "ODD")
    with world.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE dsar_requests SET requested_at = 'soon', completed_at = 7 "
            "WHERE gdpr_reference_id = 'ODD'"
        )
    with world.services() as services:
        requests = Requests(services.controller)
        listed = {each.reference_id: each for each in requests.list(statuses=None, limit=9)}
        assert set(listed) == {"GOOD", "ODD"}
        odd = requests.find("ODD").request
        assert (odd.requested_at, odd.due_at, odd.completed_at) == (None, None, None)
        with pytest.raises(WrongState, match="no day of receipt"):
            cases_of(services).extend("ODD", reason="r")
        assert persist_dsar_export("ODD")["ok"]
        assert persist_dsar_export("GOOD")["ok"]


def test_cancel_of_a_held_request_ends_the_hold(sqlite_world: World) -> None:
    world = sqlite_world
    world.request(7, "R")
    with world.services() as services:
        cases_of(services).hold("R", reason="x")
        cancelled = Requests(services.controller).cancel("R")
        assert (cancelled.status, cancelled.held_at) == ("cancelled", None)
        with pytest.raises(WrongState, match="cancelled; only"):
            cases_of(services).hold("R", reason="x")


# -- after the export --------------------------------------------------------------------------


def test_delivered_keeps_the_first_day(sqlite_world: World) -> None:
    world = sqlite_world
    completed = datetime(2026, 3, 9, 12, tzinfo=UTC)
    world.request(7, "R", status="completed", completed_at=completed)
    with freeze_time("2026-03-12 10:00:00"), world.services() as services:
        cases = cases_of(services, BERLIN)
        for wrong in (date(2026, 3, 8), date(2026, 3, 13), datetime(2026, 3, 12, 11, tzinfo=UTC)):
            with pytest.raises(WrongState, match=r"future|before"):
                cases.delivered("R", at=wrong)
        # A day is over at its end, in Berlin an hour earlier than in London.
        assert cases.delivered("R", at=date(2026, 3, 9)).delivered_at == datetime(
            2026, 3, 9, 22, 59, 59, tzinfo=UTC
        )
        again = cases.delivered("R")
    assert again.delivered_at == datetime(2026, 3, 9, 22, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("at", [None, date(2026, 3, 12)])
def test_delivered_today_is_now(sqlite_world: World, at: date | None) -> None:
    sqlite_world.request(7, "R", status="completed")
    with freeze_time("2026-03-12 10:00:00"), sqlite_world.services() as services:
        done = cases_of(services).delivered("R", at=at)
    assert done.delivered_at == datetime(2026, 3, 12, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "error"),
    [("pending", WrongState), ("failed", WrongState), ("processing", BusyError)],
)
def test_delivered_before_completion_is_refused(
    sqlite_world: World, status: str, error: type[Exception]
) -> None:
    sqlite_world.request(7, "R", status=status)
    with sqlite_world.services() as services, pytest.raises(error):
        cases_of(services).delivered("R")


def test_legal_hold_keeps_the_file_until_released(world: World) -> None:
    world.people(Person(7, runs=1))
    for reference in ("KEPT", "GONE"):
        world.request(7, reference)
    assert world.sweep().json["completed"] == 2
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    for reference in ("KEPT", "GONE"):
        world.update(reference, exported_at=long_ago)
    with world.services() as services:
        cases = cases_of(services)
        cases.legal_hold("KEPT", reason="a complaint")
        prune = Retention(services.controller, services.claims, services.store, retention_days=30)
        assert look(services.controller, prune_before=datetime.now(UTC)).prunable
        assert prune.prune().pruned == 1
        assert not look(services.controller, prune_before=datetime.now(UTC)).prunable
        assert world.public("KEPT").exists() and not world.public("GONE").exists()
        with pytest.raises(WrongState, match="--release"):
            services.claims.claim_reference("KEPT", worker="w:1")
        with pytest.raises(WrongState, match="none to keep"):
            cases.legal_hold("GONE", reason="x")
        released = cases.release_legal_hold("KEPT")
        assert released.legal_hold_at is None
        assert released.legal_hold_reason == f"{this_day()}: a complaint"
        assert prune.prune().pruned == 1
    assert not world.public("KEPT").exists()


def test_legal_hold_before_the_export_lets_the_first_one_be_made(sqlite_world: World) -> None:
    world = sqlite_world
    world.people(Person(7, runs=1))
    world.request(7, "R", requested_at=datetime.now(UTC))
    assert world.dsar("legal-hold", "R", "--reason", "a complaint").returncode == 0
    assert world.dsar("extend", "R", "--reason", "many at once").returncode == 0
    assert world.sweep().json["completed"] == 1
    # What was written of the person is theirs.
    told = members(world.public("R"))["dsar_request.json"]
    assert told["legal_hold_reason"] == f"{this_day()}: a complaint"
    assert (told["extension_months"], told["extension_reason"]) == (2, "many at once")
    refused = world.dsar("export", "R")
    assert (refused.returncode, refused.json["error_code"]) == (1, "wrong_state")
    world.check_invariants()


@pytest.mark.parametrize(
    ("status", "error"), [("processing", BusyError), ("cancelled", WrongState)]
)
def test_legal_hold_of_nothing_to_keep_is_refused(
    sqlite_world: World, status: str, error: type[Exception]
) -> None:
    sqlite_world.request(7, "R", status=status)
    with sqlite_world.services() as services, pytest.raises(error):
        cases_of(services).legal_hold("R", reason="x")


# -- the commands ------------------------------------------------------------------------------


def test_commands_of_the_case_from_receipt_to_hand_over(sqlite_world: World) -> None:
    world = sqlite_world
    world.people(Person(7, runs=1))
    today = datetime.now(UTC).date().isoformat()
    opened = world.dsar("request", "--user-id", "7", "--reference", "R", "--received-at", today)
    assert opened.returncode == 0, opened.stderr

    extended = world.dsar("extend", "R", "--reason", "archives on tape", "--months", "1")
    assert (extended.returncode, extended.json["extension_months"]) == (0, 1)
    assert "tell the person" in extended.stderr
    assert world.dsar("hold", "R", "--reason", "whose address is it?").json["held_at"]
    assert world.sweep().json["claimed"] == 0
    listed = world.dsar("list").json["requests"][0]
    assert listed["held_at"] and listed["hold_reason"] == f"{this_day()}: whose address is it?"
    refused = world.dsar("export", "R")
    assert (refused.returncode, "dsar resume R" in refused.stderr) == (1, True)
    early = world.dsar("delivered", "R")
    assert (early.returncode, "pending" in early.stderr) == (1, True)

    assert world.dsar("resume", "R").json["held_at"] is None
    assert world.sweep().json["completed"] == 1
    handed = world.dsar("delivered", "R", "--at", today)
    assert handed.returncode == 0, handed.stderr
    assert world.dsar("delivered", "R").json["delivered_at"] == handed.json["delivered_at"]
    assert world.dsar("legal-hold", "R").returncode == 2
    wrong = world.dsar("delivered", "R", "--at", "yesterday")
    assert (wrong.returncode, "--at" in wrong.stderr) == (2, True)
    empty = world.dsar("hold", "R", "--reason", " ")
    assert (empty.returncode, empty.stderr) == (2, "error: say the reason: it is recorded\n")


def test_request_received_in_the_future_is_refused(sqlite_world: World) -> None:
    sqlite_world.people(Person(7, runs=1))
    tomorrow = (datetime.now(UTC).date() + timedelta(days=2)).isoformat()
    done = sqlite_world.dsar("request", "--user-id", "7", "--received-at", tomorrow)
    assert (done.returncode, "future" in done.stderr) == (2, True)
    assert sqlite_world.rows() == []


def test_request_received_on_a_day_means_the_controllers_day(sqlite_world: World) -> None:
    sqlite_world.people(Person(7, runs=1))
    opened = sqlite_world.dsar(
        "request", "--user-id", "7", "--received-at", "2026-01-31", time_zone="America/New_York"
    )
    assert opened.json["requested_at"] == "2026-01-31T05:00:00+00:00"
    assert opened.json["due_at"] == "2026-03-01T04:59:59+00:00"
    wrong = sqlite_world.dsar("list", time_zone="Europe/Atlantis")
    assert (wrong.returncode, "DSAR_TIME_ZONE" in wrong.stderr) == (78, True)


def test_extend_of_a_completed_request_that_is_exported_again_is_refused(
    sqlite_world: World,
) -> None:
    """It was answered; that a worker has it in hand at the moment changes nothing."""
    world = sqlite_world
    world.request(7, "AGAIN", status="completed", requested_at=datetime.now(UTC))
    world.request(7, "FIRST", requested_at=datetime.now(UTC))
    with world.services() as services:
        for reference in ("AGAIN", "FIRST"):
            services.claims.claim_reference(reference, worker="w:1")
        with pytest.raises(WrongState, match="is completed"):
            cases_of(services).extend("AGAIN", reason="x")
        assert cases_of(services).extend("FIRST", reason="x").extension_months == 2
