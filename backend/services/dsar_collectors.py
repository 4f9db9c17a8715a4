"""This application's sections: what a person's export consists of, column by column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from backend.errors import SubjectNotUnique
from backend.extensions import Base, Runtime, current_runtime
from backend.models import ApiToken, AuditLog, DSARRequest, User, Workflow, WorkflowRun
from backend.services import dsar_wording
from backend.services.archive import SectionStream
from backend.services.collection import Collection, open_collection
from backend.services.rendering import Rows
from backend.services.sections import (
    EXPORTED,
    Disposition,
    Exemption,
    Exported,
    Masked,
    OwnerPath,
    Reason,
    Section,
    Subject,
    TableSection,
    Withheld,
)

_CREDENTIAL: Final = Withheld(Reason.CREDENTIAL)
_INTERNAL: Final = Withheld(Reason.INTERNAL)


def _table(model: type[Base]) -> sa.Table:
    table = model.__table__
    assert isinstance(table, sa.Table)
    return table


def _exported(*names: str) -> dict[str, Disposition]:
    return dict.fromkeys(names, EXPORTED)


ACCOUNT: Final = TableSection(
    name="account",
    table=_table(User),
    owner_paths=(OwnerPath("id"),),
    single=True,
    columns=_exported(
        "id",
        "email",
        "name",
        "locale",
        "company",
        "phone",
        "preferences",
        "monthly_spend_eur",
        "created_at",
        "last_login_at",
        "last_login_ip",
        "deleted_at",
    )
    | {"password_hash": _CREDENTIAL, "totp_secret": _CREDENTIAL},
    facts=dsar_wording.ACCOUNT_FACTS,
    wording=dsar_wording.ACCOUNT,
    language="locale",
    key="id",
    created="created_at",
)

WORKFLOWS: Final = TableSection(
    name="workflows",
    table=_table(Workflow),
    owner_paths=(OwnerPath("user_id"),),
    order_by=("id",),
    columns=_exported(
        "id",
        "user_id",
        "name",
        "description",
        "is_active",
        "created_at",
        "updated_at",
        "deleted_at",
    )
    | {
        "definition": Exported(
            paths={
                "connections.*.secret": _CREDENTIAL,
                "connections.*.access_token": _CREDENTIAL,
                "connections.*.refresh_token": _CREDENTIAL,
            }
        )
    },
    facts=dsar_wording.WORKFLOWS_FACTS,
    wording=dsar_wording.WORKFLOWS,
)

WORKFLOW_RUNS: Final = TableSection(
    name="workflow_runs",
    table=_table(WorkflowRun),
    owner_paths=(OwnerPath("user_id"),),
    order_by=("id",),
    columns=_exported(
        "id",
        "workflow_id",
        "user_id",
        "status",
        "trigger",
        "payload",
        "error",
        "cost_eur",
        "started_at",
        "finished_at",
    ),
    facts=dsar_wording.WORKFLOW_RUNS_FACTS,
    wording=dsar_wording.WORKFLOW_RUNS,
)

API_TOKENS: Final = TableSection(
    name="api_tokens",
    table=_table(ApiToken),
    owner_paths=(OwnerPath("user_id"),),
    order_by=("id",),
    columns=_exported(
        "id",
        "user_id",
        "name",
        "prefix",
        "scopes",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    | {"token_hash": _CREDENTIAL},
    facts=dsar_wording.API_TOKENS_FACTS,
    wording=dsar_wording.API_TOKENS,
)

# A log line belongs to whoever did it and to whoever it was done to. Of a line in which somebody
# else acted, that person's key, address and browser are theirs, not the data subject's.
_SOMEBODY_ELSE: Final = Masked(Reason.OTHER_PERSON, unless_own="actor_user_id")
# Where details name who acted. A text among them is the application's to keep free of names.
_WHO_ACTED: Final = (
    *("actor", "actor_name", "actor_email", "impersonator"),
    *("staff", "staff_name", "staff_email"),
)

AUDIT_LOGS: Final = TableSection(
    name="audit_logs",
    table=_table(AuditLog),
    owner_paths=(OwnerPath("actor_user_id"), OwnerPath("subject_user_id")),
    order_by=("id",),
    columns=_exported("id", "action", "created_at")
    | {
        "details": Exported(paths=dict.fromkeys(_WHO_ACTED, _SOMEBODY_ELSE)),
        "actor_user_id": _SOMEBODY_ELSE,
        "subject_user_id": Masked(Reason.OTHER_PERSON, unless_own="subject_user_id"),
        "ip_address": _SOMEBODY_ELSE,
        "user_agent": _SOMEBODY_ELSE,
    },
    facts=dsar_wording.AUDIT_LOGS_FACTS,
    wording=dsar_wording.AUDIT_LOGS,
)

DSAR_REQUEST: Final = TableSection(
    name="dsar_request",
    table=_table(DSARRequest),
    owner_paths=(OwnerPath("user_id"),),
    single=True,
    database="control",
    # Reasons too: what is written of a person is that person's data.
    columns=_exported(
        "id",
        "user_id",
        "gdpr_reference_id",
        "status",
        "requested_at",
        "completed_at",
        "extended_at",
        "extension_months",
        "extension_reason",
        "held_at",
        "held_seconds",
        "hold_reason",
        "delivered_at",
        "legal_hold_at",
        "legal_hold_reason",
    )
    | dict.fromkeys(
        (
            "export_bytes_size",
            "last_error",
            "export_storage_path",
            "next_attempt_at",
            "attempts",
            "crashes",
            "interruptions",
            "claim_token",
            "claimed_from",
            "claimed_by",
            "claimed_at",
            "lease_expires_at",
            "exported_at",
            "export_state",
            "export_claim_token",
            "export_sha256",
            "export_subject_digest",
        ),
        _INTERNAL,
    ),
    facts=dsar_wording.DSAR_REQUEST_FACTS,
    wording=dsar_wording.DSAR_REQUEST,
)

SECTIONS: Final[Sequence[Section]] = (
    ACCOUNT,
    WORKFLOWS,
    WORKFLOW_RUNS,
    API_TOKENS,
    AUDIT_LOGS,
    DSAR_REQUEST,
)

# What coverage need not ask for.
EXEMPTIONS: Final = (
    Exemption(
        "workflow_runs",
        "a run is whose user_id it carries, also where another person's workflow ran",
        ("workflow_id",),
    ),
    Exemption("users", "settings that the person chose", ("preferences",)),
    Exemption(
        "workflow_runs",
        "input and output of the person's own run; credentials are in the workflow's definition",
        ("payload",),
    ),
    Exemption("api_tokens", "a list of what the token may do", ("scopes",)),
)


def collection(runtime: Runtime) -> Collection:
    """What this process exports, ready to be read through ``runtime``.

    The sections of the file that DSAR_SECTIONS_FILE names, else this application's. File and
    schema are read once. Raises ``SectionError``, ``DatabaseUnreachable`` or ``DatabaseBusy``.
    """
    path = runtime.settings.sections_file
    if path is None:
        return Collection(
            runtime=runtime,
            sections=SECTIONS,
            account=ACCOUNT,
            request=DSAR_REQUEST,
            key=ACCOUNT.table.c.id,
            exemptions=EXEMPTIONS,
        )
    if __name__ not in runtime.kept:
        from backend.services.section_binding import collection_from_file

        runtime.kept[__name__] = collection_from_file(runtime, path, DSAR_REQUEST)
    kept = runtime.kept[__name__]
    assert isinstance(kept, Collection)
    return kept


def collect_all_user_data(user_id: Any, reference_id: str | None) -> dict[str, Any]:
    """Everything an export of that person would hold, as JSON-compatible values in memory.

    Returns a dict with the keys ``account``, ``workflows``, ``workflow_runs``, ``api_tokens``,
    ``audit_logs`` and ``dsar_request``: the first and the last are objects, the others lists of
    objects. The people's data is read in one snapshot, the request's own row just before it, and
    what a function yields when its turn comes; nothing is written, and it may be repeated. For a
    person with much data use ``persist_dsar_export``, whose memory stays flat.

    Needs an application context. Raises ``SubjectNotFound`` when there is no such user,
    ``SubjectNotUnique`` when there are two, or a section of one row has more,
    ``RequestNotFound`` or ``WrongSubject`` when ``reference_id`` is not a request of that user's,
    ``DatabaseUnreachable`` or ``DatabaseBusy``.
    """
    subject = Subject(user_id, reference_id)
    with open_collection(collection(current_runtime()), subject, _never) as (_, streams):
        return {
            stream.name: _load(stream.name, stream.single, stream.rows)
            for stream in streams
            if isinstance(stream, SectionStream)
        }


def _load(name: str, single: bool, rows: Iterable[Rows]) -> Any:
    values = [value for some in rows for value in some.values()]
    if not single:
        return values
    if len(values) > 1:
        raise SubjectNotUnique(name)
    return values[0] if values else {}


def _never() -> None:
    """A checkpoint that never stops anything."""
