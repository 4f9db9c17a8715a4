"""An exception becomes a code, a class and places: never its message."""

from __future__ import annotations

import errno
import sqlite3
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from backend import errors, package_files
from backend.failures import Kind, advice, class_of, failure_of
from backend.settings import CHECKOUT_ROOT

TOKEN = "t0ken-bob@example.org"


class Driver(Exception):
    def __init__(self, sqlstate: str | None = None, *arguments: Any) -> None:
        super().__init__(*arguments, TOKEN)
        self.sqlstate = sqlstate


def wrapped(original: Exception, kind: type[DBAPIError] = OperationalError) -> DBAPIError:
    return kind(f"SELECT {TOKEN}", {"x": TOKEN}, original)


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (errors.SubjectNotFound(TOKEN), "subject_not_found", Kind.PERMANENT),
        (errors.SectionError(TOKEN), "section_invalid", Kind.PERMANENT),
        (errors.UsageError(TOKEN), "usage", Kind.PERMANENT),
        (errors.DiskFull(TOKEN), "disk_full", Kind.ENVIRONMENT),
        (errors.BusyError(TOKEN), "being_exported", Kind.ENVIRONMENT),
        (errors.VersionDamaged(TOKEN), "version_damaged", Kind.TRANSIENT),
        (errors.DeadlineExceeded(TOKEN), "deadline_exceeded", Kind.TRANSIENT),
        (errors.LeaseLost(TOKEN), "lease_lost", Kind.INTERRUPTED),
        (errors.Drained(TOKEN), "drained", Kind.INTERRUPTED),
        (wrapped(Driver("57014")), "statement_timeout", Kind.TRANSIENT),
        (wrapped(Driver("40P01")), "database_busy", Kind.ENVIRONMENT),
        (wrapped(Driver("57P01")), "database_unreachable", Kind.ENVIRONMENT),
        (wrapped(Driver("42P01"), ProgrammingError), "query_failed", Kind.TRANSIENT),
        (wrapped(Exception(1969, TOKEN)), "statement_timeout", Kind.TRANSIENT),
        (wrapped(Exception(1213, TOKEN)), "database_busy", Kind.ENVIRONMENT),
        (wrapped(Exception(2013, TOKEN)), "database_unreachable", Kind.ENVIRONMENT),
        (wrapped(Exception(1146, TOKEN), ProgrammingError), "query_failed", Kind.TRANSIENT),
        (sa.exc.NoSuchTableError(TOKEN), "query_failed", Kind.TRANSIENT),
        (OSError(errno.ENOSPC, TOKEN), "disk_full", Kind.ENVIRONMENT),
        (OSError(errno.EROFS, TOKEN), "store_not_writable", Kind.ENVIRONMENT),
        (OSError(errno.EIO, TOKEN), "store_unavailable", Kind.ENVIRONMENT),
        (errors.PackageIncomplete(TOKEN), "package_incomplete", Kind.ENVIRONMENT),
        (MemoryError(TOKEN), "out_of_memory", Kind.TRANSIENT),
        (ValueError(TOKEN), "unexpected_error", Kind.TRANSIENT),
        (ExceptionGroup("x", [errors.Drained(TOKEN)]), "drained", Kind.INTERRUPTED),
    ],
)
def test_failure_of_each_error_has_its_code_and_kind(
    error: Exception, code: str, kind: Kind
) -> None:
    failure = failure_of(error)
    assert (failure.code, failure.kind) == (code, kind)
    assert TOKEN not in repr(failure) + failure.summary()


def test_failure_of_sqlite_errors_reads_their_code() -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("SELECT * FROM nowhere")
    connection.close()
    assert failure_of(wrapped(caught.value)).code == "query_failed"
    for number, code in (
        (sqlite3.SQLITE_BUSY, "database_busy"),
        (sqlite3.SQLITE_FULL, "database_unreachable"),
        (sqlite3.SQLITE_INTERRUPT, "statement_timeout"),
    ):
        error = sqlite3.OperationalError(TOKEN)
        error.sqlite_errorcode = number
        assert failure_of(wrapped(error)).code == code


