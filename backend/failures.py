"""An exception as what may be stored and logged of it: a code, its class, code locations.

Never its message, which may quote a person's data or an SQL parameter.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Final, TypeGuard

from backend import package_files
from backend.errors import (
    BusyError,
    ConfigurationError,
    DeadlineExceeded,
    DSARError,
    EnvironmentTrouble,
    Interrupted,
    PackageIncomplete,
    PermanentError,
    ReplicaConflict,
    RowsHidden,
    SectionFailed,
    UsageError,
    ValueTooLarge,
)

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

_FRAMES: Final = 6
_SAFE_NAME: Final = re.compile(r"[A-Za-z_<][A-Za-z0-9_.<>/]{0,99}")
_OURS: Final = ("backend", "scheduler")
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_WRITABLE: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_WRITES: Final = ("INSERT", "UPDATE", "DELETE")
_REFUSED_BY_POSTGRESQL: Final = re.compile(
    "permission denied for (schema|sequence|table|(?:materialized )?view) (.+)"
)
_REFUSED_BY_MARIADB: Final = re.compile(r"([A-Z]+) command denied to user .* for table (.+)")
_SUMMARY_LENGTH: Final = 500


class Kind(StrEnum):
    """What may come of it: see ``dsar_exporter``."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    ENVIRONMENT = "environment"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Failure:
    """``code`` is stable; ``error_class`` names the exception's (and a driver's) class;
    ``error_at`` is ``module:function:line``, the innermost frame first. ``about`` names what of the
    declaration it is about: a section, a column.
    """

    code: str
    kind: Kind
    error_class: str
    error_at: str
    about: str = ""

    def summary(self) -> str:
        """One line for ``last_error``: no message, at most 500 characters."""
        where = f" at {self.error_at}" if self.error_at else ""
        about = f" ({self.about})" if self.about else ""
        return f"{self.code} {self.error_class}{about}{where}"[:_SUMMARY_LENGTH]


