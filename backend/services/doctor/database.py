"""The databases: reachable, of a kind that can do what is asked of it, migrated, on UTC."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError

from backend.driver_errors import is_refused
from backend.engines import CONTROL_KEY, hidden_schema, named_errors, role_of, shown_url
from backend.errors import DatabaseBusy
from backend.extensions import Runtime
from backend.failures import class_of
from backend.migrations.runner import HEAD, VERSION_TABLE
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
    _require_writes(engine)
    found = f"{name} {'.'.join(map(str, version))} at {_where(engine)}"
    least = _LEAST.get(name)
    if least is None or version < least:
        wanted = "MariaDB 10.6" if name != "postgresql" else "PostgreSQL 9.5"
        yield bad("database", found, f"row locks are passed over from {wanted} on: upgrade it")
    else:
        yield ok("database", found)


def _require_writes(engine: Engine) -> None:
    """Raise ``DatabaseUnreachable`` if the server takes no writes; changes no row.

    Whether the table is there, and what this role may do to it, other checks tell.
    """
    with suppress(DatabaseBusy):
        _error_of(engine, _verbs(next(_ours()))["UPDATE"])


def _where(engine: Engine) -> str:
    return shown_url(engine.url)


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


def may_read(runtime: Runtime) -> bool:
    """Whether nothing of ours is refused to be read: without that no other check can be made."""
    read = (*_ours(), _version_table())
    return not any(_is_refused(runtime.control, _verbs(table)["SELECT"]) for table in read)


def rights(runtime: Runtime) -> Iterator[Check]:
    """Whether this role may do to our tables what a sweep does, tried on no row at all."""
    missing = {
        table.name: verbs
        for table in (_version_table(), *_ours())
        if (verbs := _refused_verbs(runtime.control, table))
    }
    if sequence := _closed_sequence(runtime.control):
        missing[f"SEQUENCE {sequence}"] = ["USAGE"]
    if not missing:
        yield ok("rights", "reads and writes requests, attempts and sweeps")
        return
    refused = ", ".join(f"{' '.join(verbs)} on {name}" for name, verbs in missing.items())
    grants = " ".join(
        f"GRANT {', '.join(verbs)} ON {name} TO {role_of(runtime.control)};"
        for name, verbs in missing.items()
    )
    yield bad("rights", f"refused: {refused}", f"{grants} (or the script of deploy/database again)")


def _ours() -> Iterator[sa.Table]:
    for model in _OWN:
        assert isinstance(model.__table__, sa.Table)
        yield model.__table__


def _version_table() -> sa.Table:
    return sa.Table(VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String))


def _refused_verbs(engine: Engine, table: sa.Table) -> list[str]:
    wanted = _verbs(table)
    if table.name == VERSION_TABLE:
        wanted = {"SELECT": wanted["SELECT"]}
    return [verb for verb, statement in wanted.items() if _is_refused(engine, statement)]


def _verbs(table: sa.Table) -> dict[str, sa.Executable]:
    """One statement a right, which needs no other right and touches no row."""
    nothing = sa.false()
    nulls = sa.select(*(sa.null().label(column.name) for column in table.c)).where(nothing)
    return {
        "SELECT": sa.select(table).where(nothing),
        "INSERT": sa.insert(table).from_select(list(table.c), nulls, include_defaults=False),
        "UPDATE": sa.update(table).where(nothing).values({table.c[0]: None}),
        "DELETE": sa.delete(table).where(nothing),
    }


def _closed_sequence(engine: Engine) -> str | None:
    """The sequence that numbers requests, where this role may not draw from it; of PostgreSQL's.

    An INSERT that touches no row does not try it. An identity column needs no right of its own.
    """
    if engine.dialect.name != "postgresql":
        return None
    query = sa.text(
        "SELECT sequence FROM pg_get_serial_sequence('dsar_requests', 'id') AS sequence"
        " WHERE NOT has_sequence_privilege(sequence, 'USAGE, UPDATE')"
        " AND (SELECT attidentity FROM pg_attribute"
        " WHERE attrelid = to_regclass('dsar_requests') AND attname = 'id') = ''"
    )
    with named_errors(engine.url), engine.connect() as opened:
        return opened.execute(query).scalar()


def _is_refused(engine: Engine, statement: sa.Executable) -> bool:
    error = _error_of(engine, statement)
    return error is not None and is_refused(error)


def _error_of(
    engine: Engine, statement: sa.Executable, key: str = CONTROL_KEY
) -> DBAPIError | None:
    """The error that a statement ends in, rolled back; None: it works."""
    try:
        with (
            named_errors(engine.url, key),
            engine.connect() as opened,
            opened.begin() as transaction,
        ):
            opened.execute(statement)
            transaction.rollback()
    except DBAPIError as error:
        return error
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
    """Whether a SQLite file that can be opened is private and in WAL mode; of others nothing."""
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
    where = _where(runtime.source)
    key = runtime.settings.source_key
    trouble, grants, others = [], [], []
    for section in collection.sections:
        if isinstance(section, TableSection) and section.database == "source":
            statement = sa.select(*section.read_columns()).where(sa.false())
            if (error := _error_of(runtime.source, statement, key)) is not None:
                trouble.append(f"{section.name}, table {section.table.name} ({class_of(error)})")
                grant = _grant(runtime.source, section.table, error)
                grants += [grant] if grant else []
                others += [] if grant else [section.name]
    if trouble:
        other = "mend the declaration whose table or column is not there; see: dsar coverage"
        remedies = [*dict.fromkeys(grants), *([other] if others else [])]
        yield bad(
            "sections", f"cannot be read at {where}: {'; '.join(trouble)}", " ".join(remedies)
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


def _grant(engine: Engine, table: sa.Table, error: DBAPIError) -> str | None:
    """What lets this role read a table; None where it is not for want of a right."""
    if schema := hidden_schema(engine, table.name):
        return f"GRANT USAGE ON SCHEMA {schema} TO {role_of(engine)};"
    return f"GRANT SELECT ON {table.fullname} TO {role_of(engine)};" if is_refused(error) else None


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
    return table.name if _error_of(engine, statement) is None else None
