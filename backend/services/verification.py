"""File against record: what a completed request promises, looked at on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from backend.errors import RequestNotFound, VersionDamaged, WrongState
from backend.models import DSARRequest
from backend.services.claims import Claims
from backend.services.control import Controller
from backend.services.export_store import ExportStore, Version
from backend.services.ownership import require_own_root
from backend.services.request_rows import REQUESTS, reference_is

_BATCH: Final = 200

GOOD: Final = "good"
MISSING: Final = "missing"
DAMAGED: Final = "damaged"
DIFFERS: Final = "differs"
PRUNED: Final = "pruned"
UNVERIFIED: Final = "unverified"
NONE: Final = "no export"
_BAD: Final = (MISSING, DAMAGED, DIFFERS)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one request's export.

    ``state`` is ``good``; ``missing``, ``damaged`` (does not open) or ``differs`` (size or digest
    is not the recorded one); or, without a file to be compared, ``pruned``, ``unverified`` (an
    adopted export, of which no digest was recorded) or ``no export``. ``link_repaired``: the
    public link pointed elsewhere, or was not there.
    """

    request_id: int
    reference_id: str | None
    state: str
    link_repaired: bool = False

    @property
    def is_bad(self) -> bool:
        return self.state in _BAD


def _rows(query: sa.Select[Any], connection: Connection) -> Sequence[RowMapping]:
    return connection.execute(query).mappings().all()


class Verification:
    """Verifies one control database's exports in one store."""

    def __init__(self, controller: Controller, claims: Claims, store: ExportStore) -> None:
        self._control = controller
        self._claims = claims
        self._store = store

    def verify(self, reference_id: str) -> Finding:
        """Look at one request's export and mend its link.

        Raises ``RequestNotFound``, and ``RootNotOurs`` where there is nothing of ours to mend.
        """
        require_own_root(self._control, self._store)
        return self._look(self._find(reference_id))

    def recorded(self, reference_id: str) -> Version:
        """The version on record of a request, not looked at.

        Raises ``RequestNotFound``; ``WrongState`` when there is none, or it was pruned.
        """
        row = self._find(reference_id)
        if row["export_state"] != DSARRequest.EXPORT_RECORDED:
            raise WrongState(
                f"{reference_id} has no export on record; make one with: dsar export {reference_id}"
            )
        size, sha256 = row["export_bytes_size"], row["export_sha256"]
        return Version(row["id"], row["export_claim_token"], size, sha256)

    def _find(self, reference_id: str) -> RowMapping:
        row = self._read(reference_is(self._control, reference_id))
        if row is None:
            raise RequestNotFound(
                f"there is no request with the reference {reference_id!r}; see: dsar list"
            )
        return row

    def _read(self, condition: sa.ColumnElement[bool]) -> RowMapping | None:
        query = sa.select(*_COLUMNS).where(condition)
        return self._control.read(lambda connection: connection.execute(query).mappings().first())

    def verify_all(self) -> Iterator[Finding]:
        """Look at every export on record, in the order of the requests' ids, as ``verify``."""
        require_own_root(self._control, self._store)
        last_id: Any = None
        while True:
            query = sa.select(*_COLUMNS).where(REQUESTS.c.export_state.is_not(None))
            if last_id is not None:
                query = query.where(REQUESTS.c.id > last_id)
            batch = query.order_by(REQUESTS.c.id).limit(_BATCH)
            rows = self._control.read(partial(_rows, batch))
            if not rows:
                return
            last_id = rows[-1]["id"]
            for row in rows:
                yield self._look(row)

    def _look(self, row: RowMapping) -> Finding:
        state = self._state(row)
        while state in _BAD:
            # A sweep may have recorded a newer version, or pruned this one, in the meantime.
            again = self._read(REQUESTS.c.id == row["id"])
            if again is None or again == row:
                break
            row = again
            state = self._state(row)
        repaired = False
        if row["export_state"] in (DSARRequest.EXPORT_RECORDED, DSARRequest.EXPORT_PRUNED):
            repaired = self._claims.relink(row["id"], self._store.repair_link)
        return Finding(row["id"], row["gdpr_reference_id"], state, repaired)

    def _state(self, row: RowMapping) -> str:
        without_file = {
            None: NONE,
            DSARRequest.EXPORT_PRUNED: PRUNED,
            DSARRequest.EXPORT_UNVERIFIED: UNVERIFIED,
        }
        if row["export_state"] in without_file:
            return without_file[row["export_state"]]
        if not self._store.has_version(row["id"], row["export_claim_token"]):
            return MISSING
        try:
            version = self._store.check(row["id"], row["export_claim_token"])
        except VersionDamaged:
            return DAMAGED
        recorded = (row["export_bytes_size"], row["export_sha256"])
        return GOOD if (version.size, version.sha256) == recorded else DIFFERS


_COLUMNS: Final = (
    REQUESTS.c.id,
    REQUESTS.c.gdpr_reference_id,
    REQUESTS.c.export_state,
    REQUESTS.c.export_claim_token,
    REQUESTS.c.export_bytes_size,
    REQUESTS.c.export_sha256,
)
