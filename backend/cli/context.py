"""The context of a command: the application, its services, and the operator's verbs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING

import click
from flask import has_app_context
from flask.cli import ScriptInfo

from backend.app import create_app
from backend.extensions import Runtime, current_runtime
from backend.logs import configure_logging
from backend.own_process import dump_no_core
from backend.services.assembly import Services
from backend.services.control import Controller
from backend.services.outlook import look

if TYPE_CHECKING:
    from backend.services.cases import Cases
    from backend.services.requests import Requests
    from backend.settings import Settings


@contextmanager
def application() -> Iterator[Runtime]:
    """An application context: Flask's own, the one that ``flask --app`` names, or a new one."""
    if has_app_context():  # where an application gave the group to its own app.cli
        yield _logging(current_runtime())
        return
    context = click.get_current_context(silent=True)
    info = context.find_object(ScriptInfo) if context else None
    if info is not None:
        dump_no_core()  # `flask dsar`: a process that Flask started for this command alone
    app = info.load_app() if info is not None else create_app()
    with app.app_context():
        runtime = _logging(current_runtime())
        try:
            yield runtime
        finally:
            runtime.disconnect()


def _logging(runtime: Runtime) -> Runtime:
    """Have what this command logs go through the allow-list to stderr: stdout is the result's."""
    configure_logging(runtime.settings.log_level, runtime.settings.log_format)
    return runtime


@contextmanager
def services() -> Iterator[Services]:
    """The services, once the schema was found to be this release's."""
    with application() as runtime:
        found = Services.of(runtime)
        look(found.controller, prune_before=None)
        yield found


@contextmanager
def records() -> Iterator[tuple[Controller, Settings]]:
    """The requests' records alone, once the schema was found to be this release's.

    Without the export store: what is wrong with that keeps nobody from looking and deciding.
    """
    with application() as runtime:
        controller = Controller(runtime.control, runtime.clock)
        look(controller, prune_before=None)
        yield controller, runtime.settings


@contextmanager
def operator() -> Iterator[Requests]:
    """The operator's verbs on requests."""
    from backend.services.requests import Requests

    with records() as (controller, settings):
        yield Requests(controller, zone=settings.zone)


@contextmanager
def case() -> Iterator[Cases]:
    """The verbs on the case around an export."""
    from backend.services.cases import Cases

    with records() as (controller, settings):
        yield Cases(controller, zone=settings.zone)


def instant_of(moment: date) -> datetime:
    """A ``Moment`` as an instant: what has no offset is meant in DSAR_TIME_ZONE, a day its start.

    Needs an application context.
    """
    from backend.services.deadlines import start_of_day

    zone = current_runtime().settings.zone
    if not isinstance(moment, datetime):
        return start_of_day(moment, zone)
    return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment


def day_of(instant: datetime | None) -> str:
    """The day of an instant in DSAR_TIME_ZONE, in which deadlines are counted; "" for None."""
    if instant is None:
        return ""
    return f"{instant.astimezone(current_runtime().settings.zone):%Y-%m-%d}"
