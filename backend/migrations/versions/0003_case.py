"""The case around the export: extension, hold, hand-over, legal hold.

Every step looks before it acts, so that it can be run again where it was interrupted (MariaDB
commits each statement). The defaults are constants: no row is rewritten, and an INSERT of the
four given columns is swept as before.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.engine import Connection

from backend.models.types import UtcDateTime

revision = "0003"
down_revision = "0002"

TABLE = "dsar_requests"


def upgrade() -> None:
    bind = op.get_bind()
    there = {column["name"] for column in sa.inspect(bind).get_columns(TABLE)}
    for column in _columns():
        if column.name not in there:
            op.add_column(TABLE, column)
    indexes = _index_names(bind)
    # What is under a legal hold is to be passed over by the index, not one row after the other.
    if "ix_dsar_requests_retention" not in indexes:
        columns = ["export_state", "legal_hold_at", "exported_at"]
        op.create_index("ix_dsar_requests_retention", TABLE, columns)
    if "ix_dsar_requests_export" in indexes:
        op.drop_index("ix_dsar_requests_export", TABLE)


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("extended_at", UtcDateTime()),
        sa.Column("extension_months", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("extension_reason", sa.Text()),
        sa.Column("held_at", UtcDateTime()),
        sa.Column("held_seconds", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("hold_reason", sa.Text()),
        sa.Column("delivered_at", UtcDateTime()),
        sa.Column("legal_hold_at", UtcDateTime()),
        sa.Column("legal_hold_reason", sa.Text()),
    ]


def _index_names(bind: Connection) -> set[str]:
    if bind.dialect.name == "sqlite":
        # Reflection passes over an index on an expression, with a warning.
        query = sa.text("SELECT name FROM sqlite_master WHERE type = 'index'")
        return set(bind.execute(query).scalars())
    return {str(index["name"]) for index in sa.inspect(bind).get_indexes(TABLE)}
