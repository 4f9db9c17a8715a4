"""What a draft guesses from names: never silently, and the nearest first."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.errors import UsageError
from backend.services.collection import count_rows
from backend.services.drafting import find_person
from backend.services.dsar_collectors import collection
from backend.services.findings import Problem
from backend.services.schema_graph import read_schema
from tests.harness import World
from tests.integration.test_draft_to_zip import covered_by, drafted, world_with
from tests.strangers import Stranger, settled
from tests.worlds import SERVERS, SQLITE, database


@pytest.fixture(params=[SQLITE, *SERVERS])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, request, tmp_path) as found:
        yield found


def made(url: str, folder: Path, *statements: str) -> World:
    return world_with(Stranger(statements, "1", {}, [], []), url, folder)


def sections_of(text: str) -> dict[str, Any]:
    return {each["name"]: each for each in tomllib.loads(text)["section"]}


def todos(text: str) -> list[Any]:
    """The reasons of owners, each a TODO."""
    owners = [each["owner"] for each in tomllib.loads(text)["section"] if "owner" in each]
    flat = [one for each in owners for one in (each if isinstance(each, list) else [each])]
    return [each["reason"] for each in flat if isinstance(each, dict) and "reason" in each]


def counts_of(world: World, person: str) -> dict[str, int]:
    with world.services() as services:
        declared = collection(services.runtime)
        found = count_rows(declared, declared.subject(person, None))
        return {name: rows for name, rows in found.items() if name != "dsar_request"}


def test_draft_of_a_guessed_owner_is_settled_by_a_person_alone(url: str, tmp_path: Path) -> None:
    world = made(
        url, tmp_path,
        "CREATE TABLE users (id INTEGER PRIMARY KEY)",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER)",
        "CREATE TABLE paid (id INTEGER PRIMARY KEY, user_id INTEGER, "
        "FOREIGN KEY (user_id) REFERENCES users (id))",
    )  # fmt: skip
    text = drafted(world)
    assert sections_of(text)["paid"]["owner"] == "user_id"
    owner = sections_of(text)["orders"]["owner"]
    assert owner["column"] == "user_id" and owner["reason"].startswith("TODO: guessed from names")
    rest = settled(text).replace('reason = "settled: guessed', 'reason = "TODO: guessed')
    (finding,) = covered_by(world, rest).findings
    assert (finding.problem, finding.section) == (Problem.REASON_MISSING, "orders")
    assert list(finding.columns) == ["owner user_id"]
    assert covered_by(world, settled(text)).findings == ()
    assert covered_by(world, rest.replace('reason = "TODO: guessed', 'reason = "')).findings == ()
    world.close()


def test_draft_of_a_column_called_as_a_persons_key_is_nearer_than_a_longer_way(
    url: str, tmp_path: Path
) -> None:
    world = made(
        url, tmp_path,
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(90))",
        "CREATE TABLE posts (id INTEGER PRIMARY KEY, uploader_id INTEGER, approver_id INTEGER, "
        "FOREIGN KEY (uploader_id) REFERENCES users (id), "
        "FOREIGN KEY (approver_id) REFERENCES users (id))",
        "CREATE TABLE post_versions (id INTEGER PRIMARY KEY, post_id INTEGER, updater_id INTEGER)",
        "CREATE TABLE drafts (id INTEGER PRIMARY KEY, creator_id INTEGER, approved_by INTEGER)",
        "CREATE TABLE things (id INTEGER PRIMARY KEY, owner_id INTEGER, owner_type VARCHAR(20))",
        "INSERT INTO users VALUES (1, 'a@example.org'), (2, 'b@example.org')",
        "INSERT INTO posts VALUES (1, 1, NULL), (2, 2, NULL)",
        "INSERT INTO post_versions VALUES (1, 1, 2), (2, 2, 1), (3, 2, 2)",
        "INSERT INTO drafts VALUES (1, 1, 2), (2, 2, 1)",
    )  # fmt: skip
    text = drafted(world)
    found = sections_of(text)
    assert found["post_versions"]["owner"]["column"] == "updater_id"
    assert "path" not in found["post_versions"]["owner"]
    # Who approved it is somebody else; what a type beside it names is no person.
    assert found["drafts"]["owner"]["column"] == "creator_id"
    assert found["drafts"]["masked"]["approved_by"]["reason"].startswith("TODO: ")
    assert "things" not in found
    assert covered_by(world, settled(text)).findings == ()
    assert counts_of(world, "1") == {"account": 1, "posts": 1, "post_versions": 1, "drafts": 1}
    world.close()


@pytest.mark.parametrize(
    ("people", "orders", "notes", "key"),
    [
        ("app_users", "app_orders", "app_order_notes", "user_id"),
        ("wp_2_users", "wp_2_orders", "wp_2_notes", "user_id"),
        ("AppUsers", "AppOrder", "AppNotes", "UserId"),
        ("auth_user", "shop_order", "crm_notes", "id_user"),
        ("tblkunden", "tblauftrag", "tblauftragsnotiz", "kunde_id"),
    ],
)
def test_draft_and_coverage_leave_a_prefix_of_tables_aside(
    people: str, orders: str, notes: str, key: str, url: str, tmp_path: Path
) -> None:
    order_id = "auftrag_id" if "auftrag" in orders else "order_id"
    world = made(
        url, tmp_path,
        f'CREATE TABLE "{people}" (id INTEGER PRIMARY KEY, email VARCHAR(90))',
        f'CREATE TABLE "{orders}" (id INTEGER PRIMARY KEY, {key} INTEGER)',
        f'CREATE TABLE "{notes}" (id INTEGER PRIMARY KEY, {order_id} INTEGER, body VARCHAR(90))',
        f"INSERT INTO \"{people}\" VALUES (1, 'a@example.org'), (2, 'b@example.org')",
        f'INSERT INTO "{orders}" VALUES (1, 1), (2, 2), (3, 2)',
        f"INSERT INTO \"{notes}\" VALUES (1, 1, 'mine'), (2, 2, 'theirs')",
    )  # fmt: skip
    text = drafted(world, people)
    assert drafted(world) == text  # found by its name, too
    assert {each["table"] for each in sections_of(text).values()} == {people, orders, notes}
    assert len(todos(text)) == 2
    assert covered_by(world, settled(text)).findings == ()
    assert list(counts_of(world, "1").values()) == [1, 1, 1]
    # Coverage finds the child of a guessed table as well.
    bare = "\n\n".join(each for each in settled(text).split("\n\n") if f'"{notes}"' not in each)
    (finding,) = covered_by(world, bare).findings
    assert (finding.problem, finding.table) == (Problem.TABLE_UNCOVERED, notes)
    assert f"{orders} → {people}" in finding.message
    world.close()


def test_draft_proposes_a_join_by_the_peoples_address_as_a_todo(url: str, tmp_path: Path) -> None:
    world = made(
        url, tmp_path,
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(90), username VARCHAR(90))",
        "CREATE TABLE tickets (id INTEGER PRIMARY KEY, requester_email VARCHAR(90))",
        "CREATE TABLE replies (id INTEGER PRIMARY KEY, ticket_id INTEGER)",
        "CREATE TABLE visits (id INTEGER PRIMARY KEY, user_name VARCHAR(90))",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER, customer_email VARCHAR(90),"
        " FOREIGN KEY (user_id) REFERENCES users (id))",
        "CREATE TABLE companies (id INTEGER PRIMARY KEY, email VARCHAR(90))",
        "INSERT INTO users VALUES (1, 'a@example.org', 'ann'), (2, 'b@example.org', 'bob')",
        "INSERT INTO tickets VALUES (1, 'a@example.org'), (2, 'b@example.org'), (3, 'c@ex.org')",
        "INSERT INTO visits VALUES (1, 'ann'), (2, 'bob')",
    )  # fmt: skip
    text = drafted(world)
    found = sections_of(text)
    for name, join in (
        ("tickets", "requester_email = users.email"),
        ("visits", "user_name = users.username"),
    ):
        owner = found[name]["owner"]
        assert (owner["path"], owner["column"]) == ([join], "id")
        assert owner["reason"].startswith("TODO: guessed from names. Is an address")
    # The column that the rows are found by is the person's own.
    assert "requester_email" in found["tickets"]["exported"]
    exempt = {(e["table"], *e.get("columns", ())) for e in tomllib.loads(text)["exempt"]}
    # An order that names its user may be a guest's by its address; a company is no person.
    assert exempt == {("orders", "customer_email"), ("replies",), ("companies",)}
    assert '#   owner = { path = ["email = users.email"], column = "id" }' in text
    assert covered_by(world, settled(text)).findings == ()
    counts = counts_of(world, "1")
    assert counts == {"account": 1, "orders": 0, "tickets": 1, "visits": 1}
    world.close()


def test_draft_and_coverage_ask_who_is_named_by_a_role(url: str, tmp_path: Path) -> None:
    inet = "INET" if url.startswith("postgresql") else "VARBINARY(16)"
    world = made(
        url, tmp_path,
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(90), manager_name VARCHAR(90), "
        f"ip_created_by {inet}, supervisor VARCHAR(90), next_of_kin VARCHAR(90), "
        "user_agent VARCHAR(90))",
        "CREATE TABLE letters (id INTEGER PRIMARY KEY, author_id INTEGER NOT NULL, "
        "author_name VARCHAR(90), created_by VARCHAR(90), approver_email VARCHAR(90), "
        "sort_by VARCHAR(90), approved_at TIMESTAMP NULL, by_admin VARCHAR(90), "
        f"operatorip {inet}, assigned_to VARCHAR(90), "
        "FOREIGN KEY (author_id) REFERENCES users (id))",
        "CREATE TABLE chats (id INTEGER PRIMARY KEY, sender_id INTEGER, recipient_id INTEGER, "
        "sender_name VARCHAR(90), recipient_name VARCHAR(90), "
        "FOREIGN KEY (sender_id) REFERENCES users (id), "
        "FOREIGN KEY (recipient_id) REFERENCES users (id))",
    )  # fmt: skip
    text = drafted(world)
    found = sections_of(text)
    todo = "TODO: who is named here? Say why it is masked, or export it if it is the person"
    others = ["manager_name", "ip_created_by", "supervisor", "next_of_kin"]
    assert found["account"]["masked"] == dict.fromkeys(others, todo)
    assert "user_agent" in found["account"]["exported"]
    others = ["created_by", "approver_email", "by_admin", "operatorip", "assigned_to"]
    assert found["letters"]["masked"] == dict.fromkeys(others, todo)
    assert {"author_name", "sort_by"} <= set(found["letters"]["exported"])
    assert found["chats"]["masked"]["sender_name"] == {"reason": todo, "unless_own": "sender_id"}
    assert found["chats"]["masked"]["recipient_name"]["unless_own"] == "recipient_id"
    assert covered_by(world, settled(text)).findings == ()
    bare = settled(text)
    for name in others:
        bare = re.sub(rf"masked\.{name} = .*\n", "", bare)
    named = ", ".join(f'"{name}"' for name in others)
    bare = bare.replace('"author_name",', f'"author_name", {named},')
    (finding,) = covered_by(world, bare).findings
    assert (finding.problem, list(finding.columns)) == (Problem.LOOKS_PERSONAL, others)
    exempt = f'\n[[exempt]]\ntable = "letters"\ncolumns = [{named}]\nreason = "a program"\n'
    assert covered_by(world, bare + exempt).findings == ()
    world.close()


def test_draft_of_a_team_with_an_address_is_no_person_and_no_silent_owner(
    url: str, tmp_path: Path
) -> None:
    world = made(
        url, tmp_path,
        "CREATE TABLE companies (id INTEGER PRIMARY KEY, email VARCHAR(90), phone VARCHAR(90))",
        "CREATE TABLE users (id INTEGER PRIMARY KEY, company_id INTEGER, "
        "FOREIGN KEY (company_id) REFERENCES companies (id))",
        "CREATE TABLE workspaces (id INTEGER PRIMARY KEY, owner_id INTEGER, email VARCHAR(90), "
        "FOREIGN KEY (owner_id) REFERENCES users (id))",
        "CREATE TABLE pages (id INTEGER PRIMARY KEY, workspace_id INTEGER, "
        "FOREIGN KEY (workspace_id) REFERENCES workspaces (id))",
        "CREATE TABLE staff (id INTEGER PRIMARY KEY, first_name VARCHAR(90))",
        "CREATE TABLE bills (id INTEGER PRIMARY KEY, user_id INTEGER, company_id INTEGER, "
        "staff_id INTEGER, FOREIGN KEY (user_id) REFERENCES users (id), "
        "FOREIGN KEY (company_id) REFERENCES companies (id), "
        "FOREIGN KEY (staff_id) REFERENCES staff (id))",
    )  # fmt: skip
    text = drafted(world)
    found = sections_of(text)
    assert "companies" not in found  # shared: to be decided
    assert found["account"]["masked"]["company_id"].startswith("TODO: is this another person?")
    assert found["bills"]["masked"] == {
        "company_id": found["account"]["masked"]["company_id"],
        "staff_id": "another person",
    }
    assert found["workspaces"]["owner"] == "owner_id"
    reason = found["pages"]["owner"]["reason"]
    assert reason.startswith("TODO: workspaces may be shared by several people")
    assert covered_by(world, settled(text)).findings == ()
    world.close()


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        (["users (id INTEGER PRIMARY KEY)", "accounts (id INTEGER PRIMARY KEY, email TEXT)"],
         "users"),
        (["members (id INTEGER PRIMARY KEY, email TEXT)"], "members"),
        (["accounts (id INTEGER PRIMARY KEY, username TEXT, pwd TEXT)"], "accounts"),
        (["users (id INTEGER PRIMARY KEY)",
          "customers (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id))"], "users"),
        (["oc_customer (id INTEGER PRIMARY KEY)", "oc_order (id INTEGER PRIMARY KEY)"],
         "oc_customer"),
    ],
)  # fmt: skip
def test_find_person_takes_the_only_table_that_people_are_in(
    tables: list[str], expected: str, tmp_path: Path
) -> None:
    world = made(
        f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path, *(f"CREATE TABLE {t}" for t in tables)
    )
    with world.services() as services:
        assert find_person(read_schema(services.runtime.source), None).name == (None, expected)
    world.close()


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        (["users (id INTEGER PRIMARY KEY)", "customers (id INTEGER PRIMARY KEY)"],
         "the people in: users, customers?"),
        (["accounts (id INTEGER PRIMARY KEY, email TEXT)"], "there are: accounts"),
        (["clients (id INTEGER PRIMARY KEY, ip INTEGER)"], "there are: clients"),
        (["a_users (id INTEGER PRIMARY KEY)", "b_users (id INTEGER PRIMARY KEY)",
          "a_x (id INTEGER)", "b_x (id INTEGER)"], "the people in: a_users, b_users?"),
    ],
)  # fmt: skip
def test_find_person_refuses_to_choose_where_it_is_not_certain(
    tables: list[str], told: str, tmp_path: Path
) -> None:
    world = made(
        f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path, *(f"CREATE TABLE {t}" for t in tables)
    )
    with world.services() as services, pytest.raises(UsageError, match="--subject-table") as error:
        find_person(read_schema(services.runtime.source), None)
    assert told in str(error.value)
    world.close()
