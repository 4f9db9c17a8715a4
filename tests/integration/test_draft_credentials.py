"""Credentials: withheld by a draft, and found again by coverage where sections export them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.migrations.runner import migrate
from backend.services import dsar_collectors
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.findings import Finding, Problem
from backend.services.section_binding import key_type_of
from backend.services.sections import EXPORTED
from tests.harness import World, members
from tests.integration.test_draft_to_zip import covered, covered_by, drafted, world_with
from tests.strangers import Stranger, settled
from tests.worlds import SERVERS, SQLITE, database

# Types by database: what a UUID, octets and a truth are called.
TYPES = {
    "sqlite": ("CHAR(36)", "BLOB", "BOOLEAN"),
    "postgresql": ("UUID", "BYTEA", "BOOLEAN"),
    "mariadb": ("UUID", "VARBINARY(64)", "BOOLEAN"),
}
LOGINS = ["session_id", "dsn", "access_tok", "slack_hook"]
UUID = "223e4567-e89b-12d3-a456-426655440000"


def keeper(dialect: str) -> Stranger:
    """A database that keeps credentials of many types and names."""
    json_type = "LONGTEXT, CHECK (json_valid(settings))" if dialect == "mariadb" else "JSON"
    uuid, octets, truth = TYPES[dialect]
    return Stranger(
        [
            "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(90), user_pass VARCHAR(90), "
            f"pass_crypt {octets}, signing_secret {uuid}, door_pin INTEGER, mfa_enabled {truth}, "
            "passport_no VARCHAR(20), password_changed_at TIMESTAMP NULL)",
            f"CREATE TABLE api_keys (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, token {uuid}"
            f", secret {uuid}, FOREIGN KEY (user_id) REFERENCES users (id))",
            "CREATE TABLE logins (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, session_id "
            "VARCHAR(90), dsn VARCHAR(90), access_tok VARCHAR(90), slack_hook VARCHAR(90), "
            f"settings {json_type}, FOREIGN KEY (user_id) REFERENCES users (id))",
            "CREATE TABLE usermeta (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, meta_key "
            "VARCHAR(90), meta_value VARCHAR(90), FOREIGN KEY (user_id) REFERENCES users (id))",
            "INSERT INTO users (id, email, user_pass, door_pin, passport_no, signing_secret) "
            f"VALUES (1, 'mine@example.org', 'never-shown', 880077, 'P-4711', '{UUID}')",
            f"INSERT INTO api_keys VALUES (1, 1, '{UUID}', '{UUID}')",
            "INSERT INTO logins VALUES (1, 1, 'never-shown', 'pg://root:never-shown@db', "
            "'never-shown', 'never-shown', '{}')",
            "INSERT INTO usermeta VALUES (1, 1, 'session_tokens', 'never-shown')",
        ],
        "1", {}, [], [],
    )  # fmt: skip


@pytest.fixture(params=[SQLITE, *SERVERS])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with database(request.param, request, tmp_path) as url:
        world = world_with(keeper(url.split("+")[0].split(":")[0]), url, tmp_path)
        yield world
        world.close()


def sections_of(text: str) -> dict[str, Any]:
    return {each["name"]: each for each in tomllib.loads(text)["section"]}


def test_draft_withholds_credentials_of_any_type_and_asks_about_what_may_be_one(
    world: World,
) -> None:
    text = drafted(world)
    found = sections_of(text)
    account = found["account"]
    assert account["exported"] == [
        "id", "email", "mfa_enabled", "passport_no", "password_changed_at",
    ]  # fmt: skip
    assert account["withheld"] == dict.fromkeys(
        ["user_pass", "pass_crypt", "signing_secret", "door_pin"], "credential"
    )
    assert found["api_keys"]["withheld"] == {"token": "credential", "secret": "credential"}
    for name, columns in (("logins", LOGINS), ("usermeta", ["meta_value"])):
        assert list(found[name]["withheld"]) == columns
        assert all(each.startswith("TODO: ") for each in found[name]["withheld"].values())
    # JSON may hold credentials under any name.
    (within,) = [each for each in tomllib.loads(text)["exempt"] if each["table"] == "logins"]
    assert within["columns"] == ["settings"]
    assert within["reason"].startswith("TODO: ")
    assert {"settings"} in [set(each.columns) for each in covered_by(world, text).findings]

    assert covered_by(world, settled(text)).findings == ()
    settings = world.settings()
    migrate(settings, key_type=key_type_of(settings))
    world.request("1", "R-1")
    with world.services():
        assert persist_dsar_export("R-1")["ok"]
    content = json.dumps(members(world.public("R-1")))
    assert "P-4711" in content
    for each in ("never-shown", "880077", UUID):
        assert each not in content, each


def exporting_all(text: str) -> str:
    """The same sections, with every withheld column exported."""
    lines: list[str] = []
    for line in settled(text).splitlines():
        if line.startswith("withheld."):
            name = line.partition(" ")[0].removeprefix("withheld.")
            at = max(n for n, each in enumerate(lines) if each.startswith("exported"))
            lines[at] = lines[at].replace("[", f'["{name}", ', 1)
        else:
            lines.append(line)
    return "\n".join(lines)


def secrets(findings: tuple[Finding, ...]) -> dict[str | None, set[str]]:
    assert {each.problem for each in findings} <= {Problem.LOOKS_SECRET}
    return {each.section: set(each.columns) for each in findings}


def test_coverage_finds_exported_columns_that_look_like_credentials(world: World) -> None:
    text = exporting_all(drafted(world))
    findings = tuple(covered_by(world, text).findings)
    assert secrets(findings) == {
        "account": {"user_pass", "pass_crypt", "signing_secret", "door_pin"},
        "api_keys": {"token", "secret"},
        "logins": set(LOGINS),
        "usermeta": {"meta_value"},
    }
    assert "exempt the column with the reason why it opens nothing" in findings[0].message


def test_coverage_is_silenced_by_a_reason_for_the_column_and_for_no_other(world: World) -> None:
    text = exporting_all(drafted(world)).replace(
        "[[exempt]]",
        '[[exempt]]\ntable = "users"\ncolumns = ["user_pass", "pass_crypt", "door_pin"]\n'
        'reason = "of an old system"\n\n'
        # That a table needs no section is not a word on its columns.
        '[[exempt]]\ntable = "api_keys"\nreason = "left alone"\n\n'
        '[[exempt]]\ntable = "usermeta"\ncolumns = ["meta_value"]\nreason = "no secrets"\n\n'
        '[[exempt]]\ntable = "logins"\ncolumns = '
        f'{json.dumps(LOGINS)}\nreason = "numbers"\n\n'
        "[[exempt]]",
        1,
    )
    found = secrets(tuple(covered_by(world, text).findings))
    assert found == {"account": {"signing_secret"}, "api_keys": {"token", "secret"}}


def test_coverage_advises_of_json_that_is_exported_whole_and_fails_nothing_for_it(
    world: World,
) -> None:
    text = settled(drafted(world))
    assert covered_by(world, text).advice == ()
    before, exempt, after = text.partition('[[exempt]]\ntable = "logins"')
    without = before + after[after.find("[[exempt]]") :] if "[[exempt]]" in after else before
    report = covered_by(world, without)
    assert exempt and report.findings == ()
    (advice,) = report.advice
    assert advice.startswith("section 'logins': settings: JSON that is exported whole"), advice


def test_coverage_finds_a_credential_that_a_models_section_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = dsar_collectors.API_TOKENS
    open_handed = replace(tokens, columns=dict(tokens.columns) | {"token_hash": EXPORTED})
    changed = [open_handed if each is tokens else each for each in dsar_collectors.SECTIONS]
    monkeypatch.setattr(dsar_collectors, "SECTIONS", changed)
    world = World(f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path)
    migrate(world.settings())
    assert secrets(tuple(covered(world).findings)) == {"api_tokens": {"token_hash"}}
    world.close()
