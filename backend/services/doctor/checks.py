"""What a check is, and how one that cannot be made becomes a finding itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from backend.errors import DSARError, SectionError, SettingsError
from backend.failures import advice, failure_of

OK: Final = "ok"
WARN: Final = "warn"
BAD: Final = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    ``state`` is ``ok``, ``warn`` (works, but look at it) or ``bad``. ``found`` says what is so,
    ``remedy`` how to mend it; neither holds a password or anything of a person's.
    """

    name: str
    state: str
    found: str
    remedy: str | None = None


Look = Callable[[], Iterator[Check]]


def ok(name: str, found: str) -> Check:
    return Check(name, OK, found)


def warn(name: str, found: str, remedy: str) -> Check:
    return Check(name, WARN, found, remedy)


def bad(name: str, found: str, remedy: str) -> Check:
    return Check(name, BAD, found, remedy)


def made(name: str, look: Look) -> Iterator[Check]:
    """The checks of ``look``; what it raises is a bad one more. Raises nothing."""
    try:
        yield from look()
    except DSARError as error:
        # Our messages say what to do after the semicolon.
        found, _, remedy = str(error).partition("; ")
        yield bad(name, found, remedy or _remedy(error))
    except Exception as error:
        failure = failure_of(error)
        found, remedy = advice(error) or (
            failure.summary(),
            f"see {failure.code} in deploy/RUNBOOK.md",
        )
        yield bad(name, found, remedy)


def _remedy(error: DSARError) -> str:
    """What to do about an error whose message says only what is wrong, and where."""
    if isinstance(error, SettingsError):
        return "mend it where it is set: the environment, .env, or the file of that secret"
    if isinstance(error, SectionError):
        return (
            "mend it in the file that it names, and look again: dsar coverage; where it names "
            "none, the release is wrong: roll back"
        )
    return f"see {error.code} in deploy/RUNBOOK.md"
