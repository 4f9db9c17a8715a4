"""The databases: reachable, of a kind that can do what is asked of it, migrated, on UTC."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError

from backend.engines import named_errors
from backend.extensions import Runtime
from backend.failures import class_of
from backend.migrations.runner import HEAD
from backend.models import DSARAttempt, DSARRequest, DSARSweep
from backend.services.collection import Collection
from backend.services.control import Controller
from backend.services.coverage import check_coverage
from backend.services.doctor.checks import Check, bad, ok, warn
from backend.services.outlook import look
from backend.services.sections import TableSection

# From where on there is FOR UPDATE SKIP LOCKED.
_LEAST: Final = {"postgresql": (9, 5), "mariadb": (10, 6), "sqlite": (3, 24)}
_SKEW_SECONDS: Final = 5.0
_OWN: Final = (DSARRequest, DSARAttempt, DSARSweep)


def connection(runtime: Runtime) -> Iterator[Check]:
    """Whether the requests' database answers, and is new enough."""
    engine = runtime.control
    with named_errors(engine.url), engine.connect() as opened:
        name, version = _product(opened)
    found = f"{name} {'.'.join(map(str, version))} at {_where(engine)}"
    least = _LEAST.get(name)
    if least is None or version < least:
        wanted = "MariaDB 10.6" if name != "postgresql" else "PostgreSQL 9.5"
        yield bad("database", found, f"row locks are passed over from {wanted} on: upgrade it")
    else:
        yield ok("database", found)


