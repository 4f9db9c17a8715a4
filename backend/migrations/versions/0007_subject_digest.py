"""Whose data a recorded version holds: a keyed digest on the request, and its key.

The key is random, one for each database, and stands in the version table, which every role may
read already. NULL where it is not known: in what was exported before. No database rewrites the
rows. Looks before it acts, as MariaDB commits each statement.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import context, op

revision = "0007"
down_revision = "0006"

TABLE = "dsar_requests"
DIGEST = "export_subject_digest"
KEY = "subject_digest_key"


def upgrade() -> None:
    bind = op.get_bind()
    versions = context.config.attributes["version_table"]
    there = {column["name"] for column in sa.inspect(bind).get_columns(TABLE)}
    if DIGEST not in there:
        op.add_column(TABLE, sa.Column(DIGEST, sa.String(64)))
    if KEY not in {column["name"] for column in sa.inspect(bind).get_columns(versions)}:
        op.add_column(versions, sa.Column(KEY, sa.String(64)))
    column = sa.column(KEY, sa.String)
    update = sa.update(sa.table(versions, column)).where(column.is_(None))
    bind.execute(update.values({KEY: secrets.token_hex(32)}))
