"""A line that moves on a terminal's stderr while something long runs; elsewhere nothing.

Stdout stays the result's alone. Shows counts and the row's own ids, never a reference.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from backend.terminal import is_terminal, visible


class Silent:
    """Nobody watches."""

    def says(self, text: str) -> None:
        """What is being done right now."""

    def at(self, done: int, total: int | None = None) -> None:
        """So much is done, of so much in all, if that is known."""

    def note(self, line: str) -> None:
        """A line that stays."""

    def rows(self, section: str, rows: int) -> None:
        """How far an export is."""
        self.says(f"{section}: {rows:,} rows")


class _Bar(Silent):
    def __init__(self, progress: Any, text: str) -> None:
        self._progress = progress
        self._task = progress.add_task(text, total=None, count="")

    def says(self, text: str) -> None:
        self._progress.update(self._task, description=visible(text))

    def at(self, done: int, total: int | None = None) -> None:
        count = f"{done:,}" if total is None else f"{done:,}/{total:,}"
        self._progress.update(self._task, completed=done, total=total, count=count)

    def note(self, line: str) -> None:
        from rich.text import Text

        self._progress.console.print(Text(visible(line)))


@contextmanager
def progress(text: str, *, wanted: bool = True) -> Iterator[Silent]:
    """Show a line that begins as ``text``, where stderr is a terminal and it is ``wanted``."""
    if not (wanted and is_terminal(sys.stderr)):
        yield Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        console=Console(stderr=True, highlight=False),
        transient=True,
    ) as line:
        yield _Bar(line, text)
