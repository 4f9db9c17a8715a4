"""PostgreSQL's row-level security never shortens an export, and never hides a request."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from backend.services.coverage import check_coverage
from backend.services.findings import Problem
from tests.harness import World, members
from tests.worlds import POSTGRESQL, database

SECTIONS = """version = 1
[subject]
table = "person"
key = "id"
[facts]
purpose = "p"
categories = "c"
recipients = "r"
retention = "r"
source = "s"
automated_decisions = "none"
transfers = "none"
[[section]]
name = "account"
table = "person"
exported = ["id", "tenant"]
[[section]]
name = "letters"
table = "{letters}"
owner = {{ path = ["box_id = box.id"], column = "person_id" }}
exported = ["id", "box_id", "body"]
"""
MADE = [
    "CREATE TABLE person (id integer PRIMARY KEY, tenant integer)",
    "CREATE TABLE box (id integer PRIMARY KEY, person_id integer REFERENCES person)",
    "CREATE TABLE letter (id integer, box_id integer REFERENCES box, body text)"
    " PARTITION BY RANGE (id)",
    "CREATE TABLE letter_1 PARTITION OF letter FOR VALUES FROM (0) TO (1000)",
    "INSERT INTO person VALUES (7, 1), (8, 2)",
    "INSERT INTO box VALUES (70, 7), (80, 8)",
    "INSERT INTO letter SELECT n, 70, 'letter ' || n FROM generate_series(1, 5) n",
]
POLICY = "CREATE POLICY of_tenant ON {0} USING (current_setting('app.tenant', true) = 'x')"
ENABLED = "ALTER TABLE {0} ENABLE ROW LEVEL SECURITY"


@dataclass
class Tenants:
    """A database whose tables a role reads that is neither their owner nor a superuser."""

    admin: World
    reader: str

    def url(self) -> str:
        url = make_url(self.admin.database_url).set(username=self.reader)
        return url.render_as_string(hide_password=False)

    def do(self, *statements: str) -> None:
        with self.admin.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement.format("letter", role=self.reader))


@pytest.fixture
def tenants(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tenants]:
    reader = f"dsar_reader_{uuid.uuid4().hex[:8]}"
    with database(POSTGRESQL, request, tmp_path) as url:
        world = World(url, tmp_path, {"DSAR_SECTIONS_FILE": str(tmp_path / "sections.toml")})
        made = Tenants(world, reader)
        write(made, "letter")
        made.do(
            f"CREATE ROLE {reader} LOGIN",
            *MADE,
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}",
        )
        world.environment["DSAR_SOURCE_DATABASE_URL"] = made.url()
        world.migrate()
        try:
            yield made
        finally:
            made.do(f"DROP OWNED BY {reader}", f"DROP ROLE {reader}")
            world.close()


def write(tenants: Tenants, letters: str) -> None:
    text = SECTIONS.format(letters=letters)
    (tenants.admin.root / "sections.toml").write_text(text, "utf-8")


def hidden(tenants: Tenants) -> list[str | None]:
    with tenants.admin.services() as services:
        findings = check_coverage(services.runtime).findings
    return [each.table for each in findings if each.problem is Problem.ROWS_HIDDEN]


def refused(tenants: Tenants) -> str:
    """The error of an export that is not made, with what it says on the terminal."""
    world = tenants.admin
    reference = f"R-{uuid.uuid4().hex[:6]}"
    world.request(7, reference)
    done = world.dsar("export", reference)
    assert done.returncode != 0, done.stdout
    row = world.row(reference)
    assert row["status"] == "pending" and not world.public(reference).exists()
    return f"{row['last_error']} {done.json['error']} {done.stderr}"


@pytest.mark.parametrize("table", ["letter", "box", "person"])
def test_export_where_a_policy_hides_rows_is_refused_with_the_remedy_and_found(
    tenants: Tenants, table: str
) -> None:
    assert hidden(tenants) == []
    tenants.do(ENABLED.format(table), POLICY.format(table))
    said = refused(tenants)
    assert "rows_hidden_by_policy" in said and "BYPASSRLS" in said and f'"{table}"' in said
    assert hidden(tenants) == [table]
    doctor = tenants.admin.dsar("doctor", "--json")
    assert f'policy for table \\"{table}\\"' in doctor.stdout
    assert f"ALTER ROLE {tenants.reader} BYPASSRLS" in doctor.stdout
    # Not even one that shows every row can be told from one that does not.
    tenants.do(f"CREATE POLICY everything ON {table} FOR SELECT TO {{role}} USING (true)")
    assert hidden(tenants) == [table]
    tenants.do("ALTER ROLE {role} BYPASSRLS")
    assert hidden(tenants) == []
    tenants.admin.request(7, "R-7")
    assert tenants.admin.dsar("export", "R-7").returncode == 0
    assert len(members(tenants.admin.public("R-7"))["letters.json"]) == 5


def test_export_of_a_view_is_refused_where_its_owner_sees_a_part_alone(tenants: Tenants) -> None:
    tenants.do(
        "CREATE VIEW letters_of_all AS SELECT * FROM letter",
        "CREATE VIEW letters_as_asked WITH (security_invoker) AS SELECT * FROM letter",
        "GRANT SELECT ON letters_of_all, letters_as_asked TO {role}",
        ENABLED,
        POLICY,
    )
    write(tenants, "letters_as_asked")
    assert "rows_hidden_by_policy" in refused(tenants)
    assert hidden(tenants) == ["letters_as_asked"]
    write(tenants, "letters_of_all")  # whose owner is a superuser
    assert hidden(tenants) == []
    tenants.do("ALTER VIEW letters_of_all OWNER TO {role}")
    assert hidden(tenants) == ["letters_of_all"]
    assert "rows_hidden_by_policy" in refused(tenants)


def test_export_by_the_owner_is_refused_only_where_policies_are_forced(tenants: Tenants) -> None:
    tenants.do("ALTER TABLE letter OWNER TO {role}", ENABLED, POLICY)
    assert hidden(tenants) == []
    tenants.do("ALTER TABLE letter FORCE ROW LEVEL SECURITY")
    assert hidden(tenants) == ["letter"]
    assert "rows_hidden_by_policy" in refused(tenants)


def test_export_reads_no_partition_by_itself_so_that_its_policy_hides_nothing(
    tenants: Tenants,
) -> None:
    tenants.do(ENABLED.format("letter_1"), POLICY.format("letter_1"))
    assert hidden(tenants) == []
    tenants.admin.request(7, "R-7")
    assert tenants.admin.dsar("export", "R-7").returncode == 0
    assert len(members(tenants.admin.public("R-7"))["letters.json"]) == 5


@pytest.mark.parametrize("table", ["dsar_requests", "dsar_attempts"])
def test_sweep_where_a_policy_hides_requests_fails_and_says_why(
    tenants: Tenants, table: str
) -> None:
    world = tenants.admin
    world.request(7, "R-7")
    ours = "dsar_requests, dsar_attempts, dsar_sweeps"
    tenants.do(
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {ours} TO {{role}}",
        "GRANT SELECT ON dsar_schema_version TO {role}",
        ENABLED.format(table),
    )
    done = world.sweep(database_url=tenants.url())
    assert done.returncode != 0
    assert "row-level security policy" in done.stderr and "BYPASSRLS" in done.stderr
    assert world.row("R-7")["status"] == "pending"
    if table == "dsar_requests":
        assert "BYPASSRLS" in world.dsar("list", database_url=tenants.url()).stderr
    doctor = world.dsar("doctor", "--json", database_url=tenants.url()).stdout
    assert "row-level security" in doctor and table in doctor
    tenants.do(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    assert world.sweep(database_url=tenants.url()).json["completed"] == 1


def test_transaction_about_requests_gets_an_error_for_rows_that_a_policy_hides(
    postgresql_world: World,
) -> None:
    with (
        postgresql_world.services() as services,
        services.runtime.control.begin() as connection,
    ):
        assert connection.exec_driver_sql("SHOW row_security").scalar_one() == "off"


def test_snapshot_refuses_and_reads_nothing_in_a_server_of_another_language(
    tenants: Tenants,
) -> None:
    """The refusal is known by its place in PostgreSQL's source, not by its words."""
    from backend.driver_errors import is_hidden_by_policy, is_refused

    tenants.do(ENABLED, POLICY, "REVOKE SELECT ON box FROM {role}")
    engine = sa.create_engine(tenants.url(), isolation_level="AUTOCOMMIT")
    found = {}
    with engine.connect() as connection:
        connection.exec_driver_sql("SET row_security = off")
        for table in ("letter", "box"):
            with pytest.raises(sa.exc.DBAPIError) as caught:
                connection.exec_driver_sql(f"SELECT 1 FROM {table}")
            found[table] = (is_hidden_by_policy(caught.value), is_refused(caught.value))
    engine.dispose()
    assert found == {"letter": (True, True), "box": (False, True)}
