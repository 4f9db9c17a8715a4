"""The application's audit log."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from backend.extensions import Model
from backend.models.types import BigKey, UtcDateTime


class AuditLog(Model):
    """Something that was done: by whom (``actor_user_id``), and to whom (``subject_user_id``)."""

    __tablename__ = "audit_logs"
    __table_args__ = (
        sa.Index("ix_audit_logs_actor_user_id", "actor_user_id", "id"),
        sa.Index("ix_audit_logs_subject_user_id", "subject_user_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    actor_user_id: Mapped[int | None] = mapped_column(BigKey, sa.ForeignKey("users.id"))
    subject_user_id: Mapped[int | None] = mapped_column(BigKey, sa.ForeignKey("users.id"))
    action: Mapped[str] = mapped_column(sa.String(100))
    ip_address: Mapped[str | None] = mapped_column(sa.String(45))
    user_agent: Mapped[str | None] = mapped_column(sa.Text)
    details: Mapped[object | None] = mapped_column(sa.JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=sa.func.now())
