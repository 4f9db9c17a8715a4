"""The application's API tokens."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from backend.extensions import Model
from backend.models.types import BigKey, UtcDateTime


class ApiToken(Model):
    """A credential that a person made; only its hash is stored."""

    __tablename__ = "api_tokens"
    __table_args__ = (sa.Index("ix_api_tokens_user_id", "user_id", "id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigKey, sa.ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(sa.String(200))
    prefix: Mapped[str | None] = mapped_column(sa.String(16))
    token_hash: Mapped[str] = mapped_column(sa.String(255))
    scopes: Mapped[object | None] = mapped_column(sa.JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=sa.func.now())
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
