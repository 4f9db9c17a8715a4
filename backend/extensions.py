"""``db``, and the runtime that the services work with: both bound to the Flask application."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from flask import current_app, has_app_context
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.engine import Engine
from sqlalchemy.orm import DeclarativeBase, scoped_session

from backend.clock import SYSTEM_CLOCK, Clock
from backend.errors import UsageError
from backend.settings import Settings

_KEY: Final = "dsar"


class Base(DeclarativeBase):
    """The declarative base of every model."""


db = SQLAlchemy(model_class=Base)

if TYPE_CHECKING:
    Model = Base  # a type checker cannot follow db.Model, which is made at run time
else:
    Model = db.Model


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the services need of the process they run in.

    ``control`` runs the short transactions on requests; ``source`` reads people's data. Both
    are engines of their own (never ``db.engine``) and connect when first used.
    """

    settings: Settings
    control: Engine
    source: Engine
    clock: Clock = field(default=SYSTEM_CLOCK)
    # What a process reads once and keeps, by what reads it: the sections of a file, for example.
    kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def disconnect(self) -> None:
        """Close every idle connection; the next use makes new ones."""
        self.control.dispose()
        self.source.dispose()


def current_runtime() -> Runtime:
    """The runtime of the current Flask application.

    Raises ``UsageError`` outside an application context.
    """
    if not has_app_context():
        raise UsageError(
            "this needs a Flask application context: wrap the call in `with app.app_context():`"
        )
    runtime = current_app.extensions.get(_KEY)
    if not isinstance(runtime, Runtime):
        raise UsageError("the current Flask application was not made by backend.app.create_app")
    return runtime


def current_session() -> scoped_session[Any]:
    """The session of the current application's own Flask-SQLAlchemy; of ``db`` without one."""
    found = current_app.extensions.get("sqlalchemy", db)
    session: scoped_session[Any] = getattr(found, "db", found).session
    return session


def bind_runtime(extensions: dict[str, object], runtime: Runtime) -> None:
    """Make ``runtime`` what ``current_runtime`` returns for an application's ``extensions``."""
    extensions[_KEY] = runtime
