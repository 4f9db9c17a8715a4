"""A sections.toml beside a real schema: what does not fit is refused, with the culprit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.errors import SectionError
from backend.services.coverage import check_coverage
from backend.services.dsar_collectors import collection
from backend.services.findings import Problem
from tests.harness import World
from tests.worlds import POSTGRESQL, database

FACTS = """
[facts]
purpose = "p"
categories = "c"
recipients = "r"
retention = "t"
source = "s"
automated_decisions = "none"
transfers = "none"
"""
PEOPLE = """
[[section]]
name = "account"
table = "people"
exported = ["id"]
"""
SUBJECT = 'version = 1\n[subject]\ntable = "people"\nkey = "id"\n'


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[World]:
    """People by a whole number, and notes whose authors are written in another type."""
    environment = {"DSAR_SECTIONS_FILE": str(tmp_path / "sections.toml")}
    world = World(f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path, environment)
    with world.begin() as connection:
        for statement in (
            "CREATE TABLE people (id INTEGER PRIMARY KEY)",
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, author INTEGER, hash BLOB, path TEXT)",
        ):
            connection.exec_driver_sql(statement)
    yield world
    world.close()


def refused(world: World, sections: str) -> str:
    (world.root / "sections.toml").write_text(SUBJECT + FACTS + sections, "utf-8")
    with world.services() as services, pytest.raises(SectionError) as caught:
        collection(services.runtime)
    return str(caught.value)


def notes(owner: str, more: str = "") -> str:
    return (
        f'[[section]]\nname = "notes"\ntable = "notes"\nowner = "{owner}"\n'
        f'exported = ["id", "author"]\nwithheld = {{ hash = "credential", path = "internal" }}\n'
        f"{more}"
    )


def test_owner_of_a_type_that_no_key_of_a_person_has_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with database(POSTGRESQL, request, tmp_path) as url:
        world = World(url, tmp_path, {"DSAR_SECTIONS_FILE": str(tmp_path / "sections.toml")})
        with world.begin() as connection:
            for statement in (
                "CREATE TABLE people (id INTEGER PRIMARY KEY)",
                "CREATE TABLE notes (id INTEGER, author UUID, hash BYTEA, path TEXT)",
            ):
                connection.exec_driver_sql(statement)
        told = refused(world, PEOPLE + notes("author"))
        world.close()
    assert "'notes'" in told and "notes.author" in told and "cannot lead to the person" in told


def test_account_of_another_table_than_the_peoples_is_refused(shop: World) -> None:
    """It stands for the person: by notes somebody without any would not exist."""
    account = notes("author").replace('name = "notes"', 'name = "account"')
    told = refused(shop, PEOPLE.replace('"account"', '"people"') + account)
    assert "'account'" in told and "people" in told


def test_files_of_a_column_that_is_not_exported_are_refused(shop: World) -> None:
    (shop.root / "uploads").mkdir()
    told = refused(shop, PEOPLE + notes("author", 'files = { path = "uploads" }\n'))
    assert "files: path" in told and "exported" in told


def test_coverage_looks_into_every_schema_that_the_file_names(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A table there leads to a person, though no section is of that schema."""
    with database(POSTGRESQL, request, tmp_path) as url:
        world = World(url, tmp_path, {"DSAR_SECTIONS_FILE": str(tmp_path / "sections.toml")})
        with world.begin() as connection:
            for statement in (
                "CREATE TABLE people (id INTEGER PRIMARY KEY)",
                "CREATE SCHEMA crm",
                "CREATE TABLE crm.calls (id INTEGER PRIMARY KEY, who INTEGER REFERENCES people)",
            ):
                connection.exec_driver_sql(statement)
        found = {}
        for schemas in ("", 'schemas = ["crm"]\n'):
            text = SUBJECT.replace("[subject]", f"{schemas}[subject]") + FACTS + PEOPLE
            (tmp_path / "sections.toml").write_text(text, "utf-8")
            with world.services() as services:
                report = check_coverage(services.runtime)
            found[schemas] = [(each.problem, each.table) for each in report.findings]
        world.close()
    assert (Problem.TABLE_UNCOVERED, "crm.calls") not in found[""]
    assert (Problem.TABLE_UNCOVERED, "crm.calls") in found['schemas = ["crm"]\n']
