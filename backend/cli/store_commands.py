"""Commands on the export store: what is there against what is recorded, and what may go."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Final

import click

from backend.cli.console import as_json, print_table, show
from backend.cli.context import services
from backend.cli.progress import progress
from backend.errors import EXIT_FAILED
from backend.terminal import say


@click.command()
@click.argument("reference_id", required=False)
@as_json
def verify(reference_id: str | None, json_wanted: bool) -> None:
    """Compare exports with their records, and mend their public links.

    Looks at one request, or at every export on record. Exits with 1 when a file is missing,
    damaged or not the recorded one.

    \b
    Examples:
      dsar verify
      dsar verify GDPR-TEST-123
    """
    from backend.services.verification import Verification

    with services() as found, progress("verifying", wanted=not json_wanted) as line:
        verification = Verification(found.controller, found.claims, found.store)
        each = [verification.verify(reference_id)] if reference_id else verification.verify_all()
        counts: dict[str, int] = {}
        shown = []
        repaired = 0
        for number, finding in enumerate(each, 1):
            line.at(number)
            counts[finding.state] = counts.get(finding.state, 0) + 1
            repaired += finding.link_repaired
            if finding.is_bad or reference_id:
                shown.append(finding)
    bad = sum(finding.is_bad for finding in shown)
    show(
        {
            "ok": not bad,
            "counts": counts,
            "links_repaired": repaired,
            "findings": [asdict(finding) for finding in shown],
        },
        json_wanted,
        lambda: print_table(
            "exports",
            ("reference", "state", "link repaired"),
            [(finding.reference_id, finding.state, finding.link_repaired) for finding in shown],
            note=", ".join(f"{state}: {count:,}" for state, count in counts.items()) or "none",
        ),
    )
    if bad:
        hint = "export again what is missing or damaged: dsar export REFERENCE"
        say(f"error: {bad} export(s) are not as recorded; {hint}", err=True)
        sys.exit(EXIT_FAILED)


@click.command()
@click.option(
    "--take-over",
    is_flag=True,
    help="Of an export root that another database used: make it this one's, and delete what this "
    "one does not know.",
)
@as_json
def prune(take_over: bool, json_wanted: bool) -> None:
    """Delete expired exports, leftovers and old trail rows; mend or delete stray links.

    The records of the requests stay. The scheduler does the same every day.

    \b
    Example:
      dsar prune
    """
    from backend.services.ownership import take_over as take_over_root
    from backend.services.retention import Retention

    with services() as found, progress("pruning", wanted=not json_wanted):
        if take_over:
            take_over_root(found.controller, found.store)
        days = found.runtime.settings.retention_days
        retention = Retention(found.controller, found.claims, found.store, retention_days=days)
        done = asdict(retention.prune())
    show(
        {"ok": True, **done},
        json_wanted,
        lambda: print_table("pruned", ("what", "count"), list(done.items())),
    )


COMMANDS: Final = (verify, prune)
