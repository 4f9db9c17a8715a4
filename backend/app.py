"""The composition root: the Flask application, ``db``, and the runtime of the services."""

from __future__ import annotations

from flask import Flask
from flask_sqlalchemy.session import Session

from backend.clock import SYSTEM_CLOCK, Clock
from backend.engines import make_control_engine, make_snapshot_engine
from backend.extensions import Runtime, bind_runtime, db
from backend.logs import log_through_logging
from backend.services.rendering import json_reader
from backend.services.session_guard import watch_sessions
from backend.settings import Settings, load_settings

__all__ = ["create_app", "db", "init_dsar", "make_runtime"]


def create_app(settings: Settings | None = None, *, clock: Clock = SYSTEM_CLOCK) -> Flask:
    """Make the application: ``db`` and the exporter bound, and no route at all.

    ``settings`` default to ``load_settings()``, whose ``SettingsError`` passes. Connects to
    nothing and writes nothing. Raises ``ConfigurationError`` where the database's driver is not
    installed.
    """
    if settings is None:
        settings = load_settings()
    app = Flask("backend", static_folder=None)
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"hide_parameters": True}
    # Before db makes an engine of its own: ours say which driver is not installed.
    init_dsar(app, settings, clock=clock)
    db.init_app(app)
    return app


def init_dsar(app: Flask, settings: Settings, *, clock: Clock = SYSTEM_CLOCK) -> None:
    """Bind the exporter to an application of one's own, beside its ``db``; see the README.

    Before or after that ``db`` is bound to the application. What the services log goes to the
    ``logging`` module, unless the application told structlog otherwise.
    """
    bind_runtime(app.extensions, make_runtime(settings, clock=clock))
    # Of every Flask-SQLAlchemy in this process: the application's own may be made later.
    watch_sessions(Session)
    log_through_logging()


def make_runtime(settings: Settings, *, clock: Clock = SYSTEM_CLOCK) -> Runtime:
    """The services' runtime for some settings. Connects to nothing yet."""
    return Runtime(
        settings=settings,
        control=make_control_engine(settings.database_url),
        source=make_snapshot_engine(settings.source_url, json_reader(settings.source_url)),
        clock=clock,
    )
