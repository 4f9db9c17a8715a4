"""Every folder of ``tests/shapes`` through draft, coverage, prove and export, on each database.

A folder is one shape of schema that real applications have; see ``tests/shapes/README.md``.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from backend.errors import SectionError
from backend.migrations.runner import migrate
from backend.services.coverage import check_coverage
from backend.services.drafting import draft, find_key, find_person
from backend.services.dsar_collectors import collection
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.findings import Finding, Problem
from backend.services.proving import prove
from backend.services.schema_graph import read_schema
from backend.services.section_binding import key_type_of
from tests.harness import World, check_schemas, members
from tests.strangers import settled
from tests.worlds import MARIADB, POSTGRESQL, SERVERS, SQLITE, database

SHAPES: Final = Path(__file__).parent.parent / "shapes"
DATABASES: Final = (SQLITE, POSTGRESQL, MARIADB)
_KEYS: Final = {
    *("about", "databases", "schemas", "subject_table", "subject_key", "people", "draft_says"),
    *("finds", "settle", "not_proven", "refused"),
}
_ONLY_ON: Final = re.compile(r"\s*-- on (?P<databases>[a-z, ]+)$")
# What a draft leaves to a person, and nothing else.
_LEFT_OPEN: Final = {Problem.FACT_MISSING, Problem.REASON_MISSING}


@dataclass(frozen=True)
class Shape:
    """One folder. ``README.md`` in ``tests/shapes`` says what each key means."""

    folder: Path
    about: str
    people: Sequence[str]
    databases: Sequence[str] = DATABASES
    schemas: Sequence[str] = ()
    subject_table: str | None = None
    subject_key: str | None = None
    draft_says: Sequence[str] = ()
    finds: Sequence[str] = ()
    settle: Sequence[Mapping[str, str]] = ()
    not_proven: Sequence[str] = ()
    refused: str | None = None
    statements: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Shape:
        told = tomllib.loads((folder / "shape.toml").read_text("utf-8"))
        assert set(told) <= _KEYS, f"{folder.name}: unknown keys {set(told) - _KEYS}"
        known = told.get("databases", DATABASES)
        assert set(known) <= set(DATABASES), f"{folder.name}: {known}"
        sql = (folder / "schema.sql").read_text("utf-8")
        return cls(
            folder, statements={each: list(_statements(sql, each)) for each in known}, **told
        )

    def rows(self, kind: str) -> dict[str, Any]:
        """The exact rows of each person: ``rows.json``, or of one database its own."""
        own = self.folder / f"rows.{kind}.json"
        found: dict[str, Any] = json.loads(
            (own if own.exists() else self.folder / "rows.json").read_text("utf-8")
        )
        assert set(found) == set(self.people), f"{self.folder.name}: rows of {set(found)}"
        return found

    def sections(self, drafted: str) -> str:
        """What is declared: the folder's own file, or the draft with every TODO settled."""
        own = self.folder / "sections.toml"
        if own.exists():
            return own.read_text("utf-8")
        for change in self.settle:
            assert change["was"] in drafted, f"the draft has no {change['was']!r}:\n{drafted}"
            drafted = drafted.replace(change["was"], change["becomes"])
        return settled(drafted)


def _statements(sql: str, kind: str) -> Iterator[str]:
    """The statements of one database: each ends with a semicolon at a line's end."""
    held: list[str] = []
    for line in sql.splitlines():
        if not held and (not line.strip() or line.startswith("--")):
            continue
        only = _ONLY_ON.search(line)
        held.append(line if only is None else line[: only.start()])
        if held[-1].endswith(";"):
            if only is None or kind in re.split(r"[, ]+", only["databases"]):
                yield "\n".join(held).removesuffix(";")
            held = []
    assert not held, f"no semicolon ends {held}"


_FOLDERS: Final = sorted(path.parent for path in SHAPES.glob("*/shape.toml"))


def _cases() -> Iterator[Any]:
    for folder in _FOLDERS:
        shape = Shape.read(folder)
        for kind in shape.databases:
            if kind in (SQLITE, *SERVERS):
                yield pytest.param(shape, kind, id=f"{folder.name}-{kind}")


