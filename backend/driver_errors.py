"""What a database driver's error means, whichever database it is of."""

from __future__ import annotations

import re
import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError

# SQLSTATE (PostgreSQL) and error number (MariaDB) of: lock not to be had, deadlock,
# serialization failure.
_BUSY_SQLSTATES: Final = frozenset({"55P03", "40P01", "40001"})
_BUSY_ERRNOS: Final = frozenset({1205, 1213})
# Refused or cut connections that SQLAlchemy does not itself count as disconnects: PostgreSQL's
# classes 08 and 57P (shutdown, crash, cannot connect now), too many connections, idle timeouts;
# MariaDB: too many connections, shutdown, gone away, lost, refused, killed, read timeout, a node
# that has left its cluster.
_GONE_SQLSTATES: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "53300", "25P03", "25P04"})
_GONE_ERRNOS: Final = frozenset({1040, 1047, 1053, 1203, 1927, 2002, 2003, 2006, 2013, 4031})
# A server that takes reads only: a primary that was demoted, a standby, maintenance.
# MariaDB: a read-only transaction by default, a read-only InnoDB. 1290 names the option.
_READ_ONLY_SQLSTATE: Final = "25006"
_READ_ONLY_ERRNOS: Final = frozenset({1792, 1836})
_OPTION_PREVENTS: Final = 1290
# libpq, asked for a server that takes writes (target_session_attrs), has a text alone.
_NO_PRIMARY: Final = ("session is read-only", "server is in hot standby mode")
# The server's own disk. MariaDB: disk full, error while a file is written.
_NO_ROOM_SQLSTATE: Final = "53100"
_NO_ROOM_ERRNOS: Final = frozenset({1021, 1026})

# A packet larger than max_allowed_packet, found by the server or by the driver.
_TOO_LARGE_ERRNOS: Final = frozenset({1153, 1301, 2020})
_TOO_LARGE_SQLSTATES: Final = frozenset({"XX000", "53200"})


def is_busy(error: DBAPIError) -> bool:
    """Whether the statement lost a fight for a lock and may simply be tried again."""
    original = error.orig
    if isinstance(original, sqlite3.OperationalError):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF in (
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_LOCKED,
        )
    return sqlstate(error) in _BUSY_SQLSTATES or errno(error) in _BUSY_ERRNOS


def is_replica_conflict(error: DBAPIError) -> bool:
    """Whether a hot standby (PostgreSQL's) ended it, to go on replaying what its primary sent."""
    source = getattr(getattr(error.orig, "diag", None), "source_file", None)
    # In any language: no other serialization failure comes from that file.
    ended = (sqlstate(error), source) == ("40001", "postgres.c")
    return ended or "conflict with recovery" in str(error.orig)


def is_refused(error: DBAPIError) -> bool:
    """Whether the role has no right to do this."""
    return sqlstate(error) == "42501" or errno(error) in (1142, 1143)


def is_hidden_by_policy(error: DBAPIError) -> bool:
    """Whether a row-level security policy would have left rows out (``row_security`` is off)."""
    source = getattr(getattr(error.orig, "diag", None), "source_file", None)
    # In any language: nothing else is refused by that file.
    return (sqlstate(error), source) == ("42501", "rls.c")


def is_too_large(error: DBAPIError) -> bool:
    """Whether a value, or its row, is past what the database can hand over."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_TOOBIG
    # PostgreSQL has no code of its own for it, in any language; nothing else is asked of these for
    # more than 1 GB.
    source = getattr(getattr(original, "diag", None), "source_file", None)
    by_source = source in ("mcxt.c", "stringinfo.c") and sqlstate(error) in _TOO_LARGE_SQLSTATES
    return by_source or sqlstate(error) == "54000" or errno(error) in _TOO_LARGE_ERRNOS


def is_timeout(error: DBAPIError) -> bool:
    """Whether the server ended the statement because its time was over."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_INTERRUPT
    return sqlstate(error) == "57014" or errno(error) in (1969, 3024)


