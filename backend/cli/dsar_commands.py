"""``dsar``: the operator's commands. Also on the Flask application, as ``flask dsar``.

    python -m backend.cli.dsar_commands export GDPR-TEST-123

Exit codes: 0 done; 1 the request failed; 2 usage; 69 database or store out of reach; 75 being
exported by another worker; 78 bad configuration.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # As a module of its own name, so that the imports below are that process's first.
    from backend.cli.__main__ import main

    main()

from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING

import click

from backend.cli.case_commands import CASE_COMMANDS
from backend.cli.console import (
    CONTEXT,
    ErrorLine,
    Line,
    Moment,
    as_json,
    print_json,
    print_request,
    print_table,
    show,
    version,
)
from backend.cli.context import application, day_of, instant_of, operator, services
from backend.cli.decrypt_command import decrypt
from backend.cli.operator_commands import COMMANDS as OPERATOR_COMMANDS
from backend.cli.page_commands import schema
from backend.cli.progress import progress
from backend.cli.report_commands import report
from backend.cli.section_commands import coverage, prove, sections
from backend.cli.store_commands import COMMANDS as STORE_COMMANDS
from backend.cli.subject_notes import notes_on, subject_states_of, told_of_subject, warn_of_newer
from backend.extensions import current_runtime
from backend.models import DSARRequest
from backend.settings import load_settings, unknown_keys
from backend.terminal import say

if TYPE_CHECKING:
    pass

STATUSES = (
    DSARRequest.STATUS_PENDING,
    DSARRequest.STATUS_PROCESSING,
    DSARRequest.STATUS_COMPLETED,
    DSARRequest.STATUS_FAILED,
    DSARRequest.STATUS_CANCELLED,
)


@click.group(cls=ErrorLine, context_settings=CONTEXT)
@version
def dsar() -> None:
    """Data-subject access requests: open, export, look at, mend.

    Settings come from DSAR_* variables, a .env file or a folder of secrets; see the README.

    \b
    Examples:
      dsar doctor
      dsar request --user-id 42 --reference GDPR-2026-17
      dsar export GDPR-2026-17
      dsar list --status failed
    """
    if unknown := unknown_keys():
        names = ", ".join(unknown)
        say(f"warning: no setting reads {names}; most likely misspelt", err=True)


_user_id = click.option(
    "--user-id",
    required=True,
    type=Line(),
    help="The data subject's user id. A dash reads it from stdin, out of sight.",
)


@dsar.command()
@click.option(
    "--demonstration",
    is_flag=True,
    help="Also make the tables of this program's own demonstration, as in a source checkout.",
)
@as_json
def migrate(demonstration: bool, json_wanted: bool) -> None:
    """Bring the database's schema up to date.

    Makes a new schema, or adopts an existing dsar_requests table with its rows. May be run again.

    \b
    Example:
      dsar migrate
    """
    from sqlalchemy.engine import make_url

    from backend.engines import shown_url
    from backend.migrations.runner import migrate as run_migrations
    from backend.services.section_binding import key_type_of

    settings = load_settings()
    where = shown_url(make_url(settings.database_url))
    key_type = key_type_of(settings)
    done = run_migrations(settings, key_type=key_type, demonstration=demonstration)
    report = {"database": where} | asdict(done)
    show(
        {"ok": True, **report},
        json_wanted,
        lambda: print_table("schema", ("what", "value"), list(report.items())),
    )


@dsar.command()
@_user_id
@click.option("--reference", help="The request's reference. Default: a random one.")
@click.option(
    "--received-at",
    type=Moment(),
    help="When the request was received: ISO 8601, in DSAR_TIME_ZONE unless it says otherwise. "
    "Default: now.",
)
@as_json
def request(
    user_id: str, reference: str | None, received_at: date | None, json_wanted: bool
) -> None:
    """Open a request; the next sweep exports it.

    Tells of other open requests of the same person; with DSAR_JOIN_OPEN_REQUESTS=true it joins
    the oldest that waits or is being exported, and opens none.

    \b
    Examples:
      dsar request --user-id 42
      dsar request --user-id 42 --reference GDPR-2026-17 --received-at 2026-11-03
    """
    from backend.services.collection import find_subject
    from backend.services.dsar_collectors import collection

    with operator() as requests:
        declared = collection(current_runtime())
        # Whether there is such a user is known before the request is opened rather than after.
        at = None if received_at is None else instant_of(received_at)
        subject, newer = find_subject(declared, declared.subject(user_id, None), at)
        opened = requests.open(
            subject.user_id,
            reference_id=reference,
            received_at=at,
            join=current_runtime().settings.join_open_requests,
        )
    others = ", ".join(opened.other_open)
    print_request(
        opened.request,
        json_wanted,
        joined=opened.joined,
        other_open=opened.other_open,
        person_newer=newer,
    )
    warn_of_newer(newer)
    if opened.joined:
        say("note: no new request: it joins the person's open one", err=True)
    if others:
        say(f"note: the same person has other open requests: {others}", err=True)


@dsar.command()
@_user_id
@as_json
def preview(user_id: str, json_wanted: bool) -> None:
    """Show what an export would hold: sections and row counts. Writes no file.

    Counts the rows that leave_out_deleted leaves out as well, and warns where these are all.

    \b
    Example:
      dsar preview --user-id 42
    """
    from backend.services.collection import preview_rows
    from backend.services.dsar_collectors import collection
    from backend.services.sections import Subject

    with application() as runtime:
        found = preview_rows(collection(runtime), Subject(user_id, None))
    counts, left_out = found.sections, found.left_out
    show(
        {"sections": counts, "rows": sum(counts.values()), "left_out": left_out},
        json_wanted,
        lambda: print_table(
            "an export would hold",
            ("section", "rows", "left out"),
            [(name, count, left_out.get(name, "")) for name, count in counts.items()],
            optional=("left out",),
        ),
    )
    for name, count in left_out.items():
        if count and not counts[name]:
            say(
                f"warning: {name}: all {count} rows of this person are left out as deleted; check "
                "leave_out_deleted, or see: dsar coverage --look",
                err=True,
            )


@dsar.command()
@click.argument("reference_id")
def export(reference_id: str) -> None:
    """Export one request now; again, if it is already completed.

    Always prints one JSON object: on one line, unless stdout is a terminal.

    \b
    Example:
      dsar export GDPR-TEST-123
    """
    from backend.services.dsar_exporter import persist_dsar_export
    from backend.services.lease import Watch

    with services(), progress("exporting") as line:
        result = persist_dsar_export(reference_id, watch=Watch(progress=line.rows))
    shown = ("ok", "file_path", "bytes", "reference_id", "meta", "error", "error_code", "outcome")
    more = [name for name in ("person_newer",) if result.get(name) in ("yes", "maybe")]
    print_json({name: result[name] for name in (*shown, *more) if name in result})
    warn_of_newer(result.get("person_newer"))
    if not result["ok"]:
        say(f"error: {result['error']}", err=True)
        sys.exit(result["exit_code"])
    for listing, count in result["meta"]["files_not_included"].items():
        say(f"warning: {listing} names {count} file(s) that are not included", err=True)


@dsar.command(name="list")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(STATUSES),
    help="Only these. Default: what is open, and what failed.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="Requests at most."
)
@as_json
def list_requests(statuses: tuple[str, ...], limit: int, json_wanted: bool) -> None:
    """List requests, the oldest first: what waits, what failed, what is nearly due.

    \b
    Examples:
      dsar list
      dsar list --status failed --status pending --limit 200
    """
    with operator() as requests:
        found = requests.list(statuses=statuses or None, limit=limit)
        counts = requests.counts()
        states = subject_states_of(found)
        rows = [
            (
                each.reference_id,
                each.status,
                day_of(each.requested_at),
                " ".join(filter(None, (day_of(each.due_at), each.urgency))),
                each.attempts,
                each.next_attempt_at,
                (each.last_error or "").partition(" ")[0],
                notes_on(each, states),
            )
            for each in found
        ]
    columns = ("reference", "status", "received", "due", "tries", "next try", "error", "notes")
    note = ", ".join(f"{status}: {count:,}" for status, count in sorted(counts.items()))
    show(
        {
            "requests": [asdict(each) | told_of_subject(each, states) for each in found],
            "counts": counts,
        },
        json_wanted,
        lambda: print_table(
            "requests",
            columns,
            rows,
            note=note or "no requests at all",
            optional=("notes", "error", "tries", "next try"),
        ),
    )


@dsar.command(name="show")
@click.argument("reference_id")
@as_json
def show_request(reference_id: str, json_wanted: bool) -> None:
    """Show one request with its attempts.

    \b
    Example:
      dsar show GDPR-TEST-123
    """
    with operator() as requests:
        details = requests.find(reference_id)
        states = subject_states_of([details.request])
    request = asdict(details.request) | told_of_subject(details.request, states)
    columns = ("attempt", "worker", "started_at", "outcome", "duration_ms", "bytes", "error_code")
    lacking = "files_not_included"

    def on_terminal() -> None:
        print_table("request", ("what", "value"), list(request.items()))
        rows = [
            [*(attempt[column] for column in columns), attempt[lacking] or None]
            for attempt in details.attempts
        ]
        optional = ("error_code", lacking, "duration_ms", "bytes", "worker")
        print_table("attempts", (*columns, lacking), rows, optional=optional)

    show(
        {"request": request, "attempts": list(details.attempts)},
        json_wanted,
        on_terminal,
    )
    warn_of_newer(request["person_newer"])


@dsar.command()
@click.argument("reference_id")
@as_json
def retry(reference_id: str, json_wanted: bool) -> None:
    """Make a failed request (or one that backs off) due at once.

    \b
    Example:
      dsar retry GDPR-TEST-123
    """
    with operator() as requests:
        print_request(requests.retry(reference_id), json_wanted)


@dsar.command()
@click.argument("reference_id")
@as_json
def cancel(reference_id: str, json_wanted: bool) -> None:
    """Cancel a request that is not completed, also while it is being exported.

    \b
    Example:
      dsar cancel GDPR-TEST-123
    """
    with operator() as requests:
        print_request(requests.cancel(reference_id), json_wanted)


for _command in (*STORE_COMMANDS, *OPERATOR_COMMANDS):
    dsar.add_command(_command)


for _command in (*CASE_COMMANDS, coverage, decrypt, prove, report, schema, sections):
    dsar.add_command(_command)
