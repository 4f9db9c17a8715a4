"""The trail of sweeps: one row per sweep that did something."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from backend.extensions import Model
from backend.models.types import UtcDateTime


class DSARSweep(Model):
    """Counts and timing of one sweep. ``error_code`` says why it ended early, if it did."""

    __tablename__ = "dsar_sweeps"
    __table_args__ = (sa.Index("ix_dsar_sweeps_started_at", "started_at"),)

    sweep_id: Mapped[str] = mapped_column(sa.String(36), primary_key=True)
    worker: Mapped[str] = mapped_column(sa.String(255))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime] = mapped_column(UtcDateTime)
    duration_ms: Mapped[int] = mapped_column(sa.BigInteger)
    claimed: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    completed: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    retried: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    failed: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    released: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    reclaimed: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    error_code: Mapped[str | None] = mapped_column(sa.String(64))
