"""Every personal column holds a token of its own; none may turn up where it does not belong.

In the ZIP each exported token is there exactly as often as it should be, no withheld one, none of
another person's. In stdout, stderr, logs, last_error, attempts, sweeps, metrics and file names
there is none at all, whatever fails and however talkative the logs are.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from backend.models import ApiToken, AuditLog, User, Workflow, WorkflowRun
from backend.services.dsar_collectors import SECTIONS
from backend.services.sections import Exported, Masked, TableSection, Withheld
from tests.acceptance.test_faults import BEFORE_THE_RECORD, Broken
from tests.factories import insert_all, table
from tests.harness import Done, World, members, unpacked

REFERENCE = "CANARY-REF-4f1c"
METRICS = "dsar.prom"
# Numbers that stand out, where a column takes no text.
ADA, BOB = 880_001_001, 880_002_002
MODELS = {
    "account": User,
    "workflows": Workflow,
    "workflow_runs": WorkflowRun,
    "api_tokens": ApiToken,
    "audit_logs": AuditLog,
}


def token(person: int, section: str, column: str) -> str:
    who = {ADA: "ada", BOB: "bob"}[person]
    return f"canary-{who}-{section}-{column}"[:40]


def row_of(person: int, name: str) -> dict[str, Any]:
    """One row of a section's table with a token in every column that takes text or JSON."""
    values: dict[str, Any] = {}
    for column in table(MODELS[name]).columns:
        kind = column.type
        if isinstance(kind, sa.JSON):
            secret = token(person, name, "hidden")
            values[column.name] = {
                "shown": token(person, name, column.name),
                "connections": {"one": {"secret": secret, "access_token": secret}},
            }
        elif isinstance(kind, sa.String) and column.name not in ("status", "prefix"):
            values[column.name] = token(person, name, column.name)[: kind.length]
    fixed: dict[str, dict[str, Any]] = {
        "account": {"id": person},
        "workflows": {"id": person + 10, "user_id": person},
        "workflow_runs": {"workflow_id": person + 10, "user_id": person, "status": "ok"},
        "api_tokens": {"user_id": person},
        "audit_logs": {"actor_user_id": person, "subject_user_id": None},
    }
    return values | fixed[name]


@pytest.fixture
def canaries(world: World) -> World:
    _count_what_happens(world)
    with world.begin() as connection:
        for person in (ADA, BOB):
            for name, model in MODELS.items():
                insert_all(connection, model, [row_of(person, name)])
    world.request(ADA, REFERENCE)
    return world


def _count_what_happens(world: World) -> None:
    world.environment["DSAR_METRICS_TEXTFILE"] = str(world.root / METRICS)


def expected() -> tuple[set[str], set[str]]:
    """Ada's tokens that must be in her export, and those that must not."""
    shown: set[str] = set()
    hidden: set[str] = set()
    for section in SECTIONS:
        if not isinstance(section, TableSection) or section.name not in MODELS:
            continue
        for column, value in row_of(ADA, section.name).items():
            disposition = section.columns[column]
            text = value.get("shown") if isinstance(value, dict) else value
            if not isinstance(text, str) or not text.startswith("canary"):
                continue
            if isinstance(disposition, (Exported, Masked)):
                shown.add(text)  # masked, but unless it is her own
            else:
                assert isinstance(disposition, Withheld)
                hidden.add(text)
    hidden.add(token(ADA, "workflows", "hidden"))
    return shown, hidden


def test_archive_holds_each_exported_token_once_and_no_other(canaries: World) -> None:
    assert canaries.sweep().returncode == 0
    text = json.dumps(members(canaries.public(REFERENCE)), ensure_ascii=False)
    shown, hidden = expected()
    assert len(shown) == 19
    assert len(hidden) == 4
    for each in shown:
        assert text.count(f'"{each}"') == 1, each
    for each in hidden:
        assert each not in text, each
    assert "canary-bob" not in text
    assert str(BOB) not in text
    page = unpacked(canaries.public(REFERENCE))["index.html"].decode()
    assert {each for each in shown if each not in page} == set()
    for other in (*hidden, "canary-bob", str(BOB)):
        assert other not in page, other


def everything_outside(world: World, done: Done) -> str:
    """All that a sweep leaves outside its archives: output, rows, file names, metrics."""
    columns = ("last_error", "claimed_by", "export_sha256", "claimed_from", "export_state")
    rows = [[row[column] for column in columns] for row in world.rows()]
    with world.engine.connect() as connection:
        sweeps = connection.execute(sa.text("SELECT * FROM dsar_sweeps")).all()
    names = [path.name for path in (world.exports / ".versions").glob("*")]
    metrics = (world.root / METRICS).read_text()
    assert "dsar_sweeps_total" in metrics
    attempts = world.attempts()
    return "\n".join(
        [done.stdout, done.stderr, metrics, *map(repr, (rows, attempts, sweeps, names))]
    )


def none_leaks(text: str) -> None:
    for secret in ("canary", REFERENCE, str(ADA), str(BOB)):
        assert secret.lower() not in text.lower(), secret


@pytest.mark.parametrize("point", ["none", *BEFORE_THE_RECORD, "claim-before-commit", "recorded"])
def test_sweep_with_an_exception_at_each_step_leaks_no_token(canaries: World, point: str) -> None:
    """The exception's own message quotes a token."""
    if point == "none":
        done = canaries.sweep(log_level="DEBUG")
    else:
        broken = Broken(canaries, point, "always-raise", log_level="DEBUG", max_attempts=1)
        done = broken.end()
    # Broken's text is the message of what it raises.
    text = everything_outside(canaries, done)
    assert "s3cr3t" not in text
    assert "Traceback" not in text
    none_leaks(text)


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("workers", [1, 2])
def test_sweep_with_the_databases_own_error_in_each_collector_leaks_no_token(
    canaries: World, name: str, workers: int
) -> None:
    with canaries.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {MODELS[name].__tablename__} RENAME TO gone")
    done = canaries.sweep("--workers", str(workers), log_level="DEBUG", max_attempts=1)
    assert done.returncode == 1
    assert done.json["failed"] == 1
    none_leaks(everything_outside(canaries, done))


def test_sweep_of_unreadable_values_is_faithful_and_leaks_no_token(sqlite_world: World) -> None:
    """Conversion errors quote the value they choke on. A server refuses such values when written;
    SQLite holds them, and so does the export.
    """
    world = sqlite_world
    _count_what_happens(world)
    with world.begin() as connection:
        for name, model in MODELS.items():
            insert_all(connection, model, [row_of(ADA, name)])
        connection.exec_driver_sql("UPDATE users SET created_at = 'canary-no-date'")
        connection.exec_driver_sql("UPDATE users SET monthly_spend_eur = 'canary-no-number'")
        connection.exec_driver_sql("UPDATE workflows SET definition = 'canary {no json'")
    world.request(ADA, REFERENCE)
    done = world.sweep(log_level="DEBUG")
    none_leaks(everything_outside(world, done))
    assert done.returncode == 0, done.stderr
    files = members(world.public(REFERENCE))
    assert files["account.json"]["created_at"] == "canary-no-date"
    assert files["account.json"]["monthly_spend_eur"] == "canary-no-number"
    assert files["workflows.json"][0]["definition"] == "canary {no json"
