"""The demonstration: invented people, pending requests, one sweep, and what came of it.

``make demo`` runs it. It works on the embedded SQLite of the checkout and touches nothing but the
people and requests that it made itself, so it may be run again and again; where somebody's own
requests wait, which its sweep would take, it does nothing and says so.
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
from backend.models import ApiToken, AuditLog, DSARRequest, User, Workflow, WorkflowRun
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
EXPORTS = CHECKOUT_ROOT / "backend" / "exports" / "dsar"
console = Console()


def main() -> int:
    # Whatever the environment or a .env says, the demonstration works on the checkout alone.
    for key in [key for key in os.environ if key.startswith("DSAR_")]:
        del os.environ[key]
    database = CHECKOUT_ROOT / "instance" / "dsar.sqlite3"
    os.environ["DSAR_DATABASE_URL"] = f"sqlite:///{database}"
    os.environ["DSAR_EXPORT_ROOT"] = str(EXPORTS)
    os.environ["DSAR_CONTROLLER_NAME"] = "Example Ltd"
    os.environ["DSAR_CONTROLLER_CONTACT"] = "privacy@example.org"
    os.environ["DSAR_COMPLAINT_AUTHORITY"] = "the authority of the place where you live"
    settings = load_settings()
    migrate(settings)
    if others := _others_waiting(settings.database_url):
        print(
            f"{others} request(s) in {database.relative_to(CHECKOUT_ROOT)} are not the "
            "demonstration's, and its sweep would export them by its own sections. Give yours "
            "another database (DSAR_DATABASE_URL, DSAR_EXPORT_ROOT), or end them first; see: "
            ".venv/bin/dsar list",
            file=sys.stderr,
        )
        return 1
    _seed(settings.database_url)
    console.print(f"[bold]{len(PEOPLE)}[/] invented people, [bold]{len(REQUESTS)}[/] requests")
    console.print("[dim]$ python -m scheduler sweep --once[/]")
    done = subprocess.run([sys.executable, "-m", "scheduler", "sweep", "--once"], check=False)
    if done.returncode:
        return done.returncode
    _show_results(settings.database_url)
    page = _unpack(EXPORTS / "levqor-dsar-GDPR-TEST-123.zip")
    console.print("\nWhat the person gets to read, to be opened in a browser:")
    console.print(f"  {page.relative_to(CHECKOUT_ROOT)}", highlight=False, soft_wrap=True)
    console.print(
        "\nExport one again:\n"
        f"  DSAR_CONTROLLER_NAME='{os.environ['DSAR_CONTROLLER_NAME']}' "
        ".venv/bin/python -m backend.cli.dsar_commands export GDPR-TEST-123\n"
        "Look at the requests, and at one of them:\n"
        "  .venv/bin/dsar list --status completed\n"
        "  .venv/bin/dsar show GDPR-DEMO-BIG",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _others_waiting(database_url: str) -> int:
    """How many requests a sweep would take that no demonstration made."""
    requests = table(DSARRequest)
    waiting = requests.c.status.in_((DSARRequest.STATUS_PENDING, DSARRequest.STATUS_PROCESSING))
    reference = requests.c.gdpr_reference_id
    ours = sa.and_(reference.is_not(None), reference.in_(REQUESTS))
    query = sa.select(sa.func.count()).select_from(requests).where(waiting, sa.not_(ours))
    engine = make_control_engine(database_url)
    with engine.connect() as connection:
        count = int(connection.execute(query).scalar_one())
    engine.dispose()
    return count


def _seed(database_url: str) -> None:
    """Make the people and requests anew; delete those of an earlier demonstration first."""
    ids = [person.user_id for person in PEOPLE]
    engine = make_control_engine(database_url)
    requests = table(DSARRequest)
    with engine.begin() as connection:
        connection.execute(sa.delete(requests).where(requests.c.gdpr_reference_id.in_(REQUESTS)))
        for model, column in (
            (AuditLog, "actor_user_id"),
            (AuditLog, "subject_user_id"),
            (ApiToken, "user_id"),
            (WorkflowRun, "user_id"),
            (Workflow, "user_id"),
            (User, "id"),
        ):
            connection.execute(sa.delete(table(model)).where(table(model).c[column].in_(ids)))
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
        ).where(requests.c.gdpr_reference_id.in_(REQUESTS))
        for reference, status, size, path in connection.execute(query.order_by(requests.c.id)):
            name = Path(path).relative_to(CHECKOUT_ROOT) if path else "–"
            shown.add_row(reference, status, f"{size or 0:,}", str(name))
    engine.dispose()
    console.print(shown)


def _unpack(path: Path) -> Path:
    """Show what is in an archive, unpack it, and return the page to begin with."""
    folder = CHECKOUT_ROOT / "instance" / "demo"
    shutil.rmtree(folder, ignore_errors=True)
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
