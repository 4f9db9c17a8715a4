"""The trail of attempts: one row per claimed try, without personal data."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from backend.extensions import Model
from backend.models.types import BigKey, UtcDateTime


class DSARAttempt(Model):
    """One try at one request, keyed by the request's id and the claim token.

    ``outcome`` is ``running`` until the try ends, then one of the others. No foreign key: the
    trail outlives the request.
    """

    __tablename__ = "dsar_attempts"
    __table_args__ = (
        sa.Index("ix_dsar_attempts_started_at", "started_at"),
        sa.Index("ix_dsar_attempts_sweep_id", "sweep_id"),
    )

    OUTCOME_RUNNING: ClassVar[str] = "running"
    OUTCOME_COMPLETED: ClassVar[str] = "completed"
    OUTCOME_RETRIED: ClassVar[str] = "retried"
    OUTCOME_FAILED: ClassVar[str] = "failed"
    OUTCOME_RELEASED: ClassVar[str] = "released"
    OUTCOME_LOST: ClassVar[str] = "lost"
    OUTCOME_SUPERSEDED: ClassVar[str] = "superseded"

    request_id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=False)
    claim_token: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=False)
    attempt: Mapped[int] = mapped_column(sa.Integer)
    sweep_id: Mapped[str | None] = mapped_column(sa.String(36))
    worker: Mapped[str] = mapped_column(sa.String(255))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    duration_ms: Mapped[int | None] = mapped_column(sa.BigInteger)
    rows: Mapped[int | None] = mapped_column(sa.BigInteger)
    bytes: Mapped[int | None] = mapped_column(sa.BigInteger)
    sha256: Mapped[str | None] = mapped_column(sa.String(64))
    files_not_included: Mapped[int | None] = mapped_column(sa.Integer)
    outcome: Mapped[str] = mapped_column(sa.String(20))
    error_code: Mapped[str | None] = mapped_column(sa.String(64))
    error_class: Mapped[str | None] = mapped_column(sa.String(200))
    error_at: Mapped[str | None] = mapped_column(sa.Text)
