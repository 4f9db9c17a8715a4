"""Two requests of one person, and a person who is erased while a request is open."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from structlog.testing import capture_logs

from backend.app import db
from backend.extensions import current_runtime
from backend.models import DSARRequest, User
from backend.services.dsar_collectors import collection
from backend.services.erasure import OpenRequestWarning, warn_on_erasure
from backend.services.open_requests import without_subject
from backend.services.requests import Requests
from tests.factories import Person, insert_all
from tests.harness import World

NOW = datetime.now(UTC)


@pytest.fixture
def two(world: World) -> World:
    """Person 7 with an older request that failed, and a younger one that waits."""
    world.people(Person(7, runs=1), Person(8, runs=1))
    world.request(7, "FAILED", requested_at=NOW - timedelta(days=9), status="failed")
    world.request(7, "WAITS", requested_at=NOW - timedelta(days=5))
    world.request(7, "DONE", requested_at=NOW - timedelta(days=20), status="completed")
    world.request(8, "OTHERS", requested_at=NOW - timedelta(days=5))
    return world


def test_open_second_request_tells_of_the_first_and_joins_on_demand(two: World) -> None:
    with two.services() as services:
        requests = Requests(services.controller)
        second = requests.open(7, reference_id="SECOND")
        assert (second.request.reference_id, second.joined) == ("SECOND", False)
        assert second.other_open == ("FAILED", "WAITS")
        joined = requests.open(7, reference_id="THIRD", join=True)
        assert (joined.request.reference_id, joined.joined) == ("WAITS", True)
        assert joined.other_open == ("FAILED", "SECOND")
        first = requests.open(9, reference_id="FIRST", join=True)
        assert (first.request.reference_id, first.joined, first.other_open) == ("FIRST", False, ())
    assert len(two.rows()) == 6


def test_request_command_joins_by_setting(sqlite_world: World) -> None:
    world = sqlite_world
    world.people(Person(7, runs=1))
    first = world.dsar("request", "--user-id", "7", "--reference", "A", join_open_requests=True)
    assert (first.json["joined"], first.json["other_open"], first.stderr) == (False, [], "")
    again = world.dsar("request", "--user-id", "7", join_open_requests=True)
    assert (again.returncode, again.json["reference_id"], again.json["joined"]) == (0, "A", True)
    second = world.dsar("request", "--user-id", "7", "--reference", "B")
    assert (second.json["joined"], second.json["other_open"]) == (False, ["A"])
    assert "A" in second.stderr and "other open" in second.stderr
    assert len(world.rows()) == 2


def test_without_subject_finds_who_is_gone(two: World) -> None:
    two.request(4711, "GONE")
    two.request(None, "NOBODY")
    ids = {row["gdpr_reference_id"]: row["id"] for row in two.rows()}
    with two.services() as services:
        control, source = services.controller, services.runtime.source
        key = collection(services.runtime).key
        assert without_subject(control, source, key, ids.values()) == {ids["GONE"]}
        assert without_subject(control, source, key, []) == set()


def test_list_says_whose_person_is_gone_and_lives_without_the_source(
    sqlite_world: World, tmp_path: Path
) -> None:
    world = sqlite_world
    world.people(Person(7, runs=1))
    world.request(7, "HERE")
    world.request(4711, "GONE")
    listed = {each["reference_id"]: each for each in world.dsar("list").json["requests"]}
    assert listed["GONE"]["subject_gone"] is True and listed["HERE"]["subject_gone"] is False
    away = world.dsar("list", source_database_url=f"sqlite:///{tmp_path / 'none.sqlite3'}")
    assert away.returncode == 0, away.stderr
    assert {each["subject_gone"] for each in away.json["requests"]} == {None}


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever listens to the deletion of users afterwards is taken away again."""
    listening: list[Any] = []
    listen = event.listen

    def noted(*arguments: Any, **options: Any) -> None:
        if arguments[0] is User:
            listening.append(arguments)
        listen(*arguments, **options)

    monkeypatch.setattr("backend.services.erasure.event.listen", noted)
    yield
    for arguments in listening:
        event.remove(*arguments)


def test_erasure_of_a_person_with_an_open_request_warns(sqlite_world: World, watched: None) -> None:
    world = sqlite_world
    request_id = world.request(70, "OPEN")
    with world.begin() as connection:
        insert_all(connection, User, [{"id": 70, "email": "a@example.org", "name": "A"}])
    with world.services():
        warn_on_erasure(User, current_runtime())
        user = db.session.get(User, 70)
        db.session.delete(user)
        with (
            capture_logs() as logged,
            pytest.warns(OpenRequestWarning, match=rf"ids {request_id}\)"),
        ):
            db.session.flush()
        db.session.rollback()
        assert logged == [
            {
                "event": "open_request_of_erased_user",
                "log_level": "warning",
                "request_id": request_id,
            }
        ]
        # A filter makes it an error, which keeps the person.
        with warnings.catch_warnings():
            warnings.simplefilter("error", OpenRequestWarning)
            db.session.delete(db.session.get(User, 70))
            with pytest.raises(OpenRequestWarning):
                db.session.flush()
            db.session.rollback()
        # Cancelled in the same transaction: nothing is open any more.
        open_request = db.session.get(DSARRequest, request_id)
        assert open_request is not None
        open_request.status = "cancelled"
        db.session.flush()
        db.session.delete(db.session.get(User, 70))
        db.session.commit()
        assert db.session.get(User, 70) is None


def test_erasure_with_the_requests_elsewhere_asks_there_and_stops_nothing(
    sqlite_world: World, watched: None, tmp_path: Path
) -> None:
    world = sqlite_world
    control = World(f"sqlite:///{tmp_path / 'control.sqlite3'}", tmp_path).migrate()
    control.request(70, "OPEN")
    with world.begin() as connection:
        insert_all(connection, User, [{"id": 70, "email": "a@example.org", "name": "A"}])
    with control.services() as services:
        runtime = services.runtime
    with world.services():
        warn_on_erasure(User, runtime)
        db.session.delete(db.session.get(User, 70))
        with pytest.warns(OpenRequestWarning):
            db.session.flush()
        db.session.rollback()
        runtime.disconnect()
        control.close()
        (tmp_path / "control.sqlite3").unlink()
        db.session.delete(db.session.get(User, 70))
        with capture_logs() as logged:
            db.session.commit()
    assert [each["event"] for each in logged] == ["erasure_not_checked"]
