"""What every command shares: its errors in one line, its results as JSON or as a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import click
from sqlalchemy.exc import DBAPIError

from backend.errors import EXIT_FAILED, DSARError
from backend.failures import advice, failure_of

if TYPE_CHECKING:
    from backend.services.requests import RequestSummary

as_json = click.option("--json", "json_wanted", is_flag=True, help="Print JSON on a terminal too.")
# Read from the installed package when it is asked for, and not before: that search is slow.
version = click.version_option(package_name="levqor-dsar", message="levqor-dsar %(version)s")


class Moment(click.ParamType[date]):
    """An option that is a day (``date``) or an instant (``datetime``, naive without an offset)."""

    name = "day or time"

    def convert(self, value: Any, param: Any, ctx: Any) -> date:
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is not an ISO 8601 day or time, such as 2026-11-03 or "
                "2026-11-03T09:30Z",
                param,
                ctx,
            )


class ErrorLine(click.Group):
    """A group whose commands end in one line on stderr and an exit code, never in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            fail(error)


def fail(error: BaseException) -> None:
    """Print what went wrong and what to do, and exit with the error's code.

    A driver's message may quote data, so of errors that are not this program's own only the
    class and the place are shown.
    """
    if isinstance(error, DSARError):
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    if told := advice(error):
        click.echo(f"error: {'; '.join(told)}", err=True)
        sys.exit(EXIT_FAILED)
    failure = failure_of(error)
    hint = "is the schema this release's? run: dsar migrate" if is_database(error) else "a bug"
    click.echo(f"error: {failure.summary()} ({hint})", err=True)
    sys.exit(EXIT_FAILED)


def is_database(error: BaseException) -> bool:
    return isinstance(error, DBAPIError)


def wants_json(json_wanted: bool) -> bool:
    """Whether to print JSON: asked for, or stdout is not a terminal."""
    return json_wanted or not sys.stdout.isatty()


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout: on one line for programs, indented for a terminal."""
    indent = 2 if sys.stdout.isatty() else None
    click.echo(json.dumps(value, default=_as_json, ensure_ascii=False, indent=indent))


def _as_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, note: str = ""
) -> None:
    """Print a table on the terminal, then a note. Empty cells show as a dash; of a table without
    rows only the note is shown.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Text, not markup: a reference in square brackets is not a colour.
        table.add_row(*(value if isinstance(value, Text) else Text(_cell(value)) for value in row))
    console = Console()
    if table.row_count or not note:
        console.print(table)
    if note:
        console.print(Text(note))


def counted(number: int, noun: str) -> str:
    """``1 finding``, ``2 findings``: a number with its noun, in English."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def coloured(text: str, style: str) -> object:
    """A cell of ``print_table`` in a colour; plain where there are none (NO_COLOR, no terminal)."""
    from rich.text import Text

    return Text(text, style=style)


def _cell(value: object) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def show(value: Mapping[str, Any], json_wanted: bool, on_terminal: Callable[[], None]) -> None:
    """Print a result: as JSON where that is wanted, else by ``on_terminal``."""
    if wants_json(json_wanted):
        print_json(value)
    else:
        on_terminal()


def print_request(summary: RequestSummary, json_wanted: bool, **more: Any) -> None:
    """Print what a verb made of a request, and what ``more`` there is to say."""
    value = asdict(summary) | more
    show(
        {"ok": True, **value},
        json_wanted,
        lambda: print_table("request", ("what", "value"), list(value.items())),
    )
