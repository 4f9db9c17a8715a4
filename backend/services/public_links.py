"""Public links against records: each reference leads to its recorded version, or nowhere.

Rows are read in batches without a lock; only a link that is not as recorded costs a transaction
with its row locked. A row that another transaction holds locked is passed over, not waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from backend.errors import DatabaseBusy
from backend.models import DSARRequest
from backend.references import is_usable_reference
from backend.services.batches import batches
from backend.services.claims import Claims
from backend.services.control import Controller
from backend.services.export_store import ExportStore
from backend.services.request_rows import REQUESTS, recorded_token

_BATCH: Final = 200


@dataclass(slots=True)
class LinkCounts:
    """How many links were repaired or deleted, and how many rows were locked by others."""

    repaired: int = 0
    locked: int = 0

    def add(self, repaired: bool | None) -> None:
        """Count what ``PublicLinks.repair`` returned."""
        self.repaired += bool(repaired)
        self.locked += repaired is None


class PublicLinks:
    """The public links of one store, as one control database's records want them.

    ``stop`` is asked between two steps whether to end early.
    """

    def __init__(
        self,
        controller: Controller,
        claims: Claims,
        store: ExportStore,
        *,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._control = controller
        self._claims = claims
        self._store = store
        self._stop = stop

    def repair(self, request_id: int) -> bool | None:
        """Make one request's link what its record says; return whether it had to be changed.

        None: another transaction holds the row locked, and nothing was done.
        """
        try:
            return self._claims.relink(request_id, self._store.repair_link, wait=False)
        except DatabaseBusy:
            return None  # SQLite, where one writer locks them all

    def is_recorded(self, reference_id: str | None, request_id: int, token: int | None) -> bool:
        """Whether the reference leads to that claim's version; with None: nowhere."""
        if not is_usable_reference(reference_id or "") or self._store.public_prefix is None:
            return True  # no link can be of it
        assert reference_id is not None
        if token is None:
            return not self._store.has_link(reference_id)
        return self._store.links_to(reference_id, (request_id, token))

    def repair_all(self, *, orphans: bool) -> LinkCounts:
        """Look at the link of every recorded version, then at every link, and repair them.

        ``orphans``: delete the links of references that no request goes by, too. Raises the
        database's and the store's errors; what was done until then stays done.
        """
        counts = LinkCounts()
        if self._store.public_prefix is None:
            return counts
        for row in self._recorded():
            if self._stop():
                return counts
            if not self.is_recorded(row["gdpr_reference_id"], row["id"], row["token"]):
                counts.add(self.repair(row["id"]))
        others = self.repair_public(orphans=orphans)
        return LinkCounts(counts.repaired + others.repaired, counts.locked + others.locked)

    def repair_public(self, *, orphans: bool) -> LinkCounts:
        """The second half of ``repair_all``: every link that is there."""
        counts = LinkCounts()
        for references in batches(self._store.public_references(), _BATCH):
            if self._stop():
                return counts
            self._repair_batch(references, counts, orphans=orphans)
        return counts

    def _recorded(self) -> Iterator[RowMapping]:
        r = REQUESTS.c
        query = (
            sa.select(r.id, r.gdpr_reference_id, r.export_claim_token.label("token"))
            .where(r.export_state == DSARRequest.EXPORT_RECORDED)
            .order_by(r.id)
            .limit(_BATCH)
        )
        page = query
        while rows := self._control.read(partial(_rows, page)):
            yield from rows
            page = query.where(r.id > rows[-1]["id"])

    def _repair_batch(
        self, references: Sequence[str], counts: LinkCounts, *, orphans: bool
    ) -> None:
        lowered = {reference.lower(): reference for reference in references}
        reference = REQUESTS.c.gdpr_reference_id
        column: sa.ColumnElement[Any] = reference
        if self._control.engine.dialect.name in ("sqlite", "postgresql"):
            column = sa.func.lower(reference)
        query = sa.select(
            REQUESTS.c.id, reference, REQUESTS.c.export_state, REQUESTS.c.export_claim_token
        ).where(column.in_(lowered))
        for row in self._control.read(partial(_rows, query)):
            exact = row["gdpr_reference_id"]
            if lowered.pop(exact.lower(), None) != exact:
                continue
            token = recorded_token(row)
            if token is None or not self._store.links_to(exact, (row["id"], token)):
                counts.add(self.repair(row["id"]))
        for orphan in lowered.values() if orphans else ():
            self._store.unlink_public(orphan)
            counts.repaired += 1


def _rows(query: sa.Select[Any], connection: Connection) -> Sequence[RowMapping]:
    return connection.execute(query).mappings().all()
