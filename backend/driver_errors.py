"""What a database driver's error means, whichever database it is of."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError

# SQLSTATE (PostgreSQL) and error number (MariaDB) of: lock not to be had, deadlock,
# serialization failure.
_BUSY_SQLSTATES: Final = frozenset({"55P03", "40P01", "40001"})
_BUSY_ERRNOS: Final = frozenset({1205, 1213})
# Refused or cut connections that SQLAlchemy does not itself count as disconnects: PostgreSQL's
# classes 08 and 57P (shutdown, crash, cannot connect now), too many connections, idle timeouts;
# MariaDB: too many connections, shutdown, gone away, lost, refused, killed, read timeout.
_GONE_SQLSTATES: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "53300", "25P03", "25P04"})
_GONE_ERRNOS: Final = frozenset({1040, 1053, 1927, 2002, 2003, 2006, 2013, 4031})


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


def is_timeout(error: DBAPIError) -> bool:
    """Whether the server ended the statement because its time was over."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_INTERRUPT
    return sqlstate(error) == "57014" or errno(error) in (1969, 3024)


def is_gone(error: DBAPIError) -> bool:
    """Whether the connection is lost or could not be made."""
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
