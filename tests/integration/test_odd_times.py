"""Times that are no date of Python's, in our own tables: they stop nobody's command."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from backend.services.control import Controller
from backend.services.metrics import read_state
from backend.services.requests import Requests
from tests.factories import Person
from tests.harness import ATTEMPTS, REQUESTS, World
from tests.worlds import MARIADB, POSTGRESQL, SQLITE

ODD = {
    POSTGRESQL: ["infinity", "-infinity", "0044-03-15 BC", "10000-01-01", "9999-12-31"],
    MARIADB: ["0000-00-00", "0000-00-00 00:00:00", "9999-12-31"],
    SQLITE: ["soon", "", "0", "9999-12-31 00:00:00", "10000-01-01 00:00:00"],
}


def kind_of(world: World) -> str:
    name = world.engine.dialect.name
    return MARIADB if name in ("mysql", "mariadb") else name


def times_of(table: sa.Table) -> list[str]:
    return [column.name for column in table.c if isinstance(column.type, sa.types.TypeDecorator)]


def set_odd(world: World, table: sa.Table, where: str, columns: list[str], odd: str) -> None:
    with world.begin() as connection:
        if kind_of(world) == MARIADB:
            connection.exec_driver_sql("SET SESSION sql_mode = ''")
        sets = ", ".join(f"{column} = :odd" for column in columns)
        connection.execute(sa.text(f"UPDATE {table.name} SET {sets} WHERE {where}"), {"odd": odd})


def receipts(world: World) -> list[str]:
    return ODD[kind_of(world)]


def test_receipt_that_is_no_date_stops_nobody_and_is_exported(world: World) -> None:
    world.people(Person(7, runs=1))
    for number, odd in enumerate(receipts(world)):
        world.request(7, f"ODD-{number}")
        set_odd(world, REQUESTS, f"gdpr_reference_id = 'ODD-{number}'", ["requested_at"], odd)
    world.request(7, "GOOD")
    with world.services() as services:
        listed = {
            each.reference_id: each
            for each in Requests(services.controller).list(statuses=None, limit=50)
        }
        state = read_state(services.controller)
    assert len(listed) == len(receipts(world)) + 1
    assert all((each.requested_at is None) == (name != "GOOD") for name, each in listed.items())
    assert all((each.due_at is None) == (name != "GOOD") for name, each in listed.items())
    assert state.overdue == 1  # that of January
    done = world.sweep()
    assert (done.json["completed"], done.json["failed"]) == (len(listed), 0)
    shown = world.dsar("show", "ODD-0")
    assert shown.json["request"]["requested_at"] is None
    assert world.dsar("extend", "ODD-0", "--reason", "x").returncode == 1


@pytest.mark.parametrize(
    "command", ["list", "show", "report", "verify", "prune", "export", "sweep"]
)
def test_command_lives_with_any_time_that_is_no_date(world: World, command: str) -> None:
    world.people(Person(7, runs=1))
    for number, odd in enumerate(receipts(world)):
        world.request(7, f"R-{number}")
        if number == 0:
            assert world.dsar("export", "R-0").returncode == 0
        columns = times_of(REQUESTS)
        set_odd(world, REQUESTS, f"gdpr_reference_id = 'R-{number}'", columns, odd)
    set_odd(world, ATTEMPTS, "1 = 1", times_of(ATTEMPTS), receipts(world)[0])
    arguments: dict[str, list[str]] = {
        "list": ["list", "--status", "completed", "--status", "pending"],
        "show": ["show", "R-0"],
        "report": ["report", "--from", "2026-01-01", "--to", "2026-12-31", "--format", "json"],
        "verify": ["verify"],
        "prune": ["prune"],
        "export": ["export", "R-1"],
    }
    done = world.sweep() if command == "sweep" else world.dsar(*arguments[command])
    if command == "export":
        assert done.json["error_code"] == "wrong_state"  # it is held, whenever since
    else:
        assert done.returncode == 0, done.stderr


def test_doctor_lives_with_any_time_that_is_no_date(world: World) -> None:
    from backend.services.doctor.requests import requests, sweeping

    for number, odd in enumerate(receipts(world)):
        world.request(7, f"R-{number}")
        set_odd(world, REQUESTS, f"gdpr_reference_id = 'R-{number}'", times_of(REQUESTS), odd)
    with world.services() as services:
        assert list(requests(services.runtime)) and list(sweeping(services.runtime))
        assert isinstance(services.controller, Controller)


def test_move_names_the_rows_with_a_time_that_is_no_date(world: World, tmp_path: Any) -> None:
    world.request(7, "R")
    set_odd(world, REQUESTS, "1 = 1", ["held_at"], receipts(world)[0])
    done = world.dsar("move-database", "--to", f"sqlite:///{tmp_path / 'other.sqlite3'}")
    assert done.returncode == 1
    assert "no date" in done.stderr and "held_at" in done.stderr
