"""Small mistakes that somebody could make, each with the tests that notice it.

A guard that no test notices is a guard that somebody can remove unseen. The TOML files of this
folder list changes to the program, one file a topic::

    file = "backend/services/retention.py"      # of all of the file's mutants; each may say its own
    tests = ["tests/integration/test_retention.py"]

    [[mutant]]
    name = "retention-a-day-late"               # unique, for --only
    was = "timedelta(days=self._days)"          # found exactly once in the file
    becomes = "timedelta(days=self._days + 1)"
    needs = "mariadb"                           # left out where that is not installed
    hangs = true                                # noticed by the time limit

``python -m tests.mutants`` applies each one to a copy of the tree and runs its tests there.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
LISTS: Final = Path(__file__).parent
_NEEDED: Final = frozenset({"name", "file", "was", "becomes", "tests"})
_ALLOWED: Final = _NEEDED | {"needs", "hangs"}


class ListError(Exception):
    """An entry of the list is wrong, or the program has changed beneath it."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of a file's text, and the tests of which one must fail with it."""

    name: str
    file: str
    was: str
    becomes: str
    tests: tuple[str, ...]
    needs: str | None = None
    hangs: bool = False

    def apply(self, root: Path) -> None:
        """Change the file below ``root``. Raises ``ListError`` as ``changed`` does."""
        (root / self.file).write_text(self.changed(root), encoding="utf-8")

    def changed(self, root: Path) -> str:
        """The file's text with the change.

        Raises ``ListError`` unless the text is there once, and what comes of it is Python: a file
        that cannot be read is noticed by any test.
        """
        text = self.found(root)[0].replace(self.was, self.becomes)
        try:
            compile(text, self.file, "exec")
        except SyntaxError as error:
            raise ListError(f"{self.name}: not Python any more: {error}") from None
        return text

    def found(self, root: Path) -> tuple[str, int]:
        """The file's text, and the line where the change begins. Raises as ``apply``."""
        path = root / self.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        times = text.count(self.was)
        if times != 1:
            raise ListError(
                f"{self.name}: its text is found {times} times in {self.file}, not once; bring "
                f"tests/mutants up to date: {self.was!r}"
            )
        return text, text[: text.index(self.was)].count("\n") + 1


def read_lists(folder: Path = LISTS) -> list[Mutant]:
    """Every mutant of the folder's lists, in order. Raises ``ListError``."""
    found: list[Mutant] = []
    for path in sorted(folder.glob("*.toml")):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        shared = {key: value for key, value in content.items() if key != "mutant"}
        found += [_mutant(path.name, shared | each) for each in content["mutant"]]
    names = [each.name for each in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ListError(f"more than one mutant is called {', '.join(twice)}")
    return found


def _mutant(source: str, entry: dict[str, Any]) -> Mutant:
    missing, unknown = _NEEDED - set(entry), set(entry) - _ALLOWED
    if missing or unknown or not entry["tests"] or entry["was"] == entry["becomes"]:
        raise ListError(
            f"{source}: {entry.get('name', 'a mutant')}: missing {sorted(missing)}, unknown "
            f"{sorted(unknown)}, without tests, or no change"
        )
    return Mutant(**entry | {"tests": tuple(entry["tests"])})


def tenth(mutants: list[Mutant], day: date) -> list[Mutant]:
    """Those whose turn it is on that day: in ten days each one has been."""
    return mutants[day.toordinal() % 10 :: 10]
