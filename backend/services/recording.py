"""Recording an export: the transaction whose COMMIT decides, and its answer when that is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from backend.errors import DatabaseBusy, DatabaseUnreachable, Superseded, WrongSubject
from backend.models import DSARAttempt, DSARRequest
from backend.services.claiming import Claiming, Following
from backend.services.control import aware
from backend.services.export_store import Version
from backend.services.request_rows import (
    IS_CURRENT,
    REQUESTS,
    UNCLAIMED,
    Claim,
    ReadRow,
    ending_attempt,
    key_of,
    same_subject,
)
from backend.services.subject_digest import subject_digest
from backend.services.together import Answer, Step, together

_PROCESSING: Final = DSARRequest.STATUS_PROCESSING
_COMPLETED: Final = DSARRequest.STATUS_COMPLETED

# Built once; SET is what the parameters name beside the key. See ``IS_CURRENT``.
_RECORD: Final = (
    sa.update(REQUESTS)
    .where(IS_CURRENT)
    .values(
        completed_at=sa.func.coalesce(
            REQUESTS.c.completed_at, sa.bindparam("at", type_=REQUESTS.c.completed_at.type)
        )
    )
)


@dataclass(frozen=True, slots=True)
class _Exported:
    """What is to be recorded; see ``Recording.record``."""

    claim: Claim
    version: Version
    rows: int
    files_not_included: int
    publish: Callable[[], str]


@dataclass(slots=True)
class _Tried:
    """How often it was tried, and what came of the last try."""

    times: int = 0
    path: str = ""
    looked: bool = False
    claim: Claim | None = None


class Recording(Claiming):
    """The verb that records, beside those that claim."""

    def record(
        self,
        claim: Claim,
        version: Version,
        rows: int,
        publish: Callable[[], str],
        *,
        patience: Callable[[], None],
        following: Following | None = None,
        files_not_included: int = 0,
    ) -> str:
        """Publish a durable version and record it as the request's export: COMMIT decides.

        ``publish`` points the public link at the version and returns where it is; it is called
        with the row locked, and may be called again. ``following`` is the claim to take in the
        same transaction, so that COMMIT decides about both; its fields are set on return. Raises
        ``Superseded`` when the claim is no longer current, and ``WrongSubject`` when its row names
        another person or reference by now (nothing was recorded);
        ``OutcomeUnknown`` when the answer to the COMMIT was lost and ``patience``, called before
        every further look, raised that: a claim that followed, if it took effect, is reclaimed.
        ``rows`` and ``files_not_included`` (how many the version lacks) are noted in the trail.
        """
        tried = _Tried()
        exported = _Exported(claim, version, rows, files_not_included, publish)
        while True:
            try:
                self._control.run(
                    lambda c: self._record_in(c, exported, tried, following), late=True
                )
                break
            except IntegrityError:
                if tried.times > 1:
                    raise
                # The next one's number was another's before; ``claim_due`` knows what to do.
            except DatabaseUnreachable:
                # The COMMIT may be on its way still. Only a read that waits for the row's lock
                # can tell; a plain one could show the row as it was.
                if self.was_recorded(claim, patience=patience):
                    break
        if following is not None:
            following.looked, following.claim = tried.looked, tried.claim
        return tried.path

    def _record_in(
        self,
        connection: Connection,
        exported: _Exported,
        tried: _Tried,
        following: Following | None,
    ) -> None:
        claim, version = exported.claim, exported.version
        tried.times, tried.looked, tried.claim = tried.times + 1, False, None
        row = self._lock_current(connection, claim)
        if not same_subject(claim, row):
            raise wrong_subject(claim)
        now = row["now"]
        tried.path = exported.publish()
        ended = {
            "rows": exported.rows,
            "bytes": version.size,
            "sha256": version.sha256,
            "files_not_included": exported.files_not_included,
        }
        steps = (
            self._recording(claim, version, tried.path, row),
            ending_attempt(claim, now, DSARAttempt.OUTCOME_COMPLETED, **ended),
        )
        # Only at the first try: no record fails for the sake of the next claim.
        if following is not None and tried.times == 1 and following.wanted():
            *_, due = self._write_record(connection, *steps, self._next_due(following))
            tried.looked = True
            tried.claim = self._find_following(connection, following, due.row)
            if tried.claim is not None:
                # Noted before it is written: the COMMIT goes with it, whose answer may be lost.
                self._write_claim(connection, tried.claim, last=True)
        else:
            self._write_record(connection, *steps)

    def was_recorded(self, claim: Claim, *, patience: Callable[[], None]) -> bool:
        """Settle a COMMIT whose answer was lost, or not waited for, by a locking read.

        Asks until the database answers, unless ``patience``, called before every look, raises.
        Raises ``Superseded`` if somebody else won.
        """
        while True:
            patience()
            try:
                with self._control.begin() as connection:
                    row = (
                        connection.execute(
                            sa.select(
                                REQUESTS.c.status,
                                REQUESTS.c.claim_token,
                                REQUESTS.c.export_claim_token,
                            )
                            .where(REQUESTS.c.id == claim.request_id)
                            .with_for_update()
                        )
                        .mappings()
                        .first()
                    )
            except (DatabaseUnreachable, DatabaseBusy):
                continue
            if row is not None and row["export_claim_token"] == claim.token:
                return True
            if row is None or row["status"] != _PROCESSING or row["claim_token"] != claim.token:
                raise Superseded("the claim was taken over while its record was in doubt")
            return False

    def _recording(self, claim: Claim, version: Version, path: str, row: ReadRow) -> Step:
        now, key = row["now"], row["digest_key"]
        recorded = {
            "status": _COMPLETED,
            "exported_at": now,
            "export_bytes_size": version.size,
            "export_sha256": version.sha256,
            "export_storage_path": path,
            "export_claim_token": claim.token,
            "export_subject_digest": subject_digest(
                key, claim.request_id, claim.token, claim.user_id
            ),
            "export_state": DSARRequest.EXPORT_RECORDED,
            "last_error": None,
            "at": now,
        }
        return _RECORD, key_of(claim) | UNCLAIMED | recorded

    def _write_record(self, connection: Connection, *steps: Step) -> list[Answer]:
        """Write the record, which is the first of the steps, and what goes with it."""
        answers = together(connection, *steps)
        if answers[0].changed != 1:
            raise Superseded("the claim is no longer current")
        return answers

    def _lock_current(self, connection: Connection, claim: Claim) -> ReadRow:
        """Lock the claim's row. Raises ``Superseded`` unless the claim is still current.

        Who the row names by now is for the caller to compare: see ``same_subject``.
        """
        row = together(connection, (self._lock, key_of(claim)))[0].row
        if row is None:
            raise Superseded("the claim is no longer current: cancelled, deleted or taken over")
        return {**row, "now": aware(row["now"])}


def wrong_subject(claim: Claim) -> WrongSubject:
    """What ends a claim whose row names another person or another reference by now."""
    return WrongSubject(
        f"request {claim.request_id} names another person or reference than it did when it was "
        "claimed; nothing was published. Find out who changed it and which is right, then retry it"
    )
