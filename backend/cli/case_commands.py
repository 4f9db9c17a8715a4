"""The case around the export: ``dsar extend``, ``hold``, ``resume``, ``delivered``, ``legal-hold``.

Nothing here sends anything to anybody; what is recorded is for the controller to account for.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

import click

from backend.cli.console import Line, Moment, as_json, print_request
from backend.cli.context import case, instant_of
from backend.terminal import say

_reason = click.option(
    "--reason",
    required=True,
    type=Line(),
    help="Recorded, and part of the person's export. A dash reads it from stdin. Required.",
)


@click.command()
@click.argument("reference_id")
@_reason
@click.option(
    "--months", type=click.IntRange(1, 2), default=2, show_default=True, help="How many more."
)
@as_json
def extend(reference_id: str, reason: str, months: int, json_wanted: bool) -> None:
    """Extend a request's deadline, once, within the first month from receipt.

    GDPR Art. 12(3) allows up to two further months where the request is complex or there are
    many, and wants the person to be told of it, and why, within the first month. Telling them is
    up to you: nothing is sent.

    \b
    Example:
      dsar extend GDPR-TEST-123 --reason "eleven requests at once, archives on tape"
    """
    with case() as cases:
        summary = cases.extend(reference_id, reason=reason, months=months)
    print_request(summary, json_wanted)
    say(
        "note: now tell the person of the extension and its reason, within the first month",
        err=True,
    )


@click.command()
@click.argument("reference_id")
@_reason
@as_json
def hold(reference_id: str, reason: str, json_wanted: bool) -> None:
    """Keep a request from being exported until `dsar resume`, for an identity check.

    The deadline does not move by itself; `dsar show` also says what it would be if the hold
    stopped the clock (due_if_suspended_at). Whether it does is for you to decide: it may only
    while you wait for what you asked the person for without delay.

    \b
    Example:
      dsar hold GDPR-TEST-123 --reason "asked for proof of identity on 3 November"
    """
    with case() as cases:
        print_request(cases.hold(reference_id, reason=reason), json_wanted)


@click.command()
@click.argument("reference_id")
@as_json
def resume(reference_id: str, json_wanted: bool) -> None:
    """End a hold: the next sweep exports the request.

    \b
    Example:
      dsar resume GDPR-TEST-123
    """
    with case() as cases:
        print_request(cases.resume(reference_id), json_wanted)


@click.command()
@click.argument("reference_id")
@click.option(
    "--at",
    "moment",
    type=Moment(),
    help="When: ISO 8601, in DSAR_TIME_ZONE unless it says otherwise. Default: now.",
)
@as_json
def delivered(reference_id: str, moment: date | None, json_wanted: bool) -> None:
    """Record that a completed export was handed over. Nothing is sent.

    `dsar report` counts a request as answered at its hand-over, where one is recorded. Said
    again, the first hand-over stays.

    \b
    Examples:
      dsar delivered GDPR-TEST-123
      dsar delivered GDPR-TEST-123 --at 2026-11-20
    """
    with case() as cases:
        at = instant_of(moment) if isinstance(moment, datetime) else moment
        print_request(cases.delivered(reference_id, at=at), json_wanted)


@click.command(name="legal-hold")
@click.argument("reference_id")
@click.option(
    "--reason",
    type=Line(),
    help="Recorded, and part of the person's export. A dash reads it from stdin. Required for a "
    "hold.",
)
@click.option("--release", is_flag=True, help="End the hold.")
@as_json
def legal_hold(reference_id: str, reason: str | None, release: bool, json_wanted: bool) -> None:
    """Keep a request's file past its retention, while a legal claim needs it.

    As long as the hold stands the file is neither pruned nor replaced by another export.

    \b
    Examples:
      dsar legal-hold GDPR-TEST-123 --reason "complaint to the authority"
      dsar legal-hold GDPR-TEST-123 --release
    """
    if release == (reason is not None):
        raise click.UsageError("say either --reason or --release")
    with case() as cases:
        if reason is None:
            summary = cases.release_legal_hold(reference_id)
        else:
            summary = cases.legal_hold(reference_id, reason=reason)
        print_request(summary, json_wanted)


CASE_COMMANDS: Final = (extend, hold, resume, delivered, legal_hold)
