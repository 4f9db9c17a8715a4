"""``dsar report``: a period's requests in numbers; no reference, no user id, no reason."""

from __future__ import annotations

import csv
import os
import re
from calendar import monthrange
from collections.abc import Callable
from datetime import date, tzinfo
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from backend.cli.console import print_json, print_table, wants_json
from backend.cli.context import records
from backend.errors import UsageError
from backend.terminal import print_text

if TYPE_CHECKING:
    from backend.services.report import Period, Report

FORMATS: Final = ("table", "json", "csv", "html")
_SUFFIXES: Final = {".json": "json", ".csv": "csv", ".html": "html", ".htm": "html"}
_day = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.option("--from", "first", type=_day, help="The first day, 2026-10-01.")
@click.option("--to", "last", type=_day, help="The last day, included. Default: today.")
@click.option("--month", help="A month, 2026-10. Default: the current one.")
@click.option("--year", type=click.IntRange(1970, 9998), help="A year.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Default: by the file's name; else a table on a terminal, json elsewhere.",
)
@click.option("--json", "json_wanted", is_flag=True, help="The same as --format json.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file."
)
def report(
    first: Any,
    last: Any,
    month: str | None,
    year: int | None,
    form: str | None,
    json_wanted: bool,
    output: Path | None,
) -> None:
    """Report on the requests received in a period: on time, late, open, and how long it took.

    The days are those of DSAR_TIME_ZONE. A request counts as answered at its hand-over
    (`dsar delivered`), or without one when its export was completed. Holds no personal data.

    \b
    Examples:
      dsar report
      dsar report --month 2026-10
      dsar report --from 2026-01-01 --to 2026-06-30 --format csv
      dsar report --year 2026 -o report-2026.html
    """
    from backend.services.report import make_report

    with records() as (controller, settings):
        clock = controller.clock
        today = clock.now().astimezone(settings.zone).date()
        period = _period(first, last, month, year, today=today, zone=settings.zone)
        made = make_report(settings.database_url, clock, period)
    chosen = form or ("json" if json_wanted else _form_of(output))
    if output is None and chosen == "table":
        _print_tables(made)
        return
    if chosen == "table":
        raise click.UsageError("a table is for a terminal; write --format json, csv or html")
    if output is None and chosen == "json":
        print_json(made.as_dict())
        return
    text = _RENDERED[chosen](made)
    if output is None:
        print_text(text)
    else:
        _write(output, text)
        print_json({"ok": True, "file_path": str(output.absolute()), "format": chosen})


def _period(
    first: Any, last: Any, month: str | None, year: int | None, *, today: date, zone: tzinfo
) -> Period:
    from backend.services.report import Period

    if sum((first is not None or last is not None, month is not None, year is not None)) > 1:
        raise click.UsageError("say one of --from and --to, --month, --year")
    if first is not None or last is not None:
        if first is None:
            raise click.UsageError("--to needs a --from")
        return Period(first.date(), last.date() if last else max(first.date(), today), zone)
    if year is not None:
        return Period(date(year, 1, 1), date(year, 12, 31), zone)
    if month is None:
        month = f"{today:%Y-%m}"
    matched = re.fullmatch(r"(\d{4})-(\d{2})", month)
    if not matched or not 1 <= int(matched[2]) <= 12 or int(matched[1]) < 1970:
        raise click.BadParameter(f"{month!r} is not a month such as 2026-10", param_hint="--month")
    of_year, of_month = int(matched[1]), int(matched[2])
    days = monthrange(of_year, of_month)[1]
    return Period(date(of_year, of_month, 1), date(of_year, of_month, days), zone)


def _form_of(output: Path | None) -> str:
    if output is not None:
        return _SUFFIXES.get(output.suffix.lower(), "json")
    return "json" if wants_json(json_wanted=False) else "table"


def _as_json(made: Report) -> str:
    import json

    return json.dumps(made.as_dict(), indent=2, ensure_ascii=False) + "\n"


def _as_csv(made: Report) -> str:
    """A line for each week or month, and one for the whole period."""
    value = made.as_dict()
    target = StringIO()
    writer = csv.writer(target, lineterminator="\n")
    counts = [name for name, each in value["requests"].items() if not isinstance(each, dict)]
    spans = [name for name, each in value["requests"].items() if isinstance(each, dict)]
    parts = ("median", "p90", "max")
    heads = [f"{name}_{part}" for name in spans for part in parts]
    writer.writerow([f"{value['by']}_from", *counts, *heads])
    for each in (*value["buckets"], {"from": "total"} | value["requests"]):
        cells = [each[name][part] for name in spans for part in parts]
        writer.writerow([each["from"], *(each[name] for name in counts), *cells])
    return target.getvalue()


def _as_html(made: Report) -> str:
    from backend.services.report_page import render

    return render(made)


_RENDERED: Final[dict[str, Callable[[Report], str]]] = {
    "json": _as_json,
    "csv": _as_csv,
    "html": _as_html,
}


def _write(path: Path, text: str) -> None:
    """Write the file beside its place, then put it there. Raises ``UsageError``."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written ({error.strerror}); name another") from None


def _print_tables(made: Report) -> None:
    value = made.as_dict()
    columns = ("received", "answered", "late", "open", "overdue", "cancelled", "extended", "held")
    rows = [
        [each["from"], *(each[name] for name in columns), _percent(each["on_time_rate"])]
        for each in (*value["buckets"], {"from": "total"} | value["requests"])
    ]
    title = f"requests received from {value['from']} to {value['to']}"
    heads = (f"{value['by']} from", *columns, "on time")
    print_table(title, heads, rows, optional=("overdue", "cancelled", "extended", "held"))
    spans = {
        "receipt to completion, days": value["requests"]["receipt_to_completion_days"],
        "receipt to hand-over, days": value["requests"]["receipt_to_delivery_days"],
        "one export, seconds": value["export_seconds"],
    }
    parts = ("count", "median", "p90", "max")
    span_rows = [[name, *(each[part] for part in parts)] for name, each in spans.items()]
    print_table("durations", ("from, to", *parts), span_rows)
    attempts = [[f"attempts: {name}", count] for name, count in value["attempts"].items()]
    failures = [[f"failures: {code}", count] for code, count in value["failures"].items()]
    print_table("attempts", ("what", "count"), attempts + failures, note="answered: " + _ANSWERED)


_ANSWERED: Final = "handed over where that is recorded, else completed"


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{rate * 100:.1f}%"
