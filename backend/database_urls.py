"""URLs of databases as people write them: the driver named, paths absolute, passwords escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

# Names that people write, and the driver this program is made for and has an extra of. It reads
# below SQLAlchemy, so another one that an application's URL names (psycopg2, mysqldb) cannot serve.
_DRIVERS: Final = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
_SUPPORTED: Final = frozenset({"sqlite", "postgresql", "mysql", "mariadb"})


def normalise_database_url(text: str) -> str:
    """Name the driver, make a SQLite path absolute, refuse what cannot work.

    Raises ``ValueError`` with a reason that does not repeat the URL.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # the latter: a port that is no number
        raise ValueError(
            "is not a database URL; write for example postgresql://user@host/name"
        ) from None
    url = url.set(drivername=_DRIVERS.get(url.get_backend_name(), url.drivername))
    backend_name = url.get_backend_name()
    if backend_name not in _SUPPORTED:
        raise ValueError(f"names the database {backend_name!r}; use postgresql, mariadb or sqlite")
    if backend_name == "sqlite":
        url = _absolute_sqlite(url)
    else:
        _require_escaped(url, text)
    return url.render_as_string(hide_password=False)


def _require_escaped(url: URL, text: str) -> None:
    """Raise ``ValueError`` if part of a password could be read as a host or as a database's name.

    A password ends at the first ``@``, and one that is written as it is may hold another.
    """
    if url.username is not None:
        is_misread = text.count("@") > 1
    else:
        # A user's name with a slash ends there, and what follows is read as a database's name.
        is_misread = "@" in text.partition("?")[0] or ":" in (url.database or "")
    if is_misread:
        raise ValueError(
            "holds an '@' too many; in a user's name or a password write %40 for '@', %2F for '/', "
            "%3A for ':', %3F for '?' and %23 for '#'"
        )


def _absolute_sqlite(url: URL) -> URL:
    name = url.database or ""
    if name in ("", ":memory:") or "mode=memory" in str(url) or name.startswith("file::memory:"):
        raise ValueError(
            "names an in-memory SQLite, which two connections cannot share; name a file, "
            "for example sqlite:////var/lib/dsar/dsar.sqlite3"
        )
    if name.startswith("file:"):
        return url
    return url.set(database=str(Path(name).absolute()))
