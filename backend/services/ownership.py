"""Whose exports a root holds: those of one control database, whose name it bears.

Files are named by request id and claim token, which every database counts from 1, and a prune
deletes each that no row of its database wants. A root that is used with another database by
mistake (a URL of staging's, a default where a variable was forgotten) would lose its exports.
So a root is marked by the database that uses it first, and refused to any other.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from backend.errors import RootNotOurs, VersionDamaged
from backend.migrations.runner import VERSION_TABLE, require_current
from backend.services.batches import batches
from backend.services.control import Controller
from backend.services.export_store import ExportStore, StoredFile
from backend.services.request_rows import REQUESTS, recorded_token

DATABASE_ID: Final = sa.column("database_id", sa.String)
_REVISION: Final = sa.column("version_num", sa.String)
VERSIONS: Final = sa.table(VERSION_TABLE, DATABASE_ID, _REVISION)
_BATCH: Final = 200


def require_own_root(control: Controller, store: ExportStore) -> None:
    """Raise ``RootNotOurs`` unless the store is this database's; a new one is from now on.

    Call it before anything is written or deleted there. A root without a mark is new, or was used
    by an earlier release: then it has to hold no export, or one that this database recorded, byte
    for byte. Makes the root where it is not there. May be repeated, and beside others. Raises
    the database's and the store's errors.
    """
    ours = _database_id(control)
    owner = store.owner()
    if owner is None:
        store.prepare()
        if _may_be_ours(control, store):
            owner = store.take(ours)
    if owner != ours:
        raise _not_ours(store, owner)


def require_not_anothers(control: Controller, store: ExportStore) -> None:
    """Raise ``RootNotOurs`` where the store bears another database's name. Changes nothing.

    Raises the database's and the store's errors.
    """
    owner = store.owner()
    if owner not in (None, _database_id(control)):
        raise _not_ours(store, owner)


def _not_ours(store: ExportStore, owner: str | None) -> RootNotOurs:
    whose = (
        "exports of which this database records none"
        if owner is None
        else "another database's exports"
    )
    return RootNotOurs(
        f"{store.location} (DSAR_EXPORT_ROOT) holds {whose}; check it and DSAR_DATABASE_URL "
        "(after a restore: dsar after-restore); only if those exports are to be deleted: "
        "dsar prune --take-over"
    )


def take_over(control: Controller, store: ExportStore) -> None:
    """Make the store this database's, whosever it was. What it holds is a leftover from now on."""
    store.take(_database_id(control), instead=True)


def _database_id(control: Controller) -> str:
    """The database's own name. Raises ``SchemaError`` unless it has this release's schema."""
    query = sa.select(DATABASE_ID, _REVISION).select_from(VERSIONS)
    name, revision = control.read(lambda connection: connection.execute(query).one())
    require_current(revision)
    return str(name)


def _may_be_ours(control: Controller, store: ExportStore) -> bool:
    empty = True
    versions = (each for each in store.stored_files() if each.is_version)
    for found in batches(versions, _BATCH):
        empty = False
        if _records_one(control, store, found):
            return True
    return empty


def _records_one(control: Controller, store: ExportStore, found: list[StoredFile]) -> bool:
    """Whether one of these versions is recorded here with its size and digest."""
    r = REQUESTS.c
    query = sa.select(
        r.id, r.export_state, r.export_claim_token, r.export_bytes_size, r.export_sha256
    ).where(r.id.in_({each.request_id for each in found}))
    rows = {
        row["id"]: row
        for row in control.read(lambda connection: connection.execute(query).mappings().all())
    }
    for each in found:
        row = rows.get(each.request_id)
        if row is None or recorded_token(row) != each.token:
            continue
        try:
            version = store.check(each.request_id, each.token)
        except VersionDamaged:
            continue
        if (version.size, version.sha256) == (row["export_bytes_size"], row["export_sha256"]):
            return True
    return False
