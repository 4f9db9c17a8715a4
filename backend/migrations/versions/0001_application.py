"""The application's own tables, each where it is missing; an existing one is left exactly alone.

Not made where people's data lives in another database (DSAR_SOURCE_DATABASE_URL).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import context, op

from backend.errors import AdoptionError
from backend.models.types import BigKey, UtcDateTime

revision = "0001"
down_revision = None

# A server whose default is latin1 would refuse most of the world's names.
UTF8: dict[str, Any] = {"mysql_charset": "utf8mb4", "mariadb_charset": "utf8mb4"}


def upgrade() -> None:
    if not context.config.attributes["with_application"]:
        return
    inspector = sa.inspect(op.get_bind())
    existing = set(inspector.get_table_names())
    _check_users(inspector, existing)
    for name, make in (
        ("users", _users),
        ("workflows", _workflows),
        ("workflow_runs", _workflow_runs),
        ("api_tokens", _api_tokens),
        ("audit_logs", _audit_logs),
    ):
        if name not in existing:
            make()


def _check_users(inspector: sa.Inspector, existing: set[str]) -> None:
    """Raise where ``users`` is another application's: whose sections must be declared.

    Not where our requests are there already: they were made, or adopted, beside it before.
    """
    if "users" not in existing or "dsar_requests" in existing:
        return
    there = {column["name"] for column in inspector.get_columns("users")}
    if missing := sorted({"id", "email", "name", "created_at"} - there):
        raise AdoptionError(
            f"the table users has no column {', '.join(missing)}: it is not this program's own "
            "demonstration. Nothing was made. Declare what an export of this database holds: "
            "dsar sections draft -o sections.toml, set DSAR_SECTIONS_FILE to that file, then: "
            "dsar migrate"
        )


def _instant(name: str, *, now: bool = False) -> sa.Column[object]:
    if now:
        return sa.Column(name, UtcDateTime(), nullable=False, server_default=sa.func.now())
    return sa.Column(name, UtcDateTime())


def _users() -> None:
    op.create_table(
        "users",
        sa.Column("id", BigKey, primary_key=True),
        sa.Column("email", sa.String(320), nullable=False, unique=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("locale", sa.String(35)),
        sa.Column("company", sa.String(200)),
        sa.Column("phone", sa.String(40)),
        sa.Column("preferences", sa.JSON()),
        sa.Column("monthly_spend_eur", sa.Numeric(12, 2)),
        sa.Column("password_hash", sa.String(255)),
        sa.Column("totp_secret", sa.String(255)),
        _instant("created_at", now=True),
        _instant("last_login_at"),
        sa.Column("last_login_ip", sa.String(45)),
        _instant("deleted_at"),
        **UTF8,
    )


def _owner(name: str = "user_id", *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, BigKey, sa.ForeignKey("users.id"), nullable=nullable)


def _workflows() -> None:
    op.create_table(
        "workflows",
        sa.Column("id", BigKey, primary_key=True),
        _owner(),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("definition", sa.JSON()),
        sa.Column("is_active", sa.Boolean(), nullable=False, server_default=sa.true()),
        _instant("created_at", now=True),
        _instant("updated_at"),
        _instant("deleted_at"),
        **UTF8,
    )
    op.create_index("ix_workflows_user_id", "workflows", ["user_id", "id"])


def _workflow_runs() -> None:
    op.create_table(
        "workflow_runs",
        sa.Column("id", BigKey, primary_key=True),
        sa.Column("workflow_id", BigKey, sa.ForeignKey("workflows.id"), nullable=False),
        _owner(),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("trigger", sa.String(40)),
        sa.Column("payload", sa.JSON()),
        sa.Column("error", sa.Text()),
        sa.Column("cost_eur", sa.Numeric(12, 6)),
        _instant("started_at"),
        _instant("finished_at"),
        **UTF8,
    )
    op.create_index("ix_workflow_runs_user_id", "workflow_runs", ["user_id", "id"])
    op.create_index("ix_workflow_runs_workflow_id", "workflow_runs", ["workflow_id"])


def _api_tokens() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", BigKey, primary_key=True),
        _owner(),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("prefix", sa.String(16)),
        sa.Column("token_hash", sa.String(255), nullable=False),
        sa.Column("scopes", sa.JSON()),
        _instant("created_at", now=True),
        _instant("last_used_at"),
        _instant("expires_at"),
        _instant("revoked_at"),
        **UTF8,
    )
    op.create_index("ix_api_tokens_user_id", "api_tokens", ["user_id", "id"])


def _audit_logs() -> None:
    op.create_table(
        "audit_logs",
        sa.Column("id", BigKey, primary_key=True),
        _owner("actor_user_id", nullable=True),
        _owner("subject_user_id", nullable=True),
        sa.Column("action", sa.String(100), nullable=False),
        sa.Column("ip_address", sa.String(45)),
        sa.Column("user_agent", sa.Text()),
        sa.Column("details", sa.JSON()),
        _instant("created_at", now=True),
        **UTF8,
    )
    op.create_index("ix_audit_logs_actor_user_id", "audit_logs", ["actor_user_id", "id"])
    op.create_index("ix_audit_logs_subject_user_id", "audit_logs", ["subject_user_id", "id"])
