"""The demonstration: invented people, pending requests, one sweep, and what came of it.

``make demo`` runs it. It has a folder of its own, with an embedded SQLite, so it touches no other
requests and may be run again and again: each time it begins by emptying that folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from backend.engines import make_control_engine
from backend.migrations.runner import migrate
from backend.models import DSARRequest
from backend.settings import CHECKOUT_ROOT, load_settings
from tests.factories import START, Person, insert_people, insert_request, table

STAFF = 900_001
PEOPLE = (
    Person(STAFF, workflows=0, runs=0, tokens=0, logs=0),
    Person(900_002, runs=12, logs=24),
    Person(900_003, runs=40, logs=30),
    Person(900_004, runs=25_000, logs=4_000, workflows=12),
    Person(900_005, workflows=0, runs=0, tokens=0, logs=0),
    Person(900_006, runs=300, logs=120),
)
REQUESTS = {
    "GDPR-TEST-123": 900_002,
    "GDPR-DEMO-TOKYO": 900_003,
    "GDPR-DEMO-BIG": 900_004,
    "GDPR-DEMO-EMPTY": 900_005,
    "GDPR-DEMO-BERLIN": 900_006,
}
FOLDER = CHECKOUT_ROOT / "instance" / "demo"
EXPORTS = FOLDER / "exports"
SETTINGS = {
    "DSAR_DATABASE_URL": f"sqlite:///{FOLDER / 'dsar.sqlite3'}",
    "DSAR_EXPORT_ROOT": str(EXPORTS),
    "DSAR_CONTROLLER_NAME": "Example Ltd",
    "DSAR_CONTROLLER_CONTACT": "privacy@example.org",
    "DSAR_COMPLAINT_AUTHORITY": "the authority of the place where you live",
}
console = Console()


def main() -> int:
    # Whatever the environment or another .env says, the demonstration works on its folder alone.
    for key in [key for key in os.environ if key.startswith("DSAR_")]:
        del os.environ[key]
    _empty_folder()
    os.chdir(FOLDER)
    settings = load_settings()
    migrate(settings)
    _seed(settings.database_url)
    console.print(f"[bold]{len(PEOPLE)}[/] invented people, [bold]{len(REQUESTS)}[/] requests")
    console.print("[dim]$ python -m scheduler sweep --once[/]")
    done = subprocess.run([sys.executable, "-m", "scheduler", "sweep", "--once"], check=False)
    if done.returncode:
        return done.returncode
    _show_results(settings.database_url)
    page = _unpack(EXPORTS / "levqor-dsar-GDPR-TEST-123.zip", FOLDER / "unpacked")
    console.print("\nWhat the person gets to read, to be opened in a browser:")
    console.print(f"  {page.relative_to(CHECKOUT_ROOT)}", highlight=False, soft_wrap=True)
    console.print(
        f"\nIn the demonstration's folder, whose .env has its settings, try:\n"
        f"  cd {FOLDER.relative_to(CHECKOUT_ROOT)}\n"
        "  ../../.venv/bin/dsar list --status completed\n"
        "  ../../.venv/bin/dsar show GDPR-DEMO-BIG\n"
        "  ../../.venv/bin/dsar export GDPR-TEST-123",
        highlight=False,
    )
    return 0


def _empty_folder() -> None:
    """The folder as it begins: without an earlier demonstration, with the settings of this one."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for each in FOLDER.iterdir():  # not the folder itself: somebody's shell may be in it
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    lines = [f"{name}={value}\n" for name, value in SETTINGS.items()]
    (FOLDER / ".env").write_text("".join(lines), encoding="utf-8")


def _seed(database_url: str) -> None:
    engine = make_control_engine(database_url)
    with engine.begin() as connection:
        insert_people(connection, PEOPLE, staff=STAFF)
        for reference, user_id in REQUESTS.items():
            insert_request(connection, user_id, reference, requested_at=START)
    engine.dispose()


def _show_results(database_url: str) -> None:
    requests = table(DSARRequest)
    shown = Table(title="requests", title_justify="left", title_style="bold")
    for heading in ("reference", "status", "bytes", "file"):
        shown.add_column(heading, overflow="fold")
    engine = make_control_engine(database_url)
    with engine.connect() as connection:
        query = sa.select(
            requests.c.gdpr_reference_id,
            requests.c.status,
            requests.c.export_bytes_size,
            requests.c.export_storage_path,
        )
        for reference, status, size, path in connection.execute(query.order_by(requests.c.id)):
            name = Path(path).relative_to(CHECKOUT_ROOT) if path else "–"
            shown.add_row(reference, status, f"{size or 0:,}", str(name))
    engine.dispose()
    console.print(shown)


def _unpack(path: Path, folder: Path) -> Path:
    """Show what is in an archive, unpack it, and return the page to begin with."""
    shown = Table(title=f"inside {path.name}", title_justify="left", title_style="bold")
    for heading in ("member", "bytes", "rows"):
        shown.add_column(heading)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            rows = ""
            if member.filename.endswith(".json") and "/schemas/" not in member.filename:
                value = json.loads(archive.read(member))
                rows = f"{len(value) if isinstance(value, list) else 1:,}"
            shown.add_row(member.filename, f"{member.file_size:,}", rows)
        archive.extractall(folder)
    console.print(shown)
    (page,) = folder.glob("*/index.html")
    return page


if __name__ == "__main__":
    sys.exit(main())
