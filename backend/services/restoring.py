"""After the database came back from a backup: claim tokens above all that were used since.

A fencing token protects because it only grows. A restored row counts again from where it was, so
a worker that was frozen since before the restore could hold the very token that the next claim
gets, and both would write the same file. ``after_restore`` lets every row's token leap over
whatever was given out after the backup, and tells what the export root knows of that time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from backend.models import DSARAttempt, DSARRequest
from backend.services.batches import batches
from backend.services.claims import WORKER_LOST
from backend.services.control import Controller
from backend.services.export_store import ExportStore
from backend.services.ownership import take_over
from backend.services.request_rows import ATTEMPTS, REQUESTS, UNCLAIMED

# No request is claimed a million times between a backup and its restore.
LEAP: Final = 1_000_000
_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class ExportedSince:
    """A request of which the export root holds a version that the restored row knows nothing of.

    ``published``: its public link leads to that version, so that it may have been handed over.
    """

    request_id: int
    reference_id: str | None
    status: str
    published: bool


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done, and what the export root holds from after the backup.

    ``raised``: rows whose token leapt. ``released``: of these, rows that were processing at the
    backup, and are as before their claim now. ``unknown_requests``: ids with versions, and
    ``unknown_references`` public names, of which the database has no row: most likely opened
    after the backup.
    """

    raised: int
    released: int
    exported_since: tuple[ExportedSince, ...]
    unknown_requests: tuple[int, ...]
    unknown_references: tuple[str, ...]


def after_restore(control: Controller, store: ExportStore) -> Restored:
    """Make a restored database safe to sweep. Every scheduler must be stopped.

    Changes requests (claim tokens; claims of the backup's time are released) and attempts, in
    batches; deletes and renames no file. The export root is this database's from now on. May be
    repeated, also after an interruption. Raises the database's and the store's errors.
    """
    newest: dict[int, int] = {}
    for found in store.stored_files():
        newest[found.request_id] = max(found.token, newest.get(found.request_id, 0))
    since, unknown = _compare(control, store, newest)
    leap = max(LEAP, *newest.values()) if newest else LEAP
    raised = released = 0
    last_id: Any = None
    while ids := _next_ids(control, last_id):
        last_id = ids[-1]
        released += control.run(partial(_leap, control, ids, leap))
        raised += len(ids)
    strangers = tuple(_strangers(control, store))
    # A backup of an older schema gets a new name when it is migrated.
    take_over(control, store)
    return Restored(raised, released, tuple(since), tuple(unknown), strangers)


def _compare(
    control: Controller, store: ExportStore, newest: dict[int, int]
) -> tuple[list[ExportedSince], list[int]]:
    since, unknown = [], []
    for ids in batches(sorted(newest), _BATCH):
        rows = {row["id"]: row for row in _rows(control, ids)}
        for request_id in ids:
            row = rows.get(request_id)
            token = newest[request_id]
            if row is None:
                unknown.append(request_id)
            elif token > row["claim_token"]:
                reference = row["gdpr_reference_id"]
                published = bool(reference) and store.links_to(reference, (request_id, token))
                since.append(ExportedSince(request_id, reference, row["status"], published))
    return since, unknown


def _rows(control: Controller, ids: list[int]) -> list[RowMapping]:
    r = REQUESTS.c
    query = sa.select(r.id, r.gdpr_reference_id, r.status, r.claim_token).where(r.id.in_(ids))
    return list(control.read(lambda connection: connection.execute(query).mappings().all()))


def _next_ids(control: Controller, last_id: Any) -> list[Any]:
    query = sa.select(REQUESTS.c.id).order_by(REQUESTS.c.id).limit(_BATCH)
    if last_id is not None:
        query = query.where(REQUESTS.c.id > last_id)
    return control.read(partial(_scalars, query))


def _leap(control: Controller, ids: list[Any], leap: int, connection: Connection) -> int:
    r, a = REQUESTS.c, ATTEMPTS.c
    claimed = sa.and_(r.id.in_(ids), r.status == DSARRequest.STATUS_PROCESSING)
    held = list(connection.execute(sa.select(r.id).where(claimed).with_for_update()).scalars())
    if held:
        connection.execute(
            sa.update(ATTEMPTS)
            .where(a.request_id.in_(held), a.outcome == DSARAttempt.OUTCOME_RUNNING)
            .values(
                outcome=DSARAttempt.OUTCOME_LOST,
                finished_at=control.now(connection),
                error_code=WORKER_LOST,
            )
        )
        connection.execute(
            sa.update(REQUESTS)
            .where(r.id.in_(held))
            .values(
                status=sa.func.coalesce(r.claimed_from, DSARRequest.STATUS_PENDING),
                attempts=sa.case((r.attempts > 0, r.attempts - 1), else_=0),
                **UNCLAIMED,
            )
        )
    connection.execute(
        sa.update(REQUESTS).where(r.id.in_(ids)).values(claim_token=r.claim_token + leap)
    )
    return len(held)


def _strangers(control: Controller, store: ExportStore) -> Iterator[str]:
    """Public names of which there is no row."""
    reference: sa.ColumnElement[Any] = REQUESTS.c.gdpr_reference_id
    if control.engine.dialect.name in ("sqlite", "postgresql"):
        reference = sa.func.lower(reference)  # as the index has it; MariaDB compares so anyway
    for names in batches(store.public_references(), _BATCH):
        lowered = {name.lower(): name for name in names}
        query = sa.select(reference).where(reference.in_(lowered))
        found = control.read(partial(_scalars, query))
        known = {name.lower() for name in found}
        yield from (name for key, name in lowered.items() if key not in known)


def _scalars(query: sa.Select[Any], connection: Connection) -> list[Any]:
    return list(connection.execute(query).scalars())
