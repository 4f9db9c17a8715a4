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
from backend.services.row_conditions import LeftOut
from backend.services.sections import (
    EXPORTED,
    Exported,
    FunctionSection,
    Masked,
    OwnerPath,
    Reason,
    TableSection,
    Withheld,
)
from backend.services.wording import Wording
from tests.harness import World
from tests.integration.test_draft_to_zip import CASES, drafted, world_with, write
from tests.strangers import Stranger, settled
from tests.worlds import POSTGRESQL, database


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
    assert proof.not_proven == []


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
    monkeypatch.setattr(
        "backend.services.table_rendering.hiding", lambda paths: lambda value: value
    )
    found = flaws(prove(declared))
    assert (Flaw.WITHHELD, "workflows", "definition.connections.*.secret") in found


def test_prove_finds_a_secret_that_a_path_misses_in_a_string_of_json(
    declared: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.services.json_paths._parsed", lambda text: None)
    monkeypatch.setattr("backend.services.json_paths.names", lambda text, key: False)
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
        assert proof.not_proven == []


OWN_TYPES = {
    "host": "inet",
    "net": "cidr",
    "card": "macaddr",
    "span": "interval",
    "whole": "int4range",
    "big": "int8range",
    "exact": "numrange",
    "days": "daterange",
    "local": "tsrange",
    "period": "tstzrange",
    "words": "tsvector",
    "tags": "text[]",
    "numbers": "integer[]",
    "guids": "uuid[]",
    "moods": "mood[]",
    "mood": "mood",
    "year": "year",
    "picture": "bytea",
    "place": "point",
}


def test_prove_of_postgresqls_own_types_in_a_scratch_copy_of_its_kind(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    columns = ", ".join(f"{name} {kind}" for name, kind in OWN_TYPES.items())
    own = Stranger(
        [
            "CREATE TYPE mood AS ENUM ('glad', 'sad')",
            "CREATE DOMAIN year AS integer CHECK (VALUE > 1900)",
            f"CREATE TABLE users (id bigint PRIMARY KEY, {columns})",
        ],
        "1", {}, [], [],
    )  # fmt: skip
    with (
        database(POSTGRESQL, request, tmp_path) as url,
        database(POSTGRESQL, request, tmp_path) as scratch,
    ):
        world = world_with(own, url, tmp_path)
        write(world, settled(drafted(world)))
        with world.services() as services:
            declared = collection(services.runtime)
            elsewhere, here = prove(declared), prove(declared, scratch)
            withheld = replace(
                declared.account,
                columns={**declared.account.columns, "host": Withheld("r"), "tags": Masked("r")},
            )
            hidden = prove(with_section(declared, declared.account, withheld), scratch)
        done = world.dsar("prove", "--strict")
        world.close()
    assert (elsewhere.findings, here.findings, hidden.findings) == ([], [], [])
    assert list(here.not_proven) == ["account.place"]
    stand_ins = set(OWN_TYPES) - {"mood", "year", "picture"}
    assert set(elsewhere.not_proven) == {f"account.{name}" for name in stand_ins}
    assert elsewhere.reasons["account.host"].startswith("INET is text in the scratch copy")
    assert (done.returncode, done.json["ok"]) == (1, False)
    assert "not proven: account.host" in done.stderr


@pytest.mark.parametrize("kind", [sa.Boolean(), sa.Time(), sa.LargeBinary(), sa.String(1)])
def test_prove_finds_what_is_shown_of_a_column_that_holds_few_values(
    declared: Collection, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    table = sa.Table("users", sa.MetaData(), sa.Column("id", sa.Integer), sa.Column("it", kind))
    account = replace(
        declared.account,
        table=table,
        columns={"id": EXPORTED, "it": Withheld(Reason.CREDENTIAL)},
        language=None,
        created=None,
        wording=Wording(),
        facts=ACCOUNT.facts,
    )
    alone = replace(declared, sections=[account], account=account, key=table.c.id)
    assert prove(alone).findings == []
    monkeypatch.setattr(TableSection, "read_columns", lambda self: list(self.table.columns))
    assert (Flaw.WITHHELD, "account", "it") in flaws(prove(alone))
    shown = replace(account, columns={"id": EXPORTED, "it": EXPORTED})
    monkeypatch.setattr(TableSection, "read_columns", lambda self: [self.table.c.id])
    lost = replace(alone, sections=[shown], account=shown)
    assert (Flaw.MISSING, "account", "it") in flaws(prove(lost))


def test_prove_says_what_a_function_or_a_file_keeps_from_being_proven(
    declared: Collection, tmp_path: Path
) -> None:
    with_files = replace(declared.account, files={"name": str(tmp_path)})
    chats = FunctionSection(name="chats", rows=lambda subject: [], facts=ACCOUNT.facts)
    proof = prove(replace(declared, sections=[with_files, chats], account=with_files))
    assert proof.findings == []
    assert list(proof.not_proven) == ["account.name", "section chats"]


def test_prove_from_the_command_line(tmp_path: Path) -> None:
    world = World(f"sqlite:///{tmp_path / 'none.sqlite3'}", tmp_path)
    done = world.dsar("prove")
    assert done.returncode == 0, done.stderr
    assert done.json["ok"] is True
    assert done.json["findings"] == []
    assert world.dsar("prove", "--scratch-url", world.database_url).returncode == 2
