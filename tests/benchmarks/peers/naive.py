"""The naive way: every row as an ORM object, one ``json.dumps``, one ZIP in memory.

    python -m tests.benchmarks.peers.naive DATABASE_URL USER_ID FILE

What one writes first, and what works until a person has much data. It exports the same columns.
"""

from __future__ import annotations

import json
import sys
import time
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from backend.models import ApiToken, AuditLog, User, Workflow, WorkflowRun
from tests.benchmarks.peers import exported_columns
from tests.factories import table


def collect(session: Session, user_id: int) -> dict[str, Any]:
    queries: dict[str, tuple[Any, Any]] = {
        "account": (User, User.id == user_id),
        "workflows": (Workflow, Workflow.user_id == user_id),
        "workflow_runs": (WorkflowRun, WorkflowRun.user_id == user_id),
        "api_tokens": (ApiToken, ApiToken.user_id == user_id),
        "audit_logs": (
            AuditLog,
            sa.or_(AuditLog.actor_user_id == user_id, AuditLog.subject_user_id == user_id),
        ),
    }
    return {
        name: [
            {column: getattr(row, column) for column in exported_columns(table(model))}
            for row in session.scalars(sa.select(model).where(condition).order_by(model.id)).all()
        ]
        for name, (model, condition) in queries.items()
    }


def main(url: str, user_id: int, file: Path) -> None:
    started = time.perf_counter()
    with Session(sa.create_engine(url)) as session:
        sections = collect(session, user_id)
    target = BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, rows in sections.items():
            archive.writestr(f"{name}.json", json.dumps(rows, indent=2, default=str))
    file.write_bytes(target.getvalue())
    print(json.dumps({"work_seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
