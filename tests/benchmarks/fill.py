"""The benchmark's people, loaded in bulk: the same rows on every database."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import chain, islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

from backend.models import (
    ApiToken,
    AuditLog,
    DSARAttempt,
    DSARRequest,
    User,
    Workflow,
    WorkflowRun,
)
from tests.factories import (
    START,
    Person,
    insert_all,
    log_rows,
    run_rows,
    table,
    token_rows,
    user_row,
    workflow_rows,
)
from tests.harness import World

STAFF = 1
_LINES = 5_000
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def load_people(world: World, people: Sequence[Person]) -> None:
    """Insert people with all of their rows, and the member of staff who acts in their logs."""
    everybody = [Person(STAFF, 0, 0, 0, 0), *people]
    load_rows(world, User, (user_row(person.user_id) for person in everybody))
    load_rows(world, Workflow, chain.from_iterable(map(workflow_rows, people)))
    load_rows(world, WorkflowRun, chain.from_iterable(map(run_rows, people)))
    load_rows(world, ApiToken, chain.from_iterable(map(token_rows, people)))
    load_rows(world, AuditLog, chain.from_iterable(log_rows(each, STAFF) for each in people))
    settle(world)


def load_rows(world: World, model: Any, rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows (all with the same keys) by the database's own bulk statement."""
    source = iter(rows)
    first = next(source, None)
    if first is None:
        return
    source = chain([first], source)
    target, columns = table(model), list(first)
    with trusting(world) as connection:
        if connection.dialect.name == "sqlite":
            insert_all(connection, model, source)
        elif connection.dialect.name == "postgresql":
            _copy(connection, target, columns, source)
        else:
            _load_data(connection, target, columns, source)


@contextmanager
def trusting(world: World) -> Iterator[Connection]:
    """A transaction in which foreign keys are not checked: the rows are our own, and many."""
    kind = world.engine.dialect.name
    url = world.engine.url
    if kind not in ("sqlite", "postgresql"):
        url = url.update_query_dict({"local_infile": "1"})
    engine = sa.create_engine(url, poolclass=NullPool)
    statements = {
        "postgresql": "SET LOCAL session_replication_role = replica; SET LOCAL TimeZone = 'UTC'",
        "sqlite": "PRAGMA foreign_keys = OFF",
    }
    mariadb = "SET foreign_key_checks = 0, unique_checks = 0, time_zone = '+00:00'"
    with engine.begin() as connection:
        connection.exec_driver_sql(statements.get(kind, mariadb))
        yield connection


def open_requests(world: World, people: Sequence[int]) -> None:
    """Have each of these people ask, for the first time: no trace is left of an earlier run."""
    with world.begin() as connection:
        connection.execute(sa.delete(table(DSARAttempt)))
        connection.execute(sa.delete(table(DSARRequest)))
    shutil.rmtree(world.exports, ignore_errors=True)
    load_rows(
        world,
        DSARRequest,
        (
            {
                "user_id": number,
                "gdpr_reference_id": f"BENCH-{number}",
                "status": DSARRequest.STATUS_PENDING,
                "requested_at": START,
            }
            for number in people
        ),
    )
    settle(world)


def settle(world: World) -> None:
    """Let the planner know the tables, and leave no housekeeping for the first run to pay."""
    statements = {
        "sqlite": ["ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)"],
        "postgresql": ["VACUUM ANALYZE", "CHECKPOINT"],
    }
    kind = world.engine.dialect.name
    tables = ", ".join(sa.inspect(world.engine).get_table_names())
    with world.engine.connect() as bare:
        connection = bare.execution_options(isolation_level="AUTOCOMMIT")
        if kind == "postgresql":
            connection.exec_driver_sql("SET statement_timeout = 0")
        for statement in statements.get(kind, [f"ANALYZE TABLE {tables}"]):
            connection.exec_driver_sql(statement)
        # A pooled connection would keep the setting.
        connection.invalidate()


def _copy(
    connection: Connection, target: sa.Table, columns: list[str], rows: Iterator[dict[str, Any]]
) -> None:
    raw: Any = connection.connection.driver_connection
    statement = f"COPY {target.name} ({', '.join(columns)}) FROM STDIN"
    with raw.cursor() as cursor, cursor.copy(statement) as copy:
        for block in _blocks(rows):
            copy.write(block)


def _load_data(
    connection: Connection, target: sa.Table, columns: list[str], rows: Iterator[dict[str, Any]]
) -> None:
    """By LOAD DATA, which reads the same text as COPY."""
    quoted = ", ".join(f"`{column}`" for column in columns)
    with tempfile.NamedTemporaryFile(prefix="dsar-load-") as file:
        for block in _blocks(rows):
            file.write(block.encode())
        file.flush()
        connection.exec_driver_sql(
            f"LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE {target.name} "
            f"CHARACTER SET utf8mb4 ({quoted})"
        )


def _blocks(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    while batch := list(islice(rows, _LINES)):
        yield "".join("\t".join(map(_text, row.values())) + "\n" for row in batch)


def _text(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    return str(value).translate(_ESCAPES)
