"""Requests, attempts and sweeps: made new, or an existing ``dsar_requests`` adopted with its rows.

Adoption looks before it acts at every step, so that it can be run again where it was interrupted
(MariaDB commits each statement), and checks every row before it changes the first.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection

from backend.errors import AdoptionError
from backend.models.types import BigKey, UtcDateTime
from backend.references import is_usable_reference

revision = "0002"
down_revision = "0001"

# A server whose default is latin1 would refuse most of the world's names.
UTF8: dict[str, Any] = {"mysql_charset": "utf8mb4", "mariadb_charset": "utf8mb4"}

EPOCH = "1970-01-01 00:00:00"
STATUSES = ("pending", "processing", "completed", "failed", "cancelled")
GIVEN = (
    "id",
    "user_id",
    "gdpr_reference_id",
    "status",
    "requested_at",
    "completed_at",
    "export_bytes_size",
    "last_error",
    "export_storage_path",
)
# Of the given columns the one that an application need not have: it is added.
PATH = "export_storage_path"
SHOWN = 20

REQUESTS = sa.table("dsar_requests", *(sa.column(name) for name in (*GIVEN, "export_state")))


def upgrade() -> None:
    bind = op.get_bind()
    existing = set(sa.inspect(bind).get_table_names())
    if "dsar_requests" in existing:
        _adopt(bind)
    else:
        _make_requests()
    _make_indexes(bind)
    if "dsar_attempts" not in existing:
        _make_attempts()
    if "dsar_sweeps" not in existing:
        _make_sweeps()


def _own_columns() -> list[sa.Column[Any]]:
    """Every column beside the given ones. Constant defaults: SQLite adds no others to rows."""
    return [
        sa.Column("next_attempt_at", UtcDateTime(), nullable=False, server_default=EPOCH),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("crashes", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("interruptions", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("claim_token", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("claimed_from", sa.String(20)),
        sa.Column("claimed_by", sa.String(255)),
        sa.Column("claimed_at", UtcDateTime()),
        sa.Column("lease_expires_at", UtcDateTime()),
        sa.Column("exported_at", UtcDateTime()),
        sa.Column("export_state", sa.String(20)),
        sa.Column("export_claim_token", sa.BigInteger()),
        sa.Column("export_sha256", sa.String(64)),
    ]


def _make_requests() -> None:
    key_type = context.config.attributes["key_type"]
    op.create_table(
        "dsar_requests",
        sa.Column("id", BigKey, primary_key=True),
        sa.Column("user_id", BigKey if key_type is None else key_type()),
        sa.Column("gdpr_reference_id", sa.String(255)),
        sa.Column("status", sa.String(20), nullable=False, server_default="pending"),
        sa.Column("requested_at", UtcDateTime(), server_default=sa.func.now()),
        sa.Column("completed_at", UtcDateTime()),
        sa.Column("export_bytes_size", sa.BigInteger()),
        sa.Column("last_error", sa.Text()),
        sa.Column("export_storage_path", sa.Text()),
        *_own_columns(),
        sqlite_autoincrement=True,
        **UTF8,
    )


def _make_indexes(bind: Connection) -> None:
    table = "dsar_requests"
    if bind.dialect.name == "sqlite":
        # Reflection passes over an index on an expression, with a warning.
        query = sa.text("SELECT name FROM sqlite_master WHERE type = 'index'")
        there = set(bind.execute(query).scalars())
    else:
        there = {str(index["name"]) for index in sa.inspect(bind).get_indexes(table)}
    on_mariadb = bind.dialect.name in ("mysql", "mariadb")
    reference: Any = "gdpr_reference_id" if on_mariadb else sa.text("lower(gdpr_reference_id)")
    unique = "uq_dsar_requests_reference_ci" if on_mariadb else "uq_dsar_requests_reference"
    for name, columns in (
        ("ix_dsar_requests_claim", ["status", "requested_at", "id", "next_attempt_at"]),
        ("ix_dsar_requests_lease", ["status", "lease_expires_at"]),
        ("ix_dsar_requests_export", ["export_state", "exported_at"]),
        ("ix_dsar_requests_user_id", ["user_id"]),
        (unique, [reference]),
    ):
        if name not in there:
            op.create_index(name, table, columns, unique=name == unique)


def _make_attempts() -> None:
    op.create_table(
        "dsar_attempts",
        sa.Column("request_id", BigKey, primary_key=True, autoincrement=False),
        sa.Column("claim_token", BigKey, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("sweep_id", sa.String(36)),
        sa.Column("worker", sa.String(255), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime()),
        sa.Column("duration_ms", sa.BigInteger()),
        sa.Column("rows", sa.BigInteger()),
        sa.Column("bytes", sa.BigInteger()),
        sa.Column("sha256", sa.String(64)),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_class", sa.String(200)),
        sa.Column("error_at", sa.Text()),
        **UTF8,
    )
    op.create_index("ix_dsar_attempts_started_at", "dsar_attempts", ["started_at"])
    op.create_index("ix_dsar_attempts_sweep_id", "dsar_attempts", ["sweep_id"])


def _make_sweeps() -> None:
    counts = ("claimed", "completed", "retried", "failed", "released", "reclaimed")
    op.create_table(
        "dsar_sweeps",
        sa.Column("sweep_id", sa.String(36), primary_key=True),
        sa.Column("worker", sa.String(255), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False, server_default="0") for name in counts),
        sa.Column("error_code", sa.String(64)),
        **UTF8,
    )
    op.create_index("ix_dsar_sweeps_started_at", "dsar_sweeps", ["started_at"])


# -- adoption ----------------------------------------------------------------------------------


def _adopt(bind: Connection) -> None:
    columns = {column["name"]: column for column in sa.inspect(bind).get_columns("dsar_requests")}
    _check_shape(columns)
    _check_rows(bind)
    _widen(bind, columns)
    for column in (sa.Column(PATH, sa.Text()), *_own_columns()):
        if column.name not in columns:
            op.add_column("dsar_requests", column)
    _translate_rows(bind)


def _check_shape(columns: dict[str, Any]) -> None:
    needed = [name for name in GIVEN if name != PATH]
    if missing := [name for name in needed if name not in columns]:
        raise AdoptionError(
            f"dsar_requests has no column {', '.join(missing)}; add it (all of "
            f"{', '.join(needed)} are needed), then: dsar migrate"
        )
    status = columns["status"]["type"]
    if isinstance(status, sa.Enum) and (lacking := set(STATUSES) - set(status.enums)):
        raise AdoptionError(
            f"dsar_requests.status is an enum without {', '.join(sorted(lacking))}; add the "
            "values to it, or make the column a VARCHAR(20), then: dsar migrate"
        )


def _check_rows(bind: Connection) -> None:
    """Look at every reference and status before the first change. Names rows by id alone."""
    unusable: list[Any] = []
    strange: list[Any] = []
    by_reference: defaultdict[str, list[Any]] = defaultdict(list)
    query = sa.select(REQUESTS.c.id, REQUESTS.c.gdpr_reference_id, REQUESTS.c.status)
    for row_id, reference, status in bind.execute(query):
        if not is_usable_reference(reference or ""):
            unusable.append(row_id)
        else:
            by_reference[reference.lower()].append(row_id)
        if str(status) not in STATUSES:
            strange.append(row_id)
    doubled = [row_id for ids in by_reference.values() if len(ids) > 1 for row_id in ids]
    problems = [
        f"{what}: ids {_listed(ids)}"
        for what, ids in (
            (
                "references that cannot be a file name (a letter or digit, then up to 99 of "
                "A-Z a-z 0-9 . _ -)",
                unusable,
            ),
            ("references that differ by capitals at most", doubled),
            (f"a status that is none of {', '.join(STATUSES)}", strange),
        )
        if ids
    ]
    if problems:
        raise AdoptionError(
            "dsar_requests has rows that cannot be adopted, and nothing was changed; "
            + "; ".join(problems)
            + ". Give these rows a unique, usable reference and a known status, then: dsar migrate"
        )


def _listed(ids: list[Any]) -> str:
    shown = ", ".join(map(str, ids[:SHOWN]))
    return shown if len(ids) <= SHOWN else f"{shown} … ({len(ids)} in all)"


def _widen(bind: Connection, columns: dict[str, Any]) -> None:
    """Make room for sizes over 2 GiB, our codes, and (MariaDB) fractions of a second.

    SQLite's columns hold any size. Types of keys and of time columns are the application's.
    """
    if bind.dialect.name == "sqlite":
        return
    wanted: dict[str, sa.types.TypeEngine[Any]] = {}
    if not isinstance(columns["export_bytes_size"]["type"], sa.BigInteger):
        wanted["export_bytes_size"] = sa.BigInteger()
    for name in {"last_error", PATH} & columns.keys():
        if getattr(columns[name]["type"], "length", None) is not None:
            wanted[name] = sa.Text()
    status = columns["status"]["type"]
    if not isinstance(status, sa.Enum) and 0 < (getattr(status, "length", None) or 0) < 20:
        wanted["status"] = sa.String(20)
    if bind.dialect.name in ("mysql", "mariadb"):
        for name in ("requested_at", "completed_at"):
            if not getattr(columns[name]["type"], "fsp", None):
                wanted[name] = mysql.DATETIME(fsp=6)
    for name, kind in wanted.items():
        op.alter_column(
            "dsar_requests",
            name,
            type_=kind,
            existing_nullable=columns[name]["nullable"],
            existing_server_default=_existing_default(columns[name]),
        )


def _existing_default(column: dict[str, Any]) -> Any:
    """The column's own default, which MariaDB's MODIFY would drop unless repeated."""
    return None if column.get("default") is None else sa.text(column["default"])


def _translate_rows(bind: Connection) -> None:
    """Old states in today's terms. Each statement is without effect when run again."""
    report = context.config.attributes["report"]
    r = REQUESTS.c
    report.adopted = True
    report.adopted_rows = bind.execute(sa.select(sa.func.count()).select_from(REQUESTS)).scalar()
    report.reset_processing = bind.execute(
        sa.update(REQUESTS).where(r.status == "processing").values(status="pending")
    ).rowcount
    report.replaced_errors = bind.execute(
        sa.update(REQUESTS)
        .where(r.last_error.is_not(None), r.last_error != "legacy_error")
        .values(last_error="legacy_error")
    ).rowcount
    report.unverified = bind.execute(
        sa.text(
            "UPDATE dsar_requests SET export_state = 'unverified', exported_at = completed_at "
            "WHERE status = 'completed' AND export_state IS NULL"
        )
    ).rowcount
