"""A data subject's request, and the state of its export."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Final

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from backend.extensions import Model
from backend.models.types import BigKey, PersonKey, UtcDateTime

# A constant, because SQLite adds no column with any other default once rows exist; and in the
# past, so that a row which another program inserts is due at once.
EPOCH: Final = "1970-01-01 00:00:00"


class DSARRequest(Model):
    """One row per request. Only ``services`` (claims, requests, cases, retention) change a row.

    The first nine columns are the application's; every further one is ours and has a server
    default, so that an INSERT of ``user_id, gdpr_reference_id, status, requested_at`` is enough.

    States: ``pending`` → ``processing`` → ``completed`` or ``failed``; ``cancelled``. See the
    README for what leads from one to the other. A pending request with ``held_at`` is held.
    """

    __tablename__ = "dsar_requests"
    __table_args__ = (
        # The claim walks this index in its own order: no sort, whatever is pending.
        sa.Index("ix_dsar_requests_claim", "status", "requested_at", "id", "next_attempt_at"),
        sa.Index("ix_dsar_requests_lease", "status", "lease_expires_at"),
        sa.Index("ix_dsar_requests_retention", "export_state", "legal_hold_at", "exported_at"),
        sa.Index("ix_dsar_requests_user_id", "user_id"),
        {"sqlite_autoincrement": True},
    )

    STATUS_PENDING: ClassVar[str] = "pending"
    STATUS_PROCESSING: ClassVar[str] = "processing"
    STATUS_COMPLETED: ClassVar[str] = "completed"
    STATUS_FAILED: ClassVar[str] = "failed"
    STATUS_CANCELLED: ClassVar[str] = "cancelled"

    EXPORT_RECORDED: ClassVar[str] = "recorded"
    EXPORT_UNVERIFIED: ClassVar[str] = "unverified"
    EXPORT_PRUNED: ClassVar[str] = "pruned"

    # The next_attempt_at of a held request: never due, so the claim needs no other condition.
    HELD_UNTIL: ClassVar[datetime] = datetime(9999, 1, 1, tzinfo=UTC)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    user_id: Mapped[Any] = mapped_column(PersonKey, nullable=True)
    gdpr_reference_id: Mapped[str | None] = mapped_column(sa.String(255))
    status: Mapped[str] = mapped_column(sa.String(20), server_default="pending")
    requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime, server_default=sa.func.now())
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    export_bytes_size: Mapped[int | None] = mapped_column(sa.BigInteger)
    last_error: Mapped[str | None] = mapped_column(sa.Text)
    export_storage_path: Mapped[str | None] = mapped_column(sa.Text)

    next_attempt_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=EPOCH)
    attempts: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    crashes: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    interruptions: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    claim_token: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")
    claimed_from: Mapped[str | None] = mapped_column(sa.String(20))
    claimed_by: Mapped[str | None] = mapped_column(sa.String(255))
    claimed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    exported_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    export_state: Mapped[str | None] = mapped_column(sa.String(20))
    export_claim_token: Mapped[int | None] = mapped_column(sa.BigInteger)
    export_sha256: Mapped[str | None] = mapped_column(sa.String(64))
    export_subject_digest: Mapped[str | None] = mapped_column(sa.String(64))

    extended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    extension_months: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    extension_reason: Mapped[str | None] = mapped_column(sa.Text)
    held_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    held_seconds: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")
    hold_reason: Mapped[str | None] = mapped_column(sa.Text)
    delivered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    legal_hold_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    legal_hold_reason: Mapped[str | None] = mapped_column(sa.Text)


def _on_mariadb(*args: Any, **options: Any) -> bool:
    return bool(options["dialect"].name in ("mysql", "mariadb"))


def _elsewhere(*args: Any, **options: Any) -> bool:
    return not _on_mariadb(*args, **options)


# Unique without regard to case: MariaDB's collation compares so, and so do some file systems,
# where two people would otherwise share a file. MariaDB cannot index an expression and needs not.
_reference = DSARRequest.__table__.c.gdpr_reference_id
sa.Index("uq_dsar_requests_reference", sa.func.lower(_reference), unique=True).ddl_if(
    callable_=_elsewhere
)
sa.Index("uq_dsar_requests_reference_ci", _reference, unique=True).ddl_if(callable_=_on_mariadb)
