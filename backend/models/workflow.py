"""The application's workflows and their runs."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from backend.extensions import Model
from backend.models.types import BigKey, UtcDateTime


class Workflow(Model):
    """An automation that a person built."""

    __tablename__ = "workflows"
    __table_args__ = (sa.Index("ix_workflows_user_id", "user_id", "id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigKey, sa.ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(sa.String(200))
    description: Mapped[str | None] = mapped_column(sa.Text)
    definition: Mapped[object | None] = mapped_column(sa.JSON)
    is_active: Mapped[bool] = mapped_column(sa.Boolean, server_default=sa.true())
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=sa.func.now())
    updated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class WorkflowRun(Model):
    """One execution of a workflow, on behalf of its owner."""

    __tablename__ = "workflow_runs"
    # (user_id, id): a person's runs in the order of the export straight from the index. A planner
    # that expects ten thousand rows and meets a million would sort them otherwise.
    __table_args__ = (
        sa.Index("ix_workflow_runs_user_id", "user_id", "id"),
        sa.Index("ix_workflow_runs_workflow_id", "workflow_id"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    workflow_id: Mapped[int] = mapped_column(BigKey, sa.ForeignKey("workflows.id"))
    user_id: Mapped[int] = mapped_column(BigKey, sa.ForeignKey("users.id"))
    status: Mapped[str] = mapped_column(sa.String(20))
    trigger: Mapped[str | None] = mapped_column(sa.String(40))
    payload: Mapped[object | None] = mapped_column(sa.JSON)
    error: Mapped[str | None] = mapped_column(sa.Text)
    cost_eur: Mapped[object | None] = mapped_column(sa.Numeric(12, 6))
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
