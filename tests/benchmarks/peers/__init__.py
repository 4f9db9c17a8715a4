"""The other ways: small programs, each started as a process of its own and measured whole."""

from __future__ import annotations

import sqlalchemy as sa

_CREDENTIALS = frozenset({"password_hash", "totp_secret", "token_hash"})


def exported_columns(table: sa.Table) -> list[str]:
    """The columns that ours exports of the application's tables, so that all do the same work."""
    return [column.name for column in table.columns if column.name not in _CREDENTIALS]
