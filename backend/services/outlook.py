"""What lies before a sweep: one look, so that an empty sweep costs one statement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import DBAPIError

from backend.engines import hidden_schema, role_of
from backend.errors import RowsHidden, SchemaError
from backend.migrations.runner import VERSION_TABLE, require_current
from backend.models import DSARRequest
from backend.services.control import Controller, aware
from backend.services.request_rows import REQUESTS, expired, expired_before, retention_order


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a sweep has before it."""

    now: datetime
    expired: bool
    due: bool
    prunable: bool


def look(control: Controller, *, prune_before: datetime | None) -> Outlook:
    """Whether anything has expired, is due, or is to be pruned; in one statement.

    Raises ``SchemaError`` when the database is not migrated to this release's schema, and
    ``RowsHidden`` where a policy would keep requests from being seen.
    """
    r = REQUESTS.c
    now, at = control.instant(), control.statement_instant()
    anything_expired = sa.exists().where(expired(at))
    # Not EXISTS: for that PostgreSQL reads the table until it meets a due row, through a
    # million finished ones if need be. In the claim's order it is the claim's index.
    due = (
        sa.select(r.id)
        .where(r.status == DSARRequest.STATUS_PENDING, r.next_attempt_at <= at)
        .order_by(r.requested_at, r.id)
        .limit(1)
        .scalar_subquery()
        .is_not(None)
    )
    version: sa.TextClause = sa.text(VERSION_TABLE)
    revision = sa.select(sa.literal_column("version_num", sa.String)).select_from(version)
    columns: list[sa.ColumnElement[Any]] = [
        now.label("now"),
        anything_expired.label("expired"),
        due.label("due"),
    ]
    if prune_before is not None:
        columns.append(
            sa.select(r.id)
            .where(
                r.export_state == DSARRequest.EXPORT_RECORDED,
                r.legal_hold_at.is_(None),
                expired_before(prune_before),
            )
            .order_by(*retention_order(control))
            .limit(1)
            .scalar_subquery()
            .is_not(None)
            .label("prunable")
        )
    if control.engine.dialect.name == "postgresql":
        columns.append(sa.func.row_security_active(REQUESTS.name).label("hidden"))
    query = sa.select(*columns, revision.limit(1).scalar_subquery().label("revision"))
    row = _read_migrated(control, query)
    if row.get("hidden"):
        raise RowsHidden(
            f"a row-level security policy hides requests from this role ({control.key}); "
            f"ALTER TABLE {REQUESTS.name} DISABLE ROW LEVEL SECURITY, or as a superuser "
            f"ALTER ROLE {role_of(control.engine)} BYPASSRLS"
        )
    return Outlook(
        now=aware(row["now"]),
        expired=bool(row["expired"]),
        due=bool(row["due"]),
        prunable=bool(row.get("prunable", False)),
    )


def _read_migrated(control: Controller, query: sa.Select[Any]) -> RowMapping:
    """The query's one row. Raises ``SchemaError`` unless the schema is this release's."""
    try:
        row = control.read(lambda connection: connection.execute(query).mappings().one())
    except DBAPIError:
        if not sa.inspect(control.engine).has_table(VERSION_TABLE):
            if schema := hidden_schema(control.engine, VERSION_TABLE):
                raise SchemaError(
                    f"the tables are in the schema {schema}, which this role may not enter "
                    f"({control.key}); GRANT USAGE ON SCHEMA {schema} TO {role_of(control.engine)};"
                ) from None
            require_current(None)
        raise
    require_current(row["revision"])
    return row
