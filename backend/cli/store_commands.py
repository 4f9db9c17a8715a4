"""Commands on the export store: what is there against what is recorded, and what may go."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click

from backend.cli.console import as_json, counted, print_table, show
from backend.cli.context import services
from backend.cli.progress import progress
from backend.errors import EXIT_FAILED, EXIT_UNAVAILABLE, DSARError
from backend.terminal import say

if TYPE_CHECKING:
    from backend.services.public_links import LinkCounts
    from backend.services.verification import Finding

# As a shell has it for what Ctrl-C ended.
EXIT_STOPPED: Final = 130
# Of ``verification``, which only the command itself loads.
WRONG: Final = "wrong_subject"
UNAVAILABLE: Final = "unavailable"


@click.command()
@click.argument("reference_id", required=False)
@click.option(
    "--after",
    type=click.IntRange(0),
    metavar="ID",
    help="Look only at requests with a greater id: the last_id that an earlier look ended with.",
)
@as_json
def verify(reference_id: str | None, after: int | None, json_wanted: bool) -> None:
    """Compare exports with their records, and repair their public links.

    Looks at one request, or at every export on record. Exits with 1 when a file is missing,
    damaged, not the recorded one, or of another person than the request names by now. What cannot
    be looked at is said, and passed over; 69 is the exit code when the store did not give a file.
    Ctrl-C ends it with what was found so far.

    \b
    Examples:
      dsar verify
      dsar verify GDPR-TEST-123
      dsar verify --after 120000
    """
    from backend.services.verification import Verification

    if reference_id and after is not None:
        raise click.UsageError("say either a reference or --after")
    look = _Look(listed=reference_id is not None, last_id=after)
    with services() as found, progress("verifying", wanted=not json_wanted) as line:
        verification = Verification(found.controller, found.claims, found.store)
        each = (
            [verification.verify(reference_id)] if reference_id else verification.verify_all(after)
        )
        try:
            for number, finding in enumerate(each, 1):
                line.at(number)
                look.add(finding)
            if not reference_id:
                look.count_links(verification.repair_links())
        except (DSARError, KeyboardInterrupt) as error:
            look.ended_by = error
    show(look.as_dict(), json_wanted, look.print_table)
    look.exit()


@dataclass(slots=True)
class _Look:
    """What a verification found, and how far it came. ``listed``: list what is good, too."""

    listed: bool
    last_id: int | None
    counts: dict[str, int] = field(default_factory=dict)
    links_repaired: int = 0
    rows_locked: int = 0
    findings: list[Finding] = field(default_factory=list)
    ended_by: BaseException | None = None

    def add(self, finding: Finding) -> None:
        if finding.state != UNAVAILABLE:
            self.last_id = finding.request_id
        self.counts[finding.state] = self.counts.get(finding.state, 0) + 1
        self.links_repaired += finding.link_repaired
        self.rows_locked += finding.row_locked
        if self.listed or finding.is_bad or not finding.is_whole:
            self.findings.append(finding)

    def count_links(self, links: LinkCounts) -> None:
        self.links_repaired += links.repaired
        self.rows_locked += links.locked

    @property
    def bad(self) -> int:
        return sum(finding.is_bad for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": not self.bad and self.ended_by is None and UNAVAILABLE not in self.counts,
            "complete": self.ended_by is None,
            "last_id": self.last_id,
            "counts": self.counts,
            "links_repaired": self.links_repaired,
            "rows_locked": self.rows_locked,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def print_table(self) -> None:
        counts = ", ".join(f"{state}: {count:,}" for state, count in self.counts.items())
        print_table(
            "exports",
            ("reference", "state", "link repaired", "row locked"),
            [(f.reference_id, f.state, f.link_repaired, f.row_locked) for f in self.findings],
            note=counts or "none",
        )

    def exit(self) -> None:
        """Say on stderr what is wrong and what to do, and exit with its code."""
        if self.rows_locked:
            what = counted(self.rows_locked, "link")
            say(
                f"note: {what} not repaired, the row is locked by a transaction; verify again",
                err=True,
            )
        if WRONG in self.counts:
            say(
                "error: a file is of another person than its request names by now; hand it to "
                "nobody, and see wrong_subject in deploy/RUNBOOK.md",
                err=True,
            )
        if self.bad:
            hint = "export again what is missing or damaged: dsar export REFERENCE"
            say(f"error: {self.bad} export(s) are not as recorded; {hint}", err=True)
        if self.ended_by is not None:
            self._exit_early(self.ended_by)
        if self.bad:
            sys.exit(EXIT_FAILED)
        if count := self.counts.get(UNAVAILABLE, 0):
            what = counted(count, "version")
            say(f"error: the store did not give {what}; verify again later", err=True)
            sys.exit(EXIT_UNAVAILABLE)

    def _exit_early(self, error: BaseException) -> None:
        on = "" if self.last_id is None else f"; to go on: dsar verify --after {self.last_id}"
        if isinstance(error, DSARError):
            say(f"error: {error}{'' if self.listed else on}", err=True)
            sys.exit(EXIT_FAILED if self.bad else error.exit_code)
        say(f"stopped{on}", err=True)
        sys.exit(EXIT_STOPPED)


@click.command()
@click.option(
    "--take-over",
    is_flag=True,
    help="Of an export root that another database used: make it this one's, and delete what this "
    "one does not know.",
)
@as_json
def prune(take_over: bool, json_wanted: bool) -> None:
    """Delete expired exports, leftovers and old trail rows; repair or delete stray links.

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
