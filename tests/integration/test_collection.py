"""What goes into an export besides the rows: at what instant each was read, and when to stop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from backend.services.collection import Collection, describe, open_collection
from backend.services.dsar_collectors import ACCOUNT, collection
from backend.services.sections import Subject
from tests.factories import Person
from tests.harness import World


class LateClock:
    """Each time it is asked an hour is over."""

    def __init__(self) -> None:
        self.asked = 0

    def now(self) -> datetime:
        self.asked += 1
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=self.asked)

    def monotonic(self) -> float:
        return 0.0


def declared(services: Any) -> Collection:
    return collection(services.runtime)


def test_description_of_a_section_may_be_changed_by_who_gets_it() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    told = describe(ACCOUNT, "en", at)
    assert told["withheld"]
    told["withheld"].clear()
    assert describe(ACCOUNT, "en", at)["withheld"]


def test_request_is_said_to_be_read_when_it_was(sqlite_world: World) -> None:
    """It is read before the snapshot is taken: not of the same instant as the rest."""
    world = sqlite_world
    world.people(Person(7, runs=1))
    world.request(7, "R")
    world.clock = LateClock()
    with world.services() as services:
        subject = Subject(7, "R")
        with open_collection(declared(services), subject, lambda: None) as (snapshot, streams):
            told: dict[str, str] = {}
            for stream in streams:
                rows = getattr(stream, "rows", ())
                list(rows)
                told[getattr(stream, "name", "")] = getattr(stream, "facts", {})["snapshot_at"]
    taken_at = snapshot.taken_at.isoformat()
    assert told["account"] == told["workflows"] == taken_at
    assert told["dsar_request"] < taken_at


def test_export_asks_before_every_section_whether_to_go_on(sqlite_world: World) -> None:
    world = sqlite_world
    world.people(Person(7, 0, 0, 0, 0))
    world.request(7, "R")
    asked: list[int] = []
    with world.services() as services:
        subject = Subject(7, "R")
        with open_collection(declared(services), subject, lambda: asked.append(1)) as opened:
            names = [getattr(stream, "name", "") for stream in opened[1]]
    assert len(asked) >= len(names) >= 6  # no row was read