def _where(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def _product(opened: Connection) -> tuple[str, tuple[int, ...]]:
    name = opened.dialect.name
    version = tuple(
        int(part) for part in opened.dialect.server_version_info or () if str(part).isdigit()
    )
    if name in ("mysql", "mariadb"):
        text = str(opened.exec_driver_sql("SELECT VERSION()").scalar_one())
        name = "mariadb" if "mariadb" in text.lower() else "mysql"
        # Behind a "5.5.5-" that old clients wanted to see.
        match = re.match(r"(?:5\.5\.5-)?(\d+)\.(\d+)\.(\d+)", text)
        version = tuple(map(int, match.groups())) if match else version
    return name, version[:3]


def schema(runtime: Runtime) -> Iterator[Check]:
    """Whether the schema is this release's. Raises ``SchemaError``, which says what to do."""
    look(Controller(runtime.control, runtime.clock), prune_before=None)
    yield ok("schema", f"revision {HEAD}, this release's")


def rights(runtime: Runtime) -> Iterator[Check]:
    """Whether this role may do to our tables what a sweep does, tried on no row at all."""
    refused = []
    for model in _OWN:
        table = model.__table__
        assert isinstance(table, sa.Table)
        nothing = sa.false()
        statements: dict[str, sa.Executable] = {
            "SELECT": sa.select(table).where(nothing).with_for_update(skip_locked=True),
            "INSERT": sa.insert(table).from_select(list(table.c), sa.select(table).where(nothing)),
            "UPDATE": sa.update(table).where(nothing).values({table.c[0]: table.c[0]}),
            "DELETE": sa.delete(table).where(nothing),
        }
        for verb, statement in statements.items():
            if (error := _refusal(runtime.control, statement)) is not None:
                refused.append(f"{verb} on {table.name} ({error})")
    if refused:
        remedy = "grant it to this role; see deploy/RUNBOOK.md, Database roles"
        yield bad("rights", f"refused: {', '.join(refused)}", remedy)
    else:
        yield ok("rights", "reads and writes requests, attempts and sweeps")


def _refusal(engine: Engine, statement: sa.Executable) -> str | None:
    """The class of the error that a statement ends in, rolled back; None: it works."""
    try:
        with named_errors(engine.url), engine.connect() as opened, opened.begin() as transaction:
            opened.execute(statement)
            transaction.rollback()
    except DBAPIError as error:
        return class_of(error)
    return None


def time(runtime: Runtime) -> Iterator[Check]:
    """Whether the database tells UTC, and how far this host's clock is from it."""
    control = Controller(runtime.control, runtime.clock)
    with named_errors(runtime.control.url), runtime.control.begin() as opened:
        zone = _odd_zone(opened)
        before = runtime.clock.now()
        now = control.now(opened)
        after = runtime.clock.now()
    if zone is not None:
        yield warn(
            "time zone",
            f"the server's own time zone is {zone}: rows that other programs insert with "
            "CURRENT_TIMESTAMP may be off by its offset",
            "set the server's (or that program's) time zone to UTC",
        )
    else:
        yield ok("time zone", "UTC")
    skew = max((now - after).total_seconds(), (before - now).total_seconds(), 0.0)
    if skew > _SKEW_SECONDS:
        yield warn(
            "clock",
            f"this host's clock and the database's differ by {skew:.0f} s",
            "synchronise both (timedatectl status); leases are safe, the times in files and logs "
            "are not",
        )
    else:
        yield ok("clock", "this host's clock agrees with the database's")


def _odd_zone(opened: Connection) -> str | None:
    """The zone in which the server writes CURRENT_TIMESTAMP for others, where it is not UTC."""
    name = opened.dialect.name
    if name == "sqlite":
        return None
    if name == "postgresql":
        columns = {
            each["name"]: each["type"] for each in sa.inspect(opened).get_columns("dsar_requests")
        }
        if getattr(columns.get("requested_at"), "timezone", True):
            return None  # with a zone the instant is right whatever the server's is
        query = "SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'"
        zone = str(opened.exec_driver_sql(query).scalar_one())
        return None if zone in ("UTC", "Etc/UTC", "GMT") else zone
    row = opened.exec_driver_sql("SELECT @@global.time_zone, @@system_time_zone").one()
    zone = str(row[1] if row[0] == "SYSTEM" else row[0])
    return None if zone in ("UTC", "+00:00", "GMT") else zone


def sqlite_file(runtime: Runtime) -> Iterator[Check]:
    """Whether a SQLite file is private and in WAL mode; nothing for other databases."""
    url = make_url(runtime.settings.database_url)
    if url.get_backend_name() != "sqlite":
        return
    path = Path((url.database or "").removeprefix("file:"))
    if not path.is_file():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield warn("SQLite file", f"{path} is open to others ({mode:04o})", f"chmod 0600 {path}")
    else:
        yield ok("SQLite file", f"{path} is private")
    with named_errors(runtime.control.url), runtime.control.connect() as opened:
        journal = opened.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if journal != "wal":
        yield bad(
            "SQLite journal",
            f"the journal mode is {journal}, not WAL",
            "put the file on a local disk: network file systems have no shared memory",
        )


def source(collection: Collection) -> Iterator[Check]:
    """Whether the people's data can be read: every table of every section."""
    runtime = collection.runtime
    refused = []
    for section in collection.sections:
        if isinstance(section, TableSection) and section.database == "source":
            statement = sa.select(*section.read_columns()).where(sa.false())
            if (error := _refusal(runtime.source, statement)) is not None:
                refused.append(f"{section.name}, table {section.table.name} ({error})")
    where = _where(runtime.source)
    if refused:
        yield bad(
            "sections",
            f"cannot be read at {where}: {'; '.join(refused)}",
            "grant SELECT to this role, or mend the section's declaration",
        )
        return
    count = len(collection.sections)
    yield ok("sections", f"{count} sections can be read at {where}")
    if not runtime.settings.source_is_control and (table := _writable(collection)) is not None:
        yield warn(
            "roles",
            f"the role of DSAR_SOURCE_DATABASE_URL may write to {table}",
            "give it a role that may SELECT and nothing else",
        )


def coverage(runtime: Runtime) -> Iterator[Check]:
    """Whether the sections still fit the source's schema, and leave nobody's data out."""
    report = check_coverage(runtime)
    if count := len(report.findings):
        yield warn("coverage", f"{count} gaps between sections and schema", "see: dsar coverage")
    else:
        yield ok("coverage", f"{report.tables} tables, {report.columns} columns, without a gap")


def _writable(collection: Collection) -> str | None:
    """A table of the source that its role may change; None: none, or it cannot be told."""
    engine = collection.runtime.source
    if engine.dialect.name == "sqlite":
        return None
    table = collection.account.table
    column = table.c[0]
    # The snapshot engine's transactions may write; no row is touched, and it is rolled back.
    statement = sa.update(table).where(sa.false()).values({column: column})
    return table.name if _refusal(engine, statement) is None else None
