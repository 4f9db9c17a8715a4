"""dsar prove: what a declaration promises is found in an export, or its lack is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backend.app import make_runtime
from backend.errors import UsageError
from backend.services.collection import Collection
from backend.services.dsar_collectors import ACCOUNT, AUDIT_LOGS, WORKFLOWS, collection
from backend.services.proving import Flaw, Proof, prove
from backend.services.sections import (
    EXPORTED,
    Exported,
    LeftOut,
    Masked,
    OwnerPath,
    Reason,
    TableSection,
    Withheld,
)
from tests.harness import World
from tests.integration.test_draft_to_zip import CASES, drafted, world_with, write
from tests.strangers import settled
from tests.worlds import database


@pytest.fixture
def declared(tmp_path: Path) -> Iterator[Collection]:
    """This application's sections; its database does not even exist."""
    world = World(f"sqlite:///{tmp_path / 'none.sqlite3'}", tmp_path)
    runtime = make_runtime(world.settings())
    yield collection(runtime)
    assert not (tmp_path / "none.sqlite3").exists()


def changed(declared: Collection, section: TableSection, **columns: Any) -> Collection:
    other = replace(section, columns={**section.columns, **columns})
    return with_section(declared, section, other)


def with_section(declared: Collection, old: TableSection, new: TableSection) -> Collection:
    sections = [new if each is old else each for each in declared.sections]
    return replace(declared, sections=sections)


def flaws(proof: Proof) -> set[tuple[Flaw, str, str | None]]:
    return {(each.flaw, each.section, each.column) for each in proof.findings}


def test_prove_the_applications_own_sections_hold(declared: Collection) -> None:
    proof = prove(declared)
    assert proof.findings == []
    assert proof.sections == 5
    assert proof.rows == 6  # the audit log by both of its owner paths
    assert proof.tokens > 60
    assert list(proof.not_proven) == ["workflows.is_active"]


@pytest.mark.parametrize("case", list(CASES))
def test_prove_a_settled_draft_holds(
    case: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    stranger, kinds = CASES[case]
    with database(kinds[0], request, tmp_path) as url:
        world = world_with(stranger, url, tmp_path)
        write(world, settled(drafted(world)))
        with world.services() as services:
            proof = prove(collection(services.runtime))
        world.close()
    assert proof.findings == []
    assert proof.rows >= len(stranger.sections)


def test_prove_in_a_database_of_ones_own_leaves_it_empty(
    database_url: str, declared: Collection
) -> None:
    proof = prove(declared, database_url)
    assert proof.findings == []
    engine = sa.create_engine(database_url)
    assert sa.inspect(engine).get_table_names() == []
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE precious (id INTEGER)")
    with pytest.raises(UsageError, match="precious"):
        prove(declared, database_url)
    assert sa.inspect(engine).get_table_names() == ["precious"]
    engine.dispose()


@pytest.mark.parametrize(("url", "word"), [("nonsense", "not a database URL"), ("own", "in use")])
def test_prove_refuses_a_database_that_is_none_or_in_use(
    declared: Collection, url: str, word: str
) -> None:
    own = declared.runtime.settings.database_url
    with pytest.raises(UsageError, match=word):
        prove(declared, own if url == "own" else url)


def test_prove_finds_another_persons_key_that_is_not_masked(declared: Collection) -> None:
    shown = changed(declared, AUDIT_LOGS, actor_user_id=EXPORTED)
    assert flaws(prove(shown)) == {(Flaw.OTHER_PERSON, "audit_logs", "actor_user_id")}


def test_prove_finds_what_the_exporter_does_not_keep_to(
    declared: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exporter is broken here, in the ways that it must never be."""
    monkeypatch.setattr(Masked, "note", "oops", raising=False)
    real = TableSection.owned_by
    monkeypatch.setattr(
        TableSection,
        "owned_by",
        lambda self, key: sa.true() if self.name == "workflows" else real(self, key),
    )
    everything = TableSection.read_columns
    monkeypatch.setattr(
        TableSection,
        "read_columns",
        lambda self: list(self.table.columns) if self.name == "account" else everything(self),
    )
    found = flaws(prove(declared))
    assert (Flaw.ROWS, "workflows", None) in found
    assert (Flaw.OTHER_PERSON, "workflows", "name") in found
    assert (Flaw.WITHHELD, "account", "password_hash") in found


def test_prove_finds_a_secret_that_a_path_misses(
    declared: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.services.table_rendering.apply_paths", lambda value, paths: value)
    found = flaws(prove(declared))
    assert (Flaw.WITHHELD, "workflows", "definition.connections.*.secret") in found


def test_prove_finds_a_value_that_is_lost(
    declared: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = TableSection.read_columns
    monkeypatch.setattr(
        TableSection, "read_columns", lambda self: [c for c in everything(self) if c.name != "name"]
    )
    assert (Flaw.MISSING, "account", "name") in flaws(prove(declared))


def test_prove_knows_deleted_rows_text_json_and_every_kind_of_key(tmp_path: Path) -> None:
    world = World(f"sqlite:///{tmp_path / 'none.sqlite3'}", tmp_path)
    facts = ACCOUNT.facts
    for kind in (sa.Uuid(), sa.LargeBinary(16), sa.String(20), sa.CHAR(32), sa.BigInteger()):
        meta = sa.MetaData()
        people = sa.Table("people", meta, sa.Column("id", kind, primary_key=True))
        notes = sa.Table(
            "notes",
            meta,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("owner", kind),
            sa.Column("settings", sa.Text),
            sa.Column("gone", sa.Boolean),
            sa.Column("price", sa.Numeric(8, 2)),
            sa.Column("weight", sa.Float),
            sa.Column("day", sa.Date),
            sa.Column("hour", sa.Time),
            sa.Column("code", sa.String(2)),
            sa.Column("zip", sa.String(8)),
            schema="other",
        )
        account = TableSection(
            name="account",
            table=people,
            owner_paths=(OwnerPath("id"),),
            columns={"id": EXPORTED},
            facts=facts,
            single=True,
        )
        section = TableSection(
            name="notes",
            table=notes,
            owner_paths=(OwnerPath("owner"),),
            columns=dict.fromkeys(notes.columns.keys(), EXPORTED)
            | {"settings": Exported({"a.*.b": Withheld(Reason.CREDENTIAL)}, as_json=True)},
            facts=facts,
            leave_out_deleted=LeftOut("gone", "settled"),
        )
        declared = Collection(
            runtime=make_runtime(world.settings()),
            sections=(account, section),
            account=account,
            request=WORKFLOWS,
            key=people.c.id,
        )
        proof = prove(declared)
        assert proof.findings == [], kind
        assert proof.rows == 2
        assert "notes.code" in proof.not_proven


def test_prove_from_the_command_line(tmp_path: Path) -> None:
    world = World(f"sqlite:///{tmp_path / 'none.sqlite3'}", tmp_path)
    done = world.dsar("prove")
    assert done.returncode == 0, done.stderr
    assert done.json["ok"] is True
    assert done.json["findings"] == []
    assert world.dsar("prove", "--scratch-url", world.database_url).returncode == 2
