"""How many files an export lacks, on its attempt.

NULL where it is not known: of attempts that did not complete, or did before. No database rewrites
the rows. Looks before it acts, as MariaDB commits each statement.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

TABLE = "dsar_attempts"
COLUMN = "files_not_included"


def upgrade() -> None:
    there = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(TABLE)}
    if COLUMN not in there:
        op.add_column(TABLE, sa.Column(COLUMN, sa.Integer()))
