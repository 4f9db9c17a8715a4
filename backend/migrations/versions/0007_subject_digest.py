"""Whose data a recorded version holds: a keyed digest on the request, and its key.

And on MariaDB every text: the columns that were added to an adopted table have its character set,
and a latin1 table refused a reason in Cyrillic, or kept question marks of it.

The key is random, one for each database, and stands in the version table, which every role may
read already. NULL where it is not known: in what was exported before. No database rewrites the
rows. Looks before it acts, as MariaDB commits each statement.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.engine import Connection

revision = "0007"
down_revision = "0006"

TABLE = "dsar_requests"
DIGEST = "export_subject_digest"
KEY = "subject_digest_key"
# The texts that we alone write; the reference and the state are the application's, too.
OURS = (
    *("last_error", "export_storage_path", "claimed_from", "claimed_by", "export_state"),
    *("export_sha256", "extension_reason", "hold_reason", "legal_hold_reason", DIGEST),
)


def upgrade() -> None:
    bind = op.get_bind()
    versions = context.config.attributes["version_table"]
    there = {column["name"] for column in sa.inspect(bind).get_columns(TABLE)}
    if DIGEST not in there:
        op.add_column(TABLE, sa.Column(DIGEST, sa.String(64)))
    if KEY not in {column["name"] for column in sa.inspect(bind).get_columns(versions)}:
        op.add_column(versions, sa.Column(KEY, sa.String(64)))
    if bind.dialect.name in ("mysql", "mariadb"):
        _take_every_text(bind)
    column = sa.column(KEY, sa.String)
    update = sa.update(sa.table(versions, column)).where(column.is_(None))
    bind.execute(update.values({KEY: secrets.token_hex(32)}))


def _take_every_text(bind: Connection) -> None:
    """Give our texts the character set that a new table has, where they have another."""
    query = sa.text(
        "SELECT column_name, column_type FROM information_schema.columns"
        " WHERE table_schema = DATABASE() AND table_name = :table AND is_nullable = 'YES'"
        " AND column_name IN :ours AND character_set_name <> 'utf8mb4'"
    ).bindparams(sa.bindparam("ours", OURS, expanding=True), table=TABLE)
    changes = [f"MODIFY {name} {kind} CHARACTER SET utf8mb4" for name, kind in bind.execute(query)]
    if changes:
        bind.exec_driver_sql(f"ALTER TABLE {TABLE} {', '.join(changes)}")
