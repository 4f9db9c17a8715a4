"""A request's own section: its row of the control database, and whose that is."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from backend.errors import BadReference, RequestNotFound, SubjectMissing, WrongSubject
from backend.extensions import Runtime
from backend.references import is_usable_reference
from backend.services.control import Controller
from backend.services.faithful import faithful
from backend.services.rendering import dump_object, plain
from backend.services.request_rows import (
    Claim,
    as_indexed,
    as_stored,
    is_reference,
    reference_is,
)
from backend.services.sections import Subject, TableSection
from backend.services.subject_keys import canonical
from backend.services.together import Step, together

# Whose a request is and since when, beside its section's columns.
_ID: Final = "dsar_id"
_OWNER: Final = "dsar_owner"
_REFERENCE: Final = "dsar_reference"
_RECEIVED: Final = "dsar_received"
_NOT_SHOWN: Final = (_ID, _OWNER, _REFERENCE, _RECEIVED)


def read_own_request(
    runtime: Runtime,
    section: TableSection,
    key: sa.Column[Any],
    subject: Subject,
    request_id: int | None,
) -> tuple[list[bytes], Any]:
    """The request's own section, at most one rendered row of the control database; its receipt.

    A request of another person's is refused: nobody gets a file under somebody else's reference.
    So is another one than ``request_id``, whose reference this one has by now. ``key`` is the
    column of the people's table that requests name people by.
    """
    if not subject.reference_id:
        return [], None
    controller = Controller(runtime.control, runtime.clock)
    asked = own_request(runtime, section, controller, subject.reference_id)
    row = controller.read(lambda connection: together(connection, asked)[0].row)
    if row is None or not is_reference(row[_REFERENCE], subject.reference_id):
        raise RequestNotFound(f"there is no request with the reference {subject.reference_id!r}")
    if not _is_of(key, row[_OWNER], subject) or request_id not in (None, row[_ID]):
        raise WrongSubject(f"the request {subject.reference_id!r} is another user's")
    shown = {name: plain(value) for name, value in row.items() if name not in _NOT_SHOWN}
    return [dump_object(shown)], row[_RECEIVED]


def _is_of(key: sa.Column[Any], owner: Any, subject: Subject) -> bool:
    try:
        return bool(canonical(key, owner) == subject.user_id)
    except ValueError:
        return False  # no key of this people's table


def own_request(
    runtime: Runtime, section: TableSection, controller: Controller, reference_id: str
) -> Step:
    """What reads a request's own section, and whose it is; the statement is built once."""
    if __name__ not in runtime.kept:
        table, columns = section.table, section.read_columns()
        read = [faithful(column, runtime.control.dialect.name) for column in columns]
        is_it = reference_is(controller, sa.bindparam("reference"))
        runtime.kept[__name__] = sa.select(
            *read,
            table.c.id.label(_ID),
            table.c.user_id.label(_OWNER),
            table.c.gdpr_reference_id.label(_REFERENCE),
            as_stored(table.c.requested_at).label(_RECEIVED),
        ).where(is_it)
    return runtime.kept[__name__], {"reference": as_indexed(controller, reference_id)}


def subject_of(claim: Claim) -> Subject:
    """Who the claim is about. Raises what no second try can fix."""
    if not is_usable_reference(claim.reference_id or ""):
        raise BadReference(
            f"request {claim.request_id}: its reference cannot be a file name; cancel it and open "
            "one with a reference of letters, digits, '.', '_' and '-'"
        )
    if claim.user_id is None:
        raise SubjectMissing(
            f"request {claim.request_id} has no associated user; set its user_id, then: dsar retry"
        )
    return Subject(claim.user_id, claim.reference_id, claim.request_id)
