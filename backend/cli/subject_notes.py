"""What there is to say of a request's person: gone, or newer than the request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from backend.errors import DSARError
from backend.extensions import current_runtime
from backend.services.control import Controller

if TYPE_CHECKING:
    from backend.services.open_requests import SubjectState
    from backend.services.request_summaries import RequestSummary


def subject_states_of(found: Sequence[RequestSummary]) -> dict[int, SubjectState] | None:
    """What there is to say of the people of open requests; None when nobody can tell."""
    from backend.services.dsar_collectors import collection
    from backend.services.open_requests import subject_states
    from backend.services.request_summaries import OPEN

    runtime = current_runtime()
    listed = [each.request_id for each in found if each.status in OPEN]
    try:
        key = collection(runtime).key
    except DSARError:
        return None  # what is wrong with the sections keeps nobody from looking
    control = Controller(runtime.control, runtime.clock)
    return subject_states(control, runtime.source, key, listed)


def told_of_subject(
    each: RequestSummary, states: dict[int, SubjectState] | None
) -> dict[str, bool | str | None]:
    """What JSON says of the person of an open request; None: not known, or not open."""
    state = states.get(each.request_id) if states else None
    return {
        "subject_gone": None if state is None else state.gone,
        "person_newer": None if state is None else state.newer,
    }


def notes_on(each: RequestSummary, states: dict[int, SubjectState] | None) -> str:
    state = states.get(each.request_id) if states else None
    notes = {
        "no date of receipt": True if each.requested_at is None else None,
        "person gone": True if state and state.gone else None,
        "person newer than the request": True if state and state.newer == "yes" else None,
        "person perhaps newer than the request": True if state and state.newer == "maybe" else None,
        "held": each.held_at,
        "extended": each.extended_at,
        "handed over": each.delivered_at,
        "legal hold": each.legal_hold_at,
    }
    return ", ".join(note for note, at in notes.items() if at is not None)


def warn_of_newer(newer: str | None) -> None:
    """Say on stderr that a person's row was made after their request was received."""
    if newer not in ("yes", "maybe"):
        return
    how = "was" if newer == "yes" else "may have been (its time names no zone)"
    click.echo(
        f"warning: the person's row {how} made after the request was received: their id may have "
        "been somebody else's then; find out whose request it is before you hand anything over",
        err=True,
    )