def test_shapes_every_folder_says_what_it_is() -> None:
    assert len(_FOLDERS) >= 30
    strays = {each for each in SHAPES.iterdir() if each.is_dir()} - set(_FOLDERS)
    assert not {each.name for each in strays if each.name != "__pycache__"}
    for folder in _FOLDERS:
        assert Shape.read(folder).about.strip(), folder.name


@pytest.mark.parametrize(("shape", "kind"), list(_cases()))
def test_shape_from_draft_to_zip_gives_each_person_exactly_their_rows(
    shape: Shape, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(database(kind, request, tmp_path))
        scratch = None
        if kind != SQLITE:
            scratch = stack.enter_context(database(kind, request, tmp_path))
        _make(url, shape.statements[kind])
        world = World(url, tmp_path, {"DSAR_SECTIONS_FILE": str(tmp_path / "sections.toml")})
        stack.callback(world.close)
        drafted = _draft(world, shape)
        for each in shape.draft_says:
            assert each in drafted, f"the draft does not say {each!r}:\n{drafted}"

        _declare(world, settled(drafted))
        _finds(world, shape)
        _declare(world, shape.sections(drafted))
        if shape.refused is not None:
            _is_refused(world, shape.refused)
            return
        assert [_shown(each) for each in _findings(world)] == []
        _prove(world, shape, scratch)
        _export(world, shape, kind)


def _make(url: str, statements: Sequence[str]) -> None:
    engine = sa.create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        if engine.dialect.name == "mariadb":
            connection.exec_driver_sql("SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')")
        for statement in statements:
            # SQLite's driver has no parameters that a percent sign begins.
            text = statement if engine.dialect.name == SQLITE else statement.replace("%", "%%")
            connection.exec_driver_sql(text)
    engine.dispose()


def _draft(world: World, shape: Shape) -> str:
    with world.services() as services:
        schema = read_schema(services.runtime.source, {None, *shape.schemas})
        person = find_person(schema, shape.subject_table)
        return draft(schema, person, find_key(person, shape.subject_key), shape.schemas)


def _declare(world: World, text: str) -> None:
    (world.root / "sections.toml").write_text(text, "utf-8")


def _findings(world: World) -> Sequence[Finding]:
    with world.services() as services:
        return check_coverage(services.runtime).findings


def _shown(finding: Finding) -> str:
    """A finding in one line: ``problem section table.column, column``."""
    place = ".".join(filter(None, (finding.table, ", ".join(finding.columns))))
    return f"{finding.problem} {place or finding.section}"


def _finds(world: World, shape: Shape) -> None:
    """What coverage finds in the draft when its TODOs are settled by nobody who looked."""
    found = {_shown(each) for each in _findings(world) if each.problem not in _LEFT_OPEN}
    assert found == set(shape.finds)


def _is_refused(world: World, words: str) -> None:
    """No export begins, and coverage says why."""
    with world.services() as services, pytest.raises(SectionError, match=re.escape(words)):
        collection(services.runtime)
    assert any(words in each.message for each in _findings(world))


def _prove(world: World, shape: Shape, scratch: str | None) -> None:
    with world.services() as services:
        proof = prove(collection(services.runtime), scratch)
    assert not proof.findings, proof.findings
    assert set(proof.not_proven) <= set(shape.not_proven), proof.reasons


def _export(world: World, shape: Shape, kind: str) -> None:
    settings = world.settings()
    migrate(settings, key_type=key_type_of(settings))
    wanted = shape.rows(kind)
    for number, person in enumerate(shape.people):
        reference = f"R-{number}"
        world.request(person, reference)
        with world.services():
            result = persist_dsar_export(reference)
        assert result["ok"], result
        check_schemas(world.public(reference))
        found = dict(members(world.public(reference)))
        sections = {name.removesuffix(".json"): value for name, value in found.items()}
        del sections["meta"], sections["dsar_request"]
        assert sections == wanted[person]
