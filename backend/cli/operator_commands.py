"""Commands for whoever keeps an installation running: doctor, moves, restores."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from backend.cli.about_commands import completion_of, version_of
from backend.cli.console import as_json, coloured, print_table, read_line, show
from backend.cli.context import application, services
from backend.cli.progress import progress
from backend.errors import EXIT_FAILED
from backend.terminal import say

if TYPE_CHECKING:
    from backend.services.doctor.checks import Check

_COLOURS: Final = {"ok": "green", "warn": "yellow", "bad": "bold red"}


@click.command()
@as_json
def doctor(json_wanted: bool) -> None:
    """Look at this installation, and say what is wrong and how to mend it.

    Looks at settings, database, schema, rights, time, requests, sections, export root and
    scheduler. Changes nothing. Exits with 1 when anything is bad. Run it as the scheduler's user.

    \b
    Examples:
      dsar doctor
      dsar doctor --json
    """
    with progress("looking"):
        checks = list(_examination())
    bad = sum(check.state == "bad" for check in checks)
    rows = [
        (check.name, coloured(check.state, _COLOURS[check.state]), check.found, check.remedy)
        for check in checks
    ]
    show(
        {"ok": not bad, "checks": [asdict(check) for check in checks]},
        json_wanted,
        lambda: print_table("doctor", ("check", "state", "found", "what to do"), rows),
    )
    if bad:
        say(f"error: {bad} check(s) are bad; the remedy stands beside each", err=True)
        sys.exit(EXIT_FAILED)


def _examination() -> Iterator[Check]:
    from backend.services.doctor.checks import made
    from backend.services.doctor.examination import examine

    def look() -> Iterator[Check]:
        from backend.services.dsar_collectors import collection

        with application() as runtime:
            yield from examine(runtime, collection(runtime))

    yield from made("settings", look)


@click.command(name="move-database")
@click.option(
    "--to",
    "target",
    required=True,
    metavar="URL",
    help="The new database, which holds no requests. A dash reads it from stdin, out of sight.",
)
@as_json
def move_database(target: str, json_wanted: bool) -> None:
    """Copy requests, attempts and sweeps into another database.

    From SQLite to PostgreSQL, or between any two. Makes our tables in the new database, where they
    are not there. Ids, claim tokens and times are kept, and what was exported stays valid. Stop
    every scheduler first; then move, set DSAR_DATABASE_URL to the new database, and start. The old
    one is not changed. The people's data is not moved: where it is in the old database, set
    DSAR_SOURCE_DATABASE_URL to that.

    \b
    Examples:
      dsar move-database --to postgresql://dsar_owner@db.example.org/dsar
      dsar move-database --to -
    """
    from backend.database_urls import normalise_database_url
    from backend.engines import make_control_engine, shown_url
    from backend.services.moving import TARGET, make_tables, move, require_another
    from backend.services.section_binding import key_type_of

    text = read_line("The new database's URL") if target == "-" else target
    try:
        url = normalise_database_url(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
    with services() as found, progress("moving", wanted=not json_wanted) as line:
        settings = found.runtime.settings
        engine = make_control_engine(url, key=TARGET)
        try:
            require_another(found.controller.engine, engine)
            make_tables(settings, url, found.runtime.clock, key_type=key_type_of(settings))
            moved = move(found.controller.engine, engine, progress=line.at)
            where = shown_url(engine.url)
        finally:
            engine.dispose()
    result = {"to": where, **moved.rows, "left_behind": list(moved.left_behind)}
    note = "next: set DSAR_DATABASE_URL to the new database, and start the scheduler"
    show(
        {"ok": True, **result},
        json_wanted,
        lambda: print_table("moved", ("what", "value"), list(result.items()), note=note),
    )


@click.command(name="after-restore")
@as_json
def after_restore(json_wanted: bool) -> None:
    """Make a database safe to sweep that came back from a backup.

    Lets every claim token leap over those that were given out after the backup, so that no worker
    from before the restore can interfere; and lists what was exported since. Run it once, after
    each restore, with every scheduler stopped. Deletes nothing.

    \b
    Example:
      dsar after-restore
    """
    from backend.services.restoring import after_restore as restore

    with services() as found, progress("comparing", wanted=not json_wanted):
        done = restore(found.controller, found.store)
    columns = ("reference", "status now", "public link leads to it")
    rows = [(each.reference_id, each.status, each.published) for each in done.exported_since]
    note = f"{done.raised:,} claim tokens raised, {done.released:,} claims released"
    if done.unknown_requests or done.unknown_references:
        note += (
            f"\nwithout a row: requests {', '.join(map(str, done.unknown_requests)) or 'none'}; "
            f"public files of {', '.join(done.unknown_references) or 'nobody'}"
        )
    show(
        {"ok": True, **asdict(done)},
        json_wanted,
        lambda: print_table("exported after the backup", columns, rows, note=note),
    )


COMMANDS: Final = (
    doctor,
    move_database,
    after_restore,
    completion_of("dsar"),
    version_of("dsar"),
)
