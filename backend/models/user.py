"""The application's people."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from backend.extensions import Model
from backend.models.types import BigKey, UtcDateTime


class User(Model):
    """A person with an account; the data subject of a request."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    email: Mapped[str] = mapped_column(sa.String(320), unique=True)
    name: Mapped[str] = mapped_column(sa.String(200))
    locale: Mapped[str | None] = mapped_column(sa.String(35))
    company: Mapped[str | None] = mapped_column(sa.String(200))
    phone: Mapped[str | None] = mapped_column(sa.String(40))
    preferences: Mapped[object | None] = mapped_column(sa.JSON)
    monthly_spend_eur: Mapped[object | None] = mapped_column(sa.Numeric(12, 2))
    password_hash: Mapped[str | None] = mapped_column(sa.String(255))
    totp_secret: Mapped[str | None] = mapped_column(sa.String(255))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=sa.func.now())
    last_login_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_login_ip: Mapped[str | None] = mapped_column(sa.String(45))
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
