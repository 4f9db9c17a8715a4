"""What every command shares: its errors in one line, its results as JSON or as a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from backend.errors import EXIT_FAILED, EXIT_UNAVAILABLE, DSARError
from backend.failures import Failure, Kind, advice, failure_of, is_driver_error
from backend.terminal import is_terminal, say, visible, visible_json

if TYPE_CHECKING:
    from backend.services.request_summaries import RequestSummary

# As wide as the terminal, up to a line that is read with ease: at 80 the list of commands is cut.
CONTEXT: Final[dict[str, Any]] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 110,
}
as_json = click.option("--json", "json_wanted", is_flag=True, help="Print JSON on a terminal too.")
# Read from the installed package when it is asked for, and not before: that search is slow.
version = click.version_option(package_name="levqor-dsar", message="levqor-dsar %(version)s")


# Of an empty cell.
_EMPTY = "–"
_LONG_WORD = 32


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


class Line(click.ParamType[str]):
    """A text; a dash reads it from stdin, out of sight of process lists and shell histories."""

    name = "text"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        if value != "-":
            return str(value)
        what = str(param.human_readable_name if param else self.name).replace("_", " ")
        return read_line(what) or self.fail("stdin holds no line for it", param, ctx)


def read_line(what: str) -> str:
    """A line of stdin; from a terminal it is asked for, and not shown as it is typed."""
    if is_terminal(sys.stdin):
        return str(click.prompt(what, hide_input=True, err=True)).strip()
    return "" if sys.stdin is None else sys.stdin.readline().strip()


class ErrorLine(click.Group):
    """A group whose commands end in one line on stderr and an exit code, never in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            # It may quote what was given.
            error.message = visible(error.message, keep="\n")  # type: ignore[misc]
            raise
        except (click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            fail(error)


def fail(error: BaseException) -> None:
    """Print what went wrong and what to do, and exit with the error's code."""
    line, exit_code = ending(error)
    say(line, err=True)
    sys.exit(exit_code)


def ending(error: BaseException) -> tuple[str, int]:
    """The line on stderr and the exit code in which an error ends a program.

    A driver's message may quote data, so of errors that are not this program's own only the
    class and the place are shown.
    """
    if isinstance(error, DSARError):
        return f"error: {error}", error.exit_code
    failure = failure_of(error)
    exit_code = EXIT_UNAVAILABLE if _is_outage(error, failure) else EXIT_FAILED
    if told := advice(error):
        return f"error: {'; '.join(told)}", exit_code
    schema = is_driver_error(error)
    hint = "is the schema this release's? run: dsar migrate" if schema else "a bug"
    return f"error: {failure.summary()} ({hint})", exit_code


def _is_outage(error: BaseException, failure: Failure) -> bool:
    return is_driver_error(error) and failure.kind is Kind.ENVIRONMENT


def wants_json(json_wanted: bool) -> bool:
    """Whether to print JSON: asked for, or stdout is not a terminal."""
    return json_wanted or not is_terminal(sys.stdout)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout: on one line for programs, indented for a terminal."""
    indent = 2 if is_terminal(sys.stdout) else None
    text = json.dumps(value, default=_as_json, ensure_ascii=False, indent=indent)
    click.echo(visible_json(text))


def _as_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    note: str = "",
    optional: Sequence[str] = (),
) -> None:
    """Print a table on the terminal, then a note. Empty cells show as a dash; of a table without
    rows only the note is shown.

    ``optional`` columns are left out where they hold nothing, and from the last on where words
    would not fit; which, is said below the table.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    # Text, not markup: a reference in square brackets is not a colour.
    cells = [[v if isinstance(v, Text) else Text(visible(_cell(v))) for v in row] for row in rows]
    texts = [[cell.plain for cell in row] for row in cells]
    filled, widths = _fitting(columns, texts, optional, console.width)
    table = Table(title=Text(visible(title)), title_justify="left", title_style="bold")
    for index, width in widths.items():
        table.add_column(columns[index], overflow="fold", width=width)
    for row in cells:
        table.add_row(*(row[index] for index in widths))
    if table.row_count or not note:
        console.print(table)
    if table.row_count and (missing := [columns[index] for index in filled if index not in widths]):
        console.print(Text(f"(too narrow for: {', '.join(missing)}; see --json)"))
    if note:
        console.print(Text(visible(note, keep="\n")))


def _fitting(
    columns: Sequence[str], rows: Sequence[Sequence[str]], optional: Sequence[str], width: int
) -> tuple[list[int], dict[int, int | None]]:
    """The columns that hold something; and of these the ones that fit, with their widths.

    All by their places. No width is given where none would keep every word whole.
    """
    texts = [[name, *(row[index] for row in rows)] for index, name in enumerate(columns)]
    filled = [
        index
        for index, name in enumerate(columns)
        if name not in optional or any(text != _EMPTY for text in texts[index][1:])
    ]
    # The longest word, unless it is very long: that is broken.
    least = [
        min(_LONG_WORD, max((len(word) for text in each for word in text.split()), default=1))
        for each in texts
    ]
    shown = list(filled)
    for name in reversed(optional):
        if _room(shown, width) >= sum(least[index] for index in shown):
            break
        shown = [index for index in shown if columns[index] != name]
    widths = {index: least[index] for index in shown}
    spare = _room(shown, width) - sum(widths.values())
    if spare < 0:
        return filled, dict.fromkeys(shown)
    most = {index: max(map(len, texts[index])) for index in shown}
    while spare > 0 and (wanting := [i for i in shown if widths[i] < most[i]]):
        for index in wanting[:spare]:
            widths[index] += 1
            spare -= 1
    return filled, dict(widths)


def _room(shown: Sequence[int], width: int) -> int:
    """What a terminal leaves to the columns: each has a border and two blanks."""
    return width - 1 - 3 * len(shown)


def counted(number: int, noun: str) -> str:
    """``1 finding``, ``2 findings``: a number with its noun, in English."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def coloured(text: str, style: str) -> object:
    """A cell of ``print_table`` in a colour; plain where there are none (NO_COLOR, no terminal)."""
    from rich.text import Text

    return Text(visible(text), style=style)


def _cell(value: object) -> str:
    if value is None or value == "":
        return _EMPTY
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or _EMPTY
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
