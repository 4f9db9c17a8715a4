"""A name of its own for each database, by which an export root knows whose exports it holds.

In the version table, which every role may read already: a table of its own would be one more GRANT
to give before an upgraded release runs. Looks before it acts, as MariaDB commits each statement.
"""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import context, op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    bind = op.get_bind()
    table = context.config.attributes["version_table"]
    if "database_id" not in {column["name"] for column in sa.inspect(bind).get_columns(table)}:
        op.add_column(table, sa.Column("database_id", sa.String(36)))
    column = sa.column("database_id", sa.String)
    versions = sa.table(table, column)
    bind.execute(sa.update(versions).where(column.is_(None)).values(database_id=str(uuid.uuid4())))
