"""Deleting what has expired: files after their days, leftovers at once, old trails.

The record of a request stays; its file goes. Each step may be interrupted anywhere: the record
says ``pruned`` (by COMMIT) before a byte is deleted, and what an interruption leaves on disk is a
leftover that the next prune deletes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from backend.models import DSARAttempt, DSARRequest, DSARSweep
from backend.services.claims import Claims
from backend.services.control import Controller
from backend.services.export_store import ADOPTED_TOKEN, ExportStore, StoredFile
from backend.services.ownership import require_own_root
from backend.services.public_links import PublicLinks
from backend.services.request_rows import (
    ATTEMPTS,
    REQUESTS,
    expired_before,
    recorded_token,
    retention_order,
)

SWEEPS: Final[sa.Table] = DSARSweep.__table__  # type: ignore[assignment]

# The trail accounts for what was done (GDPR Art. 5(2)) for three years, without personal data.
TRAIL_DAYS: Final = 3 * 365
_BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class PruneResult:
    """How many exports were pruned, leftovers deleted, links mended and trail rows deleted."""

    pruned: int = 0
    leftovers: int = 0
    links: int = 0
    trail: int = 0


class Retention:
    """Prunes one control database and its export store. ``retention_days`` 0 keeps files.

    ``stop`` is asked between two steps whether to end early; what is left is left to the next.
    """

    def __init__(
        self,
        controller: Controller,
        claims: Claims,
        store: ExportStore,
        *,
        retention_days: int,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._control = controller
        self._links = PublicLinks(controller, claims, store, stop=stop)
        self._store = store
        self._days = retention_days
        self._stop = stop

    def expires_before(self, now: datetime) -> datetime | None:
        """Exports made before this instant are to be pruned; None: none ever."""
        return now - timedelta(days=self._days) if self._days else None

    def prune_expired(self, *, limit: int) -> int:
        """Prune at most ``limit`` exports that are past their days; return how many.

        Raises the database's and the store's errors, ``RootNotOurs``; what was done until then
        stays done.
        """
        require_own_root(self._control, self._store)
        pruned = 0
        while pruned < limit and not self._stop() and self._prune_one():
            pruned += 1
        return pruned

    def prune(self) -> PruneResult:
        """Prune everything that has expired, then delete leftovers and old trail rows.

        Safe beside running sweeps, and to be repeated. Raises what ``prune_expired`` raises.
        """
        self._store.prepare()
        require_own_root(self._control, self._store)
        pruned = 0
        while not self._stop() and self._prune_one():
            pruned += 1
        leftovers = self._delete_leftovers()
        links = self._links.repair_all(orphans=True).repaired
        return PruneResult(pruned, leftovers, links, self._delete_trail())

    def _prune_one(self) -> bool:
        taken = self._control.run(self._mark_pruned)
        if taken is None:
            return False
        self._store.delete(taken["id"], taken["export_claim_token"] or ADOPTED_TOKEN)
        self._links.repair(taken["id"])
        return True

    def _mark_pruned(self, connection: Connection) -> RowMapping | None:
        before = self.expires_before(self._control.now(connection))
        if before is None:
            return None
        r = REQUESTS.c
        # An adopted export is pruned where it lies under the public name; what lies elsewhere was
        # put there by another program, which alone knows how to delete it.
        conditions = [r.export_state == DSARRequest.EXPORT_RECORDED]
        if self._store.public_prefix is not None:
            ours = sa.literal(self._store.public_prefix) + r.gdpr_reference_id + ".zip"
            adopted = sa.and_(
                r.export_state == DSARRequest.EXPORT_UNVERIFIED,
                sa.or_(r.export_storage_path.is_(None), r.export_storage_path == ours),
            )
            conditions.append(adopted)
        # One after the other: of two states at once no index gives the oldest without a sort.
        for condition in conditions:
            query = (
                sa.select(r.id, r.export_claim_token)
                .where(condition, r.legal_hold_at.is_(None), expired_before(before))
                .order_by(*retention_order(self._control))
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            row = connection.execute(query).mappings().first()
            if row is not None:
                break
        if row is not None:
            connection.execute(
                sa.update(REQUESTS)
                .where(r.id == row["id"])
                .values(
                    export_state=DSARRequest.EXPORT_PRUNED,
                    export_storage_path=None,
                    export_subject_digest=None,
                )
            )
        return row

    def _delete_leftovers(self) -> int:
        deleted = 0
        batch: list[StoredFile] = []
        for found in self._store.stored_files():
            batch.append(found)
            if self._stop():
                return deleted
            if len(batch) == _BATCH:
                deleted += self._delete_unwanted(batch)
                batch = []
        return deleted + self._delete_unwanted(batch)

    def _delete_unwanted(self, batch: list[StoredFile]) -> int:
        """Delete those files whose token is neither the row's claim nor its record.

        Tokens only grow, so a file that is not wanted now never will be.
        """
        if not batch:
            return 0
        r = REQUESTS.c
        query = sa.select(
            r.id, r.status, r.claim_token, r.export_claim_token, r.export_state
        ).where(r.id.in_({found.request_id for found in batch}))
        found_rows = self._control.read(lambda c: c.execute(query).mappings().all())
        rows = {row["id"]: row for row in found_rows}
        unwanted = [found for found in batch if not _is_wanted(found, rows.get(found.request_id))]
        for found in unwanted:
            self._store.delete_file(found)
        return len(unwanted)

    def _delete_trail(self) -> int:
        def delete(connection: Connection) -> int:
            before = self._control.now(connection) - timedelta(days=TRAIL_DAYS)
            a = ATTEMPTS.c
            attempts = sa.delete(ATTEMPTS).where(
                a.started_at < before, a.outcome != DSARAttempt.OUTCOME_RUNNING
            )
            sweeps = sa.delete(SWEEPS).where(SWEEPS.c.started_at < before)
            return connection.execute(attempts).rowcount + connection.execute(sweeps).rowcount

        return self._control.run(delete)


def _is_wanted(found: StoredFile, row: RowMapping | None) -> bool:
    if row is None:
        return False
    if row["status"] == DSARRequest.STATUS_PROCESSING and row["claim_token"] == found.token:
        return True
    return found.token == recorded_token(row) and found.is_version
