"""Tables and columns whose names hold any character, from a draft by coverage to the ZIP."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from backend.migrations.runner import migrate
from backend.services.coverage import check_coverage
from backend.services.drafting import draft, find_key, find_person
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.schema_graph import read_schema
from backend.services.section_binding import key_type_of
from tests.harness import World, members
from tests.strangers import settled

ODD = [
    "a`b",
    'a"b',
    "100%",
    "%s",
    "%(a)s",
    "a:b",
    ":a",
    "a b",
    "größe",
    "表",
    "a'b",
    "a\\b",
    "a.b",
    "a[b]",
    "a{b}",
    "a;b",
    "a--b",
    "a$1",
    "a?",
    "select",
    "Capital",
    "PARTITION BY",
    "a)b(c",
    "a``b",
]


PEOPLE = "p`e\"o%s :p'l e. (ü)"


def test_any_name_of_table_and_column_leads_from_draft_to_zip(
    database_url: str, tmp_path: Path
) -> None:
    world = World(database_url, tmp_path, {"DSAR_SECTIONS_FILE": str(tmp_path / "sections.toml")})
    metadata = sa.MetaData()
    people = sa.Table(PEOPLE, metadata, sa.Column(f"id {PEOPLE}", sa.Integer, primary_key=True))
    notes = [
        sa.Table(
            f"notes {odd}",
            metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column(f"person {odd}", sa.ForeignKey(people.c[0])),
            sa.Column(odd, sa.JSON),
            sa.Column(f"real {odd}", sa.Float),
        )
        for odd in ODD
    ]
    metadata.create_all(world.engine)
    with world.begin() as connection:
        connection.execute(sa.insert(people), [{people.c[0].name: key} for key in (1, 2)])
        for number, table in enumerate(notes):
            rows = [(1, 1, {"mine": number}, 0.1), (2, 2, {"theirs": 2}, 1.5)]
            named = [dict(zip(table.c.keys(), row, strict=True)) for row in rows]
            connection.execute(sa.insert(table), named)

    with world.services() as services:
        schema = read_schema(services.runtime.source)
        person = find_person(schema, PEOPLE)
        text = settled(draft(schema, person, find_key(person, None)))
    (tmp_path / "sections.toml").write_text(text, "utf-8")
    settings = world.settings()
    migrate(settings, key_type=key_type_of(settings))
    world.request(1, "R-1")
    with world.services() as services:
        assert check_coverage(services.runtime).findings == ()
        result = persist_dsar_export("R-1")
        assert result["ok"], result
    found = [rows for rows in members(world.public("R-1")).values() if isinstance(rows, list)]
    shown = sorted((list(row.values()) for rows in found for row in rows), key=str)
    assert shown == sorted(([1, 1, {"mine": n}, 0.1] for n in range(len(ODD))), key=str)
    world.close()
