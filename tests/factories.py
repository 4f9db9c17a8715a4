"""Invented people and their rows, for tests, benchmarks and the demonstration.

Nobody here exists; every address is in a domain that is reserved for examples (RFC 2606) or a
network for documentation (RFC 5737). The same seed makes the same rows.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from backend.models import ApiToken, AuditLog, DSARRequest, User, Workflow, WorkflowRun

START = datetime(2026, 1, 5, 8, 30, tzinfo=UTC)
_BATCH = 2000

NAMES = (
    ("Zoë Ångström", "sv-SE", "Ångström & Söner"),
    ("Иван Петрович Сидоров", "ru-RU", "ООО «Пример»"),
    ("山田 花子", "ja-JP", "株式会社サンプル"),
    ("محمد بن سالم", "ar-AE", "شركة المثال"),
    ("Siobhán O’Brien-Nguyễn", "en-IE", None),
    ("Jörg Müller-Lüdenscheidt", "de-DE", "Beispiel GmbH"),
    ("דוד לוי", "he-IL", "דוגמה בע״מ"),
    ("José Ñúñez 🙂", "es-MX", "Ejemplo S.A."),
)


@dataclass(frozen=True)
class Person:
    """How many rows an invented person has."""

    user_id: int
    workflows: int = 2
    runs: int = 10
    tokens: int = 2
    logs: int = 10


def table(model: Any) -> sa.Table:
    found = model.__table__
    assert isinstance(found, sa.Table)
    return found


def user_row(user_id: int) -> dict[str, Any]:
    name, locale, company = NAMES[user_id % len(NAMES)]
    return {
        "id": user_id,
        "email": f"person-{user_id}@example.org",
        "name": name,
        "locale": locale,
        "company": company,
        "phone": f"+44 1632 960{user_id % 1000:03d}",
        "preferences": {"theme": "dark", "digest": ["mon", "thu"], "greeting": name},
        "monthly_spend_eur": Decimal("19.90") + user_id % 7,
        "password_hash": f"$argon2id$never-exported-{user_id}",
        "totp_secret": f"NEVEREXPORTED{user_id}",
        "created_at": START - timedelta(days=400 - user_id % 300),
        "last_login_at": START + timedelta(days=user_id % 200, minutes=17),
        "last_login_ip": f"192.0.2.{user_id % 254 + 1}",
    }


def workflow_rows(person: Person) -> Iterator[dict[str, Any]]:
    for index in range(person.workflows):
        yield {
            "id": person.user_id * 1000 + index,
            "user_id": person.user_id,
            "name": f"Invoices → archive #{index}",
            "description": "Ablage der Rechnungen, täglich. Größe > 0 €" if index % 2 else None,
            "definition": {
                "steps": [{"use": "mail.fetch"}, {"use": "archive.put", "folder": "/in/№"}],
                "connections": {"mail": {"account": "inbox", "secret": f"never-{person.user_id}"}},
            },
            "is_active": index % 3 != 2,
            "created_at": START + timedelta(days=index),
            "deleted_at": START + timedelta(days=90) if index % 3 == 2 else None,
        }


def run_rows(person: Person) -> Iterator[dict[str, Any]]:
    chance = random.Random(person.user_id)
    for index in range(person.runs):
        started = START + timedelta(minutes=index)
        failed = chance.random() < 0.05
        yield {
            "workflow_id": person.user_id * 1000 + index % max(1, person.workflows),
            "user_id": person.user_id,
            "status": "failed" if failed else "succeeded",
            "trigger": chance.choice(("schedule", "webhook", "manual")),
            "payload": {
                "input": {"file": f"rechnung-{index:07d}.pdf", "pages": chance.randint(1, 40)},
                "output": {"stored": not failed, "checksum": f"{chance.getrandbits(256):064x}"},
                "tags": chance.sample(("März", "Büro", "経費", "urgent", "archive"), 3),
                "note": "processed without remarks; kept for thirteen months as agreed",
            },
            "error": "the mailbox did not answer" if failed else None,
            "cost_eur": Decimal(chance.randint(1, 9999)) / 1_000_000,
            "started_at": started,
            "finished_at": started + timedelta(milliseconds=chance.randint(20, 90_000)),
        }


def token_rows(person: Person) -> Iterator[dict[str, Any]]:
    for index in range(person.tokens):
        yield {
            "user_id": person.user_id,
            "name": f"laptop {index}",
            "prefix": f"lvq_{person.user_id % 10_000:04d}",
            "token_hash": f"sha256:never-exported-{person.user_id}-{index}",
            "scopes": ["runs:read", "workflows:write"],
            "created_at": START + timedelta(days=index),
        }


def log_rows(person: Person, others: int) -> Iterator[dict[str, Any]]:
    """Half of what the person did, a tenth of it done to them by somebody else."""
    for index in range(person.logs):
        by_other = index % 10 == 9
        yield {
            "actor_user_id": others if by_other else person.user_id,
            "subject_user_id": person.user_id if by_other or index % 2 else None,
            "action": "support.viewed_account" if by_other else "workflow.edited",
            "ip_address": "198.51.100.77" if by_other else f"192.0.2.{index % 254 + 1}",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
            "details": {"field": "name", "before": "Àlt", "after": "Ñeu"},
            "created_at": START + timedelta(minutes=3 * index),
        }


def insert_all(connection: Connection, model: Any, rows: Iterable[dict[str, Any]]) -> int:
    """Insert rows in batches; return how many."""
    source = iter(rows)
    total = 0
    while batch := list(islice(source, _BATCH)):
        connection.execute(sa.insert(table(model)), batch)
        total += len(batch)
    return total


def multiply(connection: Connection, model: Any, times: int) -> None:
    """Have ``times`` of each row of a table, made by the database: a fiftieth of sending them.

    All but ``id`` is copied, so no other column may be unique.
    """
    source = table(model)
    names = [str(column.name) for column in source.columns if column.name != "id"]
    columns = [source.c[name] for name in names]
    copies = sa.union_all(*(sa.select(sa.literal(n).label("n")) for n in range(1, times)))
    query = sa.select(*columns).select_from(source.join(copies.subquery(), sa.true()))
    connection.execute(sa.insert(source).from_select(names, query))


def insert_people(connection: Connection, people: Iterable[Person], *, staff: int = 1) -> None:
    """Insert people with all of their rows. ``staff`` acts in some of the log lines; must exist."""
    people = list(people)
    insert_all(connection, User, (user_row(person.user_id) for person in people))
    for person in people:
        insert_all(connection, Workflow, workflow_rows(person))
        insert_all(connection, WorkflowRun, run_rows(person))
        insert_all(connection, ApiToken, token_rows(person))
        insert_all(connection, AuditLog, log_rows(person, staff))


def insert_request(
    connection: Connection,
    user_id: Any,
    reference: str | None,
    *,
    status: str = DSARRequest.STATUS_PENDING,
    requested_at: datetime = START,
    **values: Any,
) -> int:
    """Insert one request, with the four given columns unless ``values`` says more; its id."""
    result = connection.execute(
        sa.insert(table(DSARRequest)).values(
            user_id=user_id,
            gdpr_reference_id=reference,
            status=status,
            requested_at=requested_at,
            **values,
        )
    )
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])