def is_read_only(error: DBAPIError) -> bool:
    """Whether the server (or the SQLite file) takes no writes at the moment."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY
    number = errno(error)
    if number == _OPTION_PREVENTS:
        return "read-only" in (words := str(original).lower()) or "read_only" in words
    if number:
        return number in _READ_ONLY_ERRNOS
    state = sqlstate(error)
    # A server that runs out of transaction numbers refuses every write; no other error of this
    # class comes from that file.
    source = getattr(getattr(original, "diag", None), "source_file", None)
    if state == _READ_ONLY_SQLSTATE or (state, source) == ("54000", "varsup.c"):
        return True
    # libpq, asked for a server that takes writes (target_session_attrs), has a text alone.
    return not state and any(
        words in str(original)
        for words in ("session is read-only", "server is in hot standby mode")
    )


def is_out_of_room(error: DBAPIError) -> bool:
    """Whether the server's own disk is full."""
    return sqlstate(error) == _NO_ROOM_SQLSTATE or errno(error) in _NO_ROOM_ERRNOS


def is_gone(error: DBAPIError) -> bool:
    """Whether the database cannot serve: no connection, no writes, or no room on its disk."""
    if is_read_only(error) or is_out_of_room(error):
        return True
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF in (
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_NOTADB,
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_FULL,
            sqlite3.SQLITE_READONLY,
        )
    if error.connection_invalidated:
        return True
    state = sqlstate(error)
    if state:
        return state in _GONE_SQLSTATES or state[:2] in ("08", "28", "3D")
    if errno(error):
        return errno(error) in _GONE_ERRNOS or errno(error) in (1044, 1045, 1049, 1698)
    # psycopg reports a failed connect as an OperationalError without a SQLSTATE.
    return type(original).__name__ in ("OperationalError", "ConnectionTimeout")


def sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def errno(error: DBAPIError) -> int:
    args = getattr(error.orig, "args", ())
    return args[0] if args and isinstance(args[0], int) else 0


def words_of_refusal(error: DBAPIError) -> str:
    """The database's own words for ``is_refused``, which name a table or a right, never a value."""
    diagnosis = getattr(error.orig, "diag", None)
    words = getattr(diagnosis, "message_primary", None) or getattr(error.orig, "args", ("",))[-1]
    return str(words)


def why_gone(error: DBAPIError) -> str:
    """Why a database cannot serve, and what to do, of an error that ``is_gone``."""
    text = str(error.orig).lower()
    if is_read_only(error):
        return _why_read_only(error)
    if is_out_of_room(error):
        return "the disk of the database server is full; make room there"
    if errno(error) == 1044 or "permission denied for database" in text:
        return "this user has no right to use that database; grant it, or check the name"
    if "pg_hba.conf" in text:
        return "no line of the server's pg_hba.conf lets this user in from here; add one"
    if re.search('role "[^"]*" does not exist', text):
        return "the server has no such role; create it, or check the user's name in the setting"
    if "not permitted to log in" in text:
        return "this role may not log in; ALTER ROLE … LOGIN, or name another in the setting"
    if sqlstate(error)[:2] == "28" or errno(error) in (1045, 1698) or "password" in text:
        return "the database refused the user or the password; check the setting"
    if sqlstate(error) == "3D000" or errno(error) == 1049 or "does not exist" in text:
        return "there is no such database; create it, or check the name"
    if isinstance(error.orig, sqlite3.Error):
        return _why_sqlite_gone(error.orig)
    return "the database cannot be reached; check that it runs and that host and port are right"


def _why_read_only(error: DBAPIError) -> str:
    if isinstance(error.orig, sqlite3.Error):
        return (
            "the file is read-only and cannot be written; check its owner and mode, those of its "
            "folder, and that the file system is not mounted read-only"
        )
    return (
        "the server is read-only (a failover, a standby, or maintenance); wait until it takes "
        "writes again, or name the server that does"
    )


def _why_sqlite_gone(error: sqlite3.Error) -> str:
    reasons = {
        sqlite3.SQLITE_FULL: "the disk is full; make room",
        sqlite3.SQLITE_NOTADB: "the file is not a SQLite database; check the path",
        sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it from a backup",
    }
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return reasons.get(code, "the file cannot be opened; check the path and its permissions")
