"""File against record: what a completed request promises, looked at on disk.

Rows are read in batches without a lock, so that a long history costs no transaction a request, and
a row that another transaction holds locked stops nothing. What cannot be looked at now is reported
as that, and the look goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from backend.errors import (
    RequestNotFound,
    StoreUnavailable,
    VersionDamaged,
    WrongState,
    WrongSubject,
)
from backend.models import DSARRequest
from backend.services.claims import Claims
from backend.services.control import Controller
from backend.services.export_store import ADOPTED_TOKEN, ExportStore, Version
from backend.services.ownership import require_own_root
from backend.services.public_links import LinkCounts, PublicLinks
from backend.services.request_rows import REQUESTS, is_reference, recorded_token, reference_is
from backend.services.subject_digest import digest_key, names_another

_BATCH: Final = 1000
# So many versions in a row that the store does not give are an outage of all of it.
_OUTAGE: Final = 5

GOOD: Final = "good"
MISSING: Final = "missing"
DAMAGED: Final = "damaged"
DIFFERS: Final = "differs"
WRONG: Final = "wrong_subject"
UNAVAILABLE: Final = "unavailable"
PRUNED: Final = "pruned"
UNVERIFIED: Final = "unverified"
NONE: Final = "no export"
_BAD: Final = (MISSING, DAMAGED, DIFFERS, WRONG)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one request's export.

    ``state`` is ``good``; ``missing``, ``damaged`` (does not open) or ``differs`` (size or digest
    is not the recorded one); ``wrong_subject`` (the row names another person than the version is
    of); ``unavailable`` (the store did not give it now); or, without a file to be compared,
    ``pruned``, ``unverified`` (an adopted export, of which no digest was recorded) or ``no
    export``. ``link_repaired``: the public link led elsewhere, or was not there; with
    ``row_locked`` it still does, because another transaction holds the row locked.
    """

    request_id: int
    reference_id: str | None
    state: str
    link_repaired: bool = False
    row_locked: bool = False

    @property
    def is_bad(self) -> bool:
        return self.state in _BAD

    @property
    def is_whole(self) -> bool:
        """Whether everything could be looked at."""
        return self.state != UNAVAILABLE and not self.row_locked


def _rows(query: sa.Select[Any], connection: Connection) -> Sequence[RowMapping]:
    return connection.execute(query).mappings().all()


class Verification:
    """Verifies one control database's exports in one store."""

    def __init__(self, controller: Controller, claims: Claims, store: ExportStore) -> None:
        self._control = controller
        self._links = PublicLinks(controller, claims, store)
        self._store = store

    def verify(self, reference_id: str) -> Finding:
        """Look at one request's export and repair its link.

        Raises ``RequestNotFound``; ``RootNotOurs`` where there is nothing of ours to repair;
        ``StoreUnavailable``.
        """
        require_own_root(self._control, self._store)
        return self._look(self._find(reference_id))

    def recorded(self, reference_id: str) -> Version:
        """The version on record of a request, not looked at.

        Raises ``RequestNotFound``; ``WrongState`` when there is none, or it was pruned;
        ``WrongSubject`` when it is of another person than the request names by now.
        """
        row = self._find(reference_id)
        if row["export_state"] != DSARRequest.EXPORT_RECORDED:
            raise WrongState(
                f"{reference_id} has no export on record; make one with: dsar export {reference_id}"
            )
        if _is_anothers(row):
            raise WrongSubject(
                f"the export of {reference_id} is of another person than the request names; see "
                "wrong_subject in deploy/RUNBOOK.md"
            )
        size, sha256 = row["export_bytes_size"], row["export_sha256"]
        return Version(row["id"], row["export_claim_token"], size, sha256)

    def _find(self, reference_id: str) -> RowMapping:
        row = self._read(reference_is(self._control, reference_id))
        if row is None or not is_reference(row["gdpr_reference_id"], reference_id):
            raise RequestNotFound(
                f"there is no request with the reference {reference_id!r}; see: dsar list"
            )
        return row

    def _read(self, condition: sa.ColumnElement[bool]) -> RowMapping | None:
        query = sa.select(*_COLUMNS).where(condition)
        return self._control.read(lambda connection: connection.execute(query).mappings().first())

    def verify_all(self, after: int | None = None) -> Iterator[Finding]:
        """Look at every export on record, in the order of the requests' ids.

        With ``after`` at those with a greater id: to go on where an earlier look ended. A version
        that the store does not give now is a finding, and the look goes on; ``StoreUnavailable``
        is raised once several in a row are. Raises what ``verify`` raises.
        """
        require_own_root(self._control, self._store)
        query = sa.select(*_COLUMNS).where(REQUESTS.c.export_state.is_not(None))
        query = query.order_by(REQUESTS.c.id).limit(_BATCH)
        page = query if after is None else query.where(REQUESTS.c.id > after)
        failed = 0
        while rows := self._control.read(partial(_rows, page)):
            for row in rows:
                try:
                    yield self._look(row)
                    failed = 0
                except StoreUnavailable:
                    failed += 1
                    if failed >= _OUTAGE:
                        raise
                    yield Finding(row["id"], row["gdpr_reference_id"], UNAVAILABLE)
            page = query.where(REQUESTS.c.id > rows[-1]["id"])

    def repair_links(self) -> LinkCounts:
        """Repair the links of every reference that has one; see ``PublicLinks``.

        Those of what is recorded ``verify_all`` repairs; this finds the others: of a pruned export,
        or of one that was never recorded.
        """
        return self._links.repair_public(orphans=False)

    def _look(self, row: RowMapping) -> Finding:
        state = self._state(row)
        while state in _BAD:
            # A sweep may have recorded a newer version, or pruned this one, in the meantime.
            again = self._read(REQUESTS.c.id == row["id"])
            if again is None or again == row:
                break
            row = again
            state = self._state(row)
        repaired: bool | None = False
        reference = row["gdpr_reference_id"]
        token = recorded_token(row)
        if token != ADOPTED_TOKEN and not self._links.is_recorded(reference, row["id"], token):
            repaired = self._links.repair(row["id"])
        return Finding(row["id"], reference, state, bool(repaired), repaired is None)

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
        if (version.size, version.sha256) != recorded:
            return DIFFERS
        return WRONG if _is_anothers(row) else GOOD


def _is_anothers(row: RowMapping) -> bool:
    """Whether a row's recorded version is of another person than the row names."""
    return names_another(
        row["export_subject_digest"],
        row["digest_key"],
        row["id"],
        row["export_claim_token"],
        row["user_id"],
    )


_COLUMNS: Final = (
    REQUESTS.c.id,
    REQUESTS.c.gdpr_reference_id,
    REQUESTS.c.export_state,
    REQUESTS.c.export_claim_token,
    REQUESTS.c.export_bytes_size,
    REQUESTS.c.export_sha256,
    REQUESTS.c.user_id,
    REQUESTS.c.export_subject_digest,
    digest_key.label("digest_key"),
)
