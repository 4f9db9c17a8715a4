"""PostgreSQL's large objects: a section that declares the column exports their content."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
import sqlalchemy as sa
from jsonschema import Draft202012Validator

from backend.driver_errors import is_refused
from backend.errors import SectionError
from backend.services.json_schemas import schema_of
from backend.services.sections import Masked, Withheld
from tests.harness import World
from tests.integration.test_values import PERSON, a_section, rendered, runtime_of

OBJECTS = frozenset({"scan", "other"})


def made(world: World) -> sa.Table:
    """A table of two people's large objects: by oid, by a domain over it, one of them gone."""
    with world.begin() as connection:
        connection.exec_driver_sql(
            "CREATE DOMAIN lo AS oid;"
            "CREATE TABLE letters (id int PRIMARY KEY, owner int, scan oid, other lo);"
            f"INSERT INTO letters VALUES (1, {PERSON}, lo_from_bytea(0, 'mine'),"
            " lo_from_bytea(0, '\\x00ff')),"
            f" (2, {PERSON}, lo_from_bytea(0, ''), NULL), (3, {PERSON}, 999999999, 0),"
            " (4, 8, lo_from_bytea(0, 'theirs'), NULL)"
        )
    return sa.Table("letters", sa.MetaData(), autoload_with=world.engine)


def test_declared_large_objects_are_exported_with_their_content(postgresql_world: World) -> None:
    section = replace(a_section(made(postgresql_world)), large_objects=OBJECTS)
    with runtime_of(postgresql_world) as runtime:
        rows = json.loads(b"[" + rendered(runtime, section) + b"]")
    Draft202012Validator(schema_of(section, "test")).validate(rows)

    def octets(text: str | None) -> bytes | None:
        return None if text is None else base64.b64decode(text)

    assert [(octets(row["scan"]), octets(row["other"])) for row in rows] == [
        (b"mine", b"\x00\xff"),
        (b"", None),
        (None, None),
    ]


def test_large_objects_must_be_exported_columns_of_type_oid(postgresql_world: World) -> None:
    table = made(postgresql_world)
    section = a_section(table)
    with pytest.raises(SectionError, match="owner must be of PostgreSQL's type oid"):
        replace(section, large_objects=frozenset({"owner"}))
    for hidden in (Withheld("r"), Masked("r")):
        with pytest.raises(SectionError, match="large_objects: scan must be exported"):
            replace(section, columns={**section.columns, "scan": hidden}, large_objects=OBJECTS)
    with pytest.raises(SectionError, match="no column letter"):
        replace(section, large_objects=frozenset({"letter"}))


def test_large_object_that_the_role_may_not_read_is_refused_by_name(
    postgresql_world: World,
) -> None:
    section = replace(a_section(made(postgresql_world)), large_objects=OBJECTS)
    role = f"reader_{postgresql_world.engine.url.database}"
    with postgresql_world.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role}; GRANT SELECT ON letters TO {role}")
    try:
        with runtime_of(postgresql_world) as runtime:

            @sa.event.listens_for(runtime.source, "connect")
            def become(connection: object, _: object) -> None:
                connection.execute(f"SET ROLE {role}").close()  # type: ignore[attr-defined]

            with pytest.raises(sa.exc.DBAPIError) as raised:
                rendered(runtime, section)
        assert is_refused(raised.value)
    finally:
        with postgresql_world.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")