def test_failure_of_names_the_drivers_class_and_our_places() -> None:
    def inner() -> None:
        raise wrapped(Driver("42P01"))

    with pytest.raises(DBAPIError) as caught:
        inner()
    failure = failure_of(caught.value)
    assert failure.error_class == "Driver"
    assert failure.error_at.startswith("test_failures:inner:")
    outer = errors.DatabaseUnreachable(TOKEN)
    outer.__cause__ = caught.value
    assert class_of(outer) == "DatabaseUnreachable/Driver"


@given(st.text(min_size=1))
def test_class_of_a_class_made_at_run_time_is_never_data(name: str) -> None:
    made = type(name.replace("\0", " ").encode("utf-8", "ignore").decode() or "x", (Exception,), {})
    shown = class_of(made())
    assert shown == "unnamed" or (shown.isascii() and " " not in shown and "@" not in shown)


def test_summary_is_short() -> None:
    assert len(failure_of(ValueError("x" * 10_000)).summary()) <= 500


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, TOKEN), OSError(TOKEN)])
def test_failure_of_a_file_that_the_program_lacks_is_no_stores(
    error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failure_of(error).code == "store_unavailable"
    monkeypatch.setattr(package_files, "DATA_FILES", ("gone.html",))

    assert failure_of(error).code == "package_incomplete"
    with pytest.raises(errors.PackageIncomplete, match=r"gone\.html.*; install this release again"):
        package_files.require_whole()


def test_package_files_are_those_of_the_tree() -> None:
    folder = CHECKOUT_ROOT / "backend"
    found = {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".zip", ".age")
    }

    assert {name for name in found if not name.startswith("exports/")} == {
        *package_files.DATA_FILES
    }


@pytest.mark.parametrize(
    ("error", "found", "remedy"),
    [
        (
            wrapped(Exception(1142, "SELECT command denied for table `x`"), ProgrammingError),
            "the database refused it: SELECT command denied for table `x`",
            "grant it",
        ),
        (
            PermissionError(errno.EACCES, "no", "/srv/x"),
            "/srv/x is not this user's",
            "folder above",
        ),
        (PermissionError(errno.EACCES, "no"), "a file or folder is not", "folder above"),
    ],
)
def test_advice_says_what_is_so_and_what_to_do(error: Exception, found: str, remedy: str) -> None:
    told = advice(error)

    assert told is not None
    assert found in told[0] and remedy in told[1]


@pytest.mark.parametrize(
    ("words", "grant"),
    [
        ("permission denied for table workflows", "GRANT INSERT ON workflows TO …"),
        ("permission denied for materialized view logins", "GRANT INSERT ON logins TO …"),
        ("permission denied for schema app", "GRANT USAGE ON SCHEMA app TO …"),
        ("permission denied for sequence s_seq", "GRANT USAGE ON SEQUENCE s_seq TO …"),
        (
            "DELETE command denied to user 'u'@'h' for table `app`.`runs`",
            "GRANT DELETE ON `app`.`runs` TO …",
        ),
        ("keine Berechtigung für Tabelle workflows", None),
    ],
)
def test_advice_on_a_missing_right_has_its_grant(words: str, grant: str | None) -> None:
    told = advice(ProgrammingError(" insert INTO x", {}, Exception(1142, words)))

    assert told is not None
    wanted = "grant it to this role" + (f": {grant}; see" if grant else "; see")
    assert told[1].startswith(wanted)
    reading = advice(ProgrammingError("FETCH ALL FROM x", {}, Exception(1142, words)))
    assert reading is not None and reading[1] == told[1].replace("INSERT", "SELECT")


def test_advice_of_what_nobody_foresaw_is_none() -> None:
    assert advice(ValueError(TOKEN)) is None
    assert advice(wrapped(Driver("42P01"), ProgrammingError)) is None
