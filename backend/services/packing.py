"""One person's archive: collected from one snapshot, and packed as it comes."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any

from backend.references import is_usable_reference
from backend.services.archive import SCHEMA_VERSION, Packed, root_folder, write_archive
from backend.services.collection import Collection, open_collection
from backend.services.disclosure import controller_facts, notes, rights
from backend.services.enclosures import Enclosures
from backend.services.lease import UNWATCHED, LeaseKeeper, Watch
from backend.services.sections import Subject
from backend.services.zip_writer import Target


def build_archive(
    declared: Collection, user_id: Any, reference_id: str | None
) -> tuple[bytes, dict[str, Any]]:
    """As ``build_dsar_zip_bytes``, of any sections, and without an application context."""
    target = BytesIO()
    meta, _ = pack(declared, target, Subject(user_id, reference_id), UNWATCHED)
    content = target.getvalue()
    return content, meta | {"zip_bytes": len(content)}


def pack(
    declared: Collection,
    target: Target,
    subject: Subject,
    watch: Watch,
    keeper: LeaseKeeper | None = None,
) -> tuple[dict[str, Any], Packed]:
    """Collect a person's data in one snapshot and pack it into ``target``.

    Returns what ``meta.json`` holds, and what was packed. Raises what collecting and ``target``'s
    writes raise, and whatever ``keeper`` stops it with between two chunks.
    """

    def checkpoint() -> None:
        if keeper is not None:
            keeper.checkpoint()

    runtime = declared.runtime
    generated_at = runtime.clock.now()
    meta: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "generated_at": generated_at.isoformat(),
        "reference_id": subject.reference_id,
        "user_id": subject.user_id,
        "sections": [],
        "notes": notes(runtime.settings.page_language),
        "language": runtime.settings.page_language,
        "controller": controller_facts(runtime.settings),
        "rights": rights(runtime.settings.page_language),
    }
    settings = runtime.settings
    enclosures = Enclosures(declared.sections, page=settings.page, language=settings.page_language)
    with open_collection(declared, subject, checkpoint) as (snapshot, streams):
        meta["snapshot_at"] = snapshot.taken_at.isoformat()
        packed = write_archive(
            target,
            enclosures.watch(streams),
            root=root_folder(subject.reference_id or _as_name(subject.user_id), generated_at),
            meta=meta,
            generated_at=generated_at,
            checkpoint=checkpoint,
            progress=watch.progress,
            closing=enclosures.closing,
        )
        packed.person_newer = snapshot.subject_newer
    return meta, packed


def _as_name(user_id: Any) -> str:
    """A person's key within a folder's name; a key may be any text."""
    text = str(user_id)
    return text if is_usable_reference(text) else re.sub(r"[^A-Za-z0-9]+", "_", text)[:100]
