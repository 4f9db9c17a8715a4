"""A report as a page with plots: one file, no script, calls nobody, prints well."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from backend.services.report import DAY, Durations, Report

_WIDTH: Final = 720
_HEIGHT: Final = 240
_LEFT: Final = 44
_BOTTOM: Final = 26
_TOP: Final = 10
# More labels than this would run into each other.
_LABELS: Final = 10

_KINDS: Final = {
    "on_time": "answered on time",
    "late": "answered late",
    "undated": "answered, date unknown",
    "open": "open, in time",
    "overdue": "overdue",
    "cancelled": "cancelled",
}
_ANSWERED: Final = {"answered": "answered"}
_COLUMNS: Final = {
    "received": "received",
    "answered": "answered",
    "late": "late",
    "open": "open",
    "overdue": "overdue",
    "cancelled": "cancelled",
    "extended": "extended",
    "held": "held",
    "delivered": "handed over",
}
_BINS: Final = ((1, "<1"), (2, "1"), (4, "2–3"), (8, "4–7"), (15, "8–14"), (22, "15–21"))
_MORE_BINS: Final = ((32, "22–31"), (63, "32–62"), (math.inf, "more"))


def render(report: Report) -> str:
    """The report as an HTML page. Everything that comes from the database is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("backend.services", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    style, *_ = environment.loader.get_source(environment, "report.css")  # type: ignore[union-attr]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    value = report.as_dict()
    return environment.get_template("report.html").render(
        report=value,
        total=value["requests"],
        taken_at=_minute(report.taken_at.astimezone(report.period.zone)),
        style=style,
        style_hash=f"sha256-{digest}",
        columns=list(_COLUMNS.items()),
        durations=[
            ("receipt to completion, days", value["requests"]["receipt_to_completion_days"]),
            ("receipt to hand-over, days", value["requests"]["receipt_to_delivery_days"]),
            ("one export, seconds", value["export_seconds"]),
        ],
        by_bucket=_by_bucket(value),
        until_answered=_until_answered(report.total.to_answer),
    )


def _minute(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M %Z}"


def _by_bucket(value: Mapping[str, Any]) -> dict[str, Any]:
    columns = []
    for each in value["buckets"]:
        dated = each["on_time"] + each["late"]
        parts = {name: each[name] for name in _KINDS if name in each}
        parts |= {"undated": each["answered"] - dated, "open": each["open"] - each["overdue"]}
        label = each["from"][5:] if value["by"] == "week" else each["from"][:7]
        columns.append((label, {kind: parts[kind] for kind in _KINDS}))
    present = [kind for kind in _KINDS if any(parts[kind] for _, parts in columns)]
    title = f"Requests by {value['by']} of receipt, and what became of them"
    return _plot(title, columns, _KINDS) | {"kinds": [(kind, _KINDS[kind]) for kind in present]}


def _until_answered(durations: Durations) -> dict[str, Any]:
    bins = (*_BINS, *_MORE_BINS)
    counts = dict.fromkeys((name for _, name in bins), 0)
    for seconds, count in durations.counts.items():
        counts[next(name for below, name in bins if seconds < below * DAY)] += count
    columns = [(name, {"answered": count}) for name, count in counts.items()]
    return _plot("Answered requests by days from receipt", columns, _ANSWERED) | {"kinds": []}


def _plot(
    title: str, columns: Sequence[tuple[str, Mapping[str, int]]], names: Mapping[str, str]
) -> dict[str, Any]:
    """Where the bars of a stacked plot are; numbers and our own words alone."""
    highest = max((sum(parts.values()) for _, parts in columns), default=0)
    step = _step(highest)
    top = max(1, math.ceil(highest / step)) * step
    room = _HEIGHT - _BOTTOM - _TOP
    slot = (_WIDTH - _LEFT) / max(1, len(columns))
    bars = []
    for index, (label, parts) in enumerate(columns):
        bottom = float(_HEIGHT - _BOTTOM)
        for kind, count in parts.items():
            height = room * count / top
            bottom -= height
            bar = {
                "kind": kind,
                "x": round(_LEFT + slot * (index + 0.12), 1),
                "y": round(bottom, 1),
                "width": round(slot * 0.76, 1),
                "height": round(height, 1),
                "told": f"{label}, {names[kind]}: {count:,}",
            }
            bars += [bar] if count else []
    every = math.ceil(len(columns) / _LABELS)
    return {
        "title": title,
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "bars": bars,
        "labels": [
            {"x": round(_LEFT + slot * (index + 0.5), 1), "text": label}
            for index, (label, _) in enumerate(columns)
            if index % every == 0
        ],
        "ticks": [
            {"y": round(_HEIGHT - _BOTTOM - room * value / top, 1), "label": f"{value:,}"}
            for value in range(0, top + 1, step)
        ],
    }


def _step(highest: int) -> int:
    """A round distance between two lines of the grid: 1, 2 or 5 times a power of ten."""
    rough = max(1.0, highest / 4)
    power = 10 ** math.floor(math.log10(rough))
    return int(next(m * power for m in (1, 2, 5, 10) if m * power >= rough))