def failure_of(error: BaseException) -> Failure:
    """Describe an exception. Of a group, its first leaf. Raises nothing."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    code, kind = _classify(error)
    about = error.about if isinstance(error, (ValueTooLarge, SectionFailed)) else ""
    if isinstance(error, SectionFailed) and error.__cause__ is not None:
        error = error.__cause__  # which the section's own code raised
    return Failure(code, kind, class_of(error), locations(error.__traceback__), about)


def _classify(error: BaseException) -> tuple[str, Kind]:
    if isinstance(error, DSARError):
        return error.code, _kind_of_ours(error)
    if is_driver_error(error):
        return _classify_driver(error)
    if _is_of_sqlalchemy(error, "SQLAlchemyError"):
        return "query_failed", Kind.TRANSIENT
    if isinstance(error, OSError):
        return _classify_os(error), Kind.ENVIRONMENT
    if isinstance(error, MemoryError):
        return "out_of_memory", Kind.TRANSIENT
    return "unexpected_error", Kind.TRANSIENT


def _kind_of_ours(error: DSARError) -> Kind:
    if isinstance(error, PackageIncomplete):
        return Kind.ENVIRONMENT  # it is this machine's copy, not the request
    if isinstance(error, (PermanentError, ConfigurationError, UsageError)):
        return Kind.PERMANENT
    if isinstance(error, (EnvironmentTrouble, BusyError)):
        return Kind.ENVIRONMENT
    if isinstance(error, Interrupted) and not isinstance(error, DeadlineExceeded):
        return Kind.INTERRUPTED
    return Kind.TRANSIENT


def is_driver_error(error: BaseException | None) -> TypeGuard[DBAPIError]:
    """Whether it is a database driver's, as SQLAlchemy wraps it.

    Without loading SQLAlchemy: where that is not loaded, nobody raised one. The scheduler's
    parent, which logs like everybody, must stay small.
    """
    return _is_of_sqlalchemy(error, "DBAPIError")


def _is_of_sqlalchemy(error: BaseException | None, name: str) -> bool:
    loaded = sys.modules.get("sqlalchemy.exc")
    return loaded is not None and isinstance(error, getattr(loaded, name))


def _classify_driver(error: DBAPIError) -> tuple[str, Kind]:
    from backend import driver_errors

    if driver_errors.is_replica_conflict(error):
        return ReplicaConflict.code, Kind.TRANSIENT
    if driver_errors.is_hidden_by_policy(error):
        return RowsHidden.code, Kind.TRANSIENT
    if driver_errors.is_timeout(error):
        return "statement_timeout", Kind.TRANSIENT
    if driver_errors.is_busy(error):
        return "database_busy", Kind.ENVIRONMENT
    if driver_errors.is_gone(error):
        return "database_unreachable", Kind.ENVIRONMENT
    return "query_failed", Kind.TRANSIENT


def _classify_os(error: OSError) -> str:
    if error.errno in _FULL:
        return "disk_full"
    if error.errno in _NOT_WRITABLE:
        return "store_not_writable"
    # A template that is not there is an error without a number.
    if error.errno in (None, errno.ENOENT) and not package_files.is_whole():
        return PackageIncomplete.code
    return "store_unavailable"


def advice(error: BaseException) -> tuple[str, str] | None:
    """What is so and what to do, of another program's error that an operator can mend.

    For a terminal alone: it may name a path, a table or a role. None: nobody foresaw it.
    """
    if is_driver_error(error):
        from backend import driver_errors

        if driver_errors.is_refused(error):
            words = driver_errors.words_of_refusal(error)
            grant = _grant(words, str(error.statement or ""))
            return (
                f"the database refused it: {words}",
                f"grant it to this role{grant}; see deploy/RUNBOOK.md, Database roles",
            )
        if driver_errors.is_gone(error):
            found, _, remedy = driver_errors.why_gone(error).partition("; ")
            return f"the database cannot serve: {found}", remedy
    if isinstance(error, PermissionError):
        what = f"{os.fsdecode(error.filename)} is" if error.filename else "a file or folder is"
        return (
            f"{what} not this user's to use (uid {os.geteuid()})",
            "run this as the scheduler's user, or give it that path, and x on each folder above",
        )
    return None


def explain(error: BaseException) -> str:
    """One line for the operator about an export that failed.

    A message that is not ours may quote data, so it is not shown; of a right that is missing the
    table and the GRANT are.
    """
    if isinstance(error, DSARError):
        return str(error)
    if is_driver_error(error) and (told := advice(error)):
        return f"the export failed: {'; '.join(told)}"
    return f"the export failed: {failure_of(error).summary()}"


def _grant(words: str, statement: str) -> str:
    """The GRANT that a refusal's words ask for; "" where they are in another language."""
    verb = statement.lstrip().partition(" ")[0].upper()
    if found := _REFUSED_BY_MARIADB.match(words):
        # The right to make one table is asked for by who makes several.
        where = re.sub(r"\.`[^`]*`$", ".*", found[2]) if found[1] == "CREATE" else found[2]
        return f": GRANT {found[1]} ON {where} TO …"
    if not (found := _REFUSED_BY_POSTGRESQL.match(words)):
        return ""
    kind, name = found[1], found[2]
    if kind in ("schema", "sequence"):
        right = "USAGE, CREATE" if verb == "CREATE" else "USAGE"
        return f": GRANT {right} ON {kind.upper()} {name} TO …"
    return f": GRANT {verb if verb in _WRITES else 'SELECT'} ON {name} TO …"


def class_of(error: BaseException) -> str:
    """The exception's class; for a driver's error wrapped or caused, that one's too."""
    driver = error if is_driver_error(error) else error.__cause__
    if is_driver_error(driver) and driver.orig is not None:
        inner = _safe(type(driver.orig).__name__)
        return inner if driver is error else f"{_safe(type(error).__name__)}/{inner}"
    return _safe(type(error).__name__)


def locations(trace: TracebackType | None) -> str:
    """Where an exception came from: our frames, innermost first, after a library's innermost."""
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(trace)]
    frames.reverse()
    kept = list(_kept(frames))[:_FRAMES]
    return " < ".join(f"{_module(code)}:{_safe(code.co_name)}:{line}" for code, line in kept)


def _kept(frames: list[tuple[CodeType, int]]) -> Iterator[tuple[CodeType, int]]:
    for index, (code, line) in enumerate(frames):
        if index == 0 or _module(code).split(".", 1)[0] in _OURS:
            yield code, line


def _module(code: CodeType) -> str:
    """A module's name from its file's: the part after the last folder of packages."""
    parts = list(PurePath(code.co_filename).with_suffix("").parts)
    for top in (*_OURS, "site-packages"):
        if top in parts:
            start = len(parts) - 1 - parts[::-1].index(top)
            parts = parts[start + (top == "site-packages") :]
            break
    else:
        parts = parts[-1:]
    return _safe(".".join(parts))


def _safe(name: str) -> str:
    """A name is code, unless somebody made a class or a function of somebody's address."""
    return name if _SAFE_NAME.fullmatch(name) else "unnamed"
