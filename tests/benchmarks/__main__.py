"""``python -m tests.benchmarks``: the command."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console
from rich.table import Table

from tests.benchmarks import big, huge, machine, plot, report, scale, small, startup
from tests.benchmarks.report import Row
from tests.benchmarks.summary import summary
from tests.worlds import MARIADB, POSTGRESQL, SQLITE

KINDS = (POSTGRESQL, MARIADB, SQLITE)


@dataclass(frozen=True)
class Form:
    """How much is measured."""

    sizes: tuple[int, ...]
    rounds: int
    people: int
    startup_rounds: int
    idle_seconds: float
    requests: int
    claims: int
    wear: int
    huge: int

    def on(self, kind: str) -> Form:
        """Less on those that do not come first: all three are to fit into an hour."""
        if kind == POSTGRESQL:
            return self
        return replace(
            self,
            rounds=min(self.rounds, 3),
            people=-(-self.people // 2),
            wear=-(-self.wear // 5),
        )


FULL = Form(
    sizes=(10_000, 100_000, 1_000_000),
    rounds=5,
    people=2_000,
    startup_rounds=11,
    idle_seconds=10,
    requests=1_000_000,
    claims=500,
    wear=100_000,
    huge=10_000_000,
)
QUICK = Form(
    sizes=(10_000, 50_000),
    rounds=2,
    people=200,
    startup_rounds=3,
    idle_seconds=2,
    requests=50_000,
    claims=200,
    wear=0,
    huge=0,
)
TINY = Form(
    sizes=(20, 40),
    rounds=1,
    people=3,
    startup_rounds=1,
    idle_seconds=0.2,
    requests=100,
    claims=5,
    wear=5,
    huge=100,
)
FORMS = {"full": FULL, "quick": QUICK, "tiny": TINY}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--form",
    type=click.Choice(list(FORMS)),
    default="full",
    show_default=True,
    help="full: within an hour on two cores; quick: five minutes; tiny: does it work at all.",
)
@click.option("--quick", is_flag=True, help="The same as --form quick.")
@click.option("--only", help="Parts: big,small,startup,huge,scale. Default: all.")
@click.option("--database", "databases", help=f"Of {','.join(KINDS)}. Default: all.")
@click.option("--rounds", type=click.IntRange(1), help="Runs of each way. Default: the form's.")
@click.option(
    "--rows", "sizes", multiple=True, type=click.IntRange(1), help="Of the big person; repeatable."
)
@click.option(
    "--fides/--no-fides",
    default=None,
    help="Install fides where it is missing (minutes, 800 MB). Default: in the full form.",
)
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("bench-results"),
    show_default=True,
    help="Where the table, the raw figures and the plot are written.",
)
def main(
    form: str,
    quick: bool,
    only: str | None,
    databases: str | None,
    rounds: int | None,
    sizes: tuple[int, ...],
    fides: bool | None,
    results: Path,
) -> None:
    """Measure the program beside what its users would have otherwise.

    Makes its own people and databases, and deletes them; runs whole processes in turns; prints
    one table and writes it, with a plot. Measure on a machine that does nothing else.

    \b
    Examples:
      python -m tests.benchmarks
      python -m tests.benchmarks --quick --only big,small
      python -m tests.benchmarks --only big --rows 10000 --rows 300000 --rounds 3
    """
    _leave_nothing_running()
    try:
        results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"--results: {results} cannot be made: {error.strerror}") from None
    name = "quick" if quick else form
    chosen = FORMS[name]
    kinds = _chosen(databases, KINDS, "--database")
    install = name == "full" if fides is None else fides
    if sizes:
        chosen = replace(chosen, sizes=sizes)
    forms = {kind: chosen.on(kind) for kind in kinds}
    if rounds:
        forms = {kind: replace(form, rounds=rounds) for kind, form in forms.items()}
    parts: dict[str, Callable[[str, Form], list[Row]]] = {
        "big": lambda kind, form: big.measure(kind, form.sizes, form.rounds, install),
        "small": lambda kind, form: small.measure(kind, form.people, form.rounds),
        "startup": lambda kind, form: startup.measure(kind, form.startup_rounds, form.idle_seconds),
        "huge": lambda kind, form: huge.measure(kind, form.huge) if kind == kinds[0] else [],
        "scale": lambda kind, form: scale.measure(kind, form.requests, form.claims, form.wear),
    }
    environment = machine.describe(kinds, Path(tempfile.gettempdir()), name)
    rows: list[Row] = []
    for part in _chosen(only, tuple(parts), "--only"):
        click.echo(f"{part}:", err=True)
        for kind, of_kind in forms.items():
            rows += parts[part](kind, of_kind)
            # At once: what was measured is not lost with what comes later.
            report.write(results, rows, environment)
    (results / "summary.md").write_text(summary(rows, environment), encoding="utf-8")
    drawn = plot.draw(rows, environment, results / "plot.png")
    _show(rows, environment)
    written = ["table.md", "summary.md", "results.json", *(["plot.png"] if drawn else [])]
    click.echo(f"written to {results}: {', '.join(written)}")
    if not drawn:
        click.echo("no plot: there was nothing to draw, or matplotlib is not installed", err=True)


def _leave_nothing_running() -> None:
    """Have what ends it, a closed terminal too, end its servers and delete its files."""

    def end(number: int, _: object) -> NoReturn:
        for each in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)  # the second one would end the tidying up
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, end)


def _chosen(text: str | None, known: tuple[str, ...], option: str) -> tuple[str, ...]:
    names = tuple(text.split(",")) if text else known
    for name in names:
        if name not in known:
            raise click.UsageError(f"{option}: {name!r} is none of {', '.join(known)}")
    return names


def _show(rows: list[Row], environment: dict[str, str]) -> None:
    if not sys.stdout.isatty():
        click.echo(report.markdown(rows, environment))
        return
    shown = Table(title="benchmark", title_justify="left", title_style="bold")
    for heading in report.HEADINGS:
        shown.add_column(heading, overflow="fold")
    for row in rows:
        shown.add_row(*(cell.replace("**", "") for cell in row.cells()))
    Console().print(shown)


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks")
