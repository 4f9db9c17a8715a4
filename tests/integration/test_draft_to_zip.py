"""Strangers' databases, from a draft by coverage to the ZIP; and what coverage finds on the way."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.errors import SectionError, UsageError
from backend.migrations.runner import migrate
from backend.services.collection import count_rows
from backend.services.coverage import check_coverage
from backend.services.coverage_gate import look_before_exporting
from backend.services.drafting import draft, find_key, find_person
from backend.services.dsar_collectors import collection
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.findings import Problem, Report
from backend.services.schema_graph import read_schema
from backend.services.section_binding import key_type_of
from tests.harness import World, members
from tests.strangers import CHINOOK, DJANGO, PAGILA, RAILS, Stranger, make, settled
from tests.worlds import POSTGRESQL, SERVERS, SQLITE, database

CASES = {
    "chinook": (CHINOOK, [SQLITE, *SERVERS]),
    "pagila": (PAGILA, [POSTGRESQL]),
    "django": (DJANGO, [SQLITE]),
    "rails": (RAILS, [SERVERS[-1]]),
}


def world_with(stranger: Stranger, url: str, folder: Path) -> World:
    world = World(url, folder, {"DSAR_SECTIONS_FILE": str(folder / "sections.toml")})
    with world.begin() as connection:
        make(stranger, connection)
    return world


@pytest.fixture(params=[(name, kind) for name, (_, kinds) in CASES.items() for kind in kinds])
def strangers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[World, Stranger]]:
    name, kind = request.param
    with database(kind, request, tmp_path) as url:
        world = world_with(CASES[name][0], url, tmp_path)
        yield world, CASES[name][0]
        world.close()


@pytest.fixture
def chinook(tmp_path: Path) -> Iterator[World]:
    world = world_with(CHINOOK, f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path)
    write(world, settled(drafted(world)))
    yield world
    world.close()


def drafted(world: World, table: str | None = None) -> str:
    with world.services() as services:
        schema = read_schema(services.runtime.source)
        person = find_person(schema, table)
        return draft(schema, person, find_key(person, None))


def write(world: World, text: str) -> None:
    (world.root / "sections.toml").write_text(text, "utf-8")


def covered(world: World) -> Report:
    with world.services() as services:
        return check_coverage(services.runtime)


def covered_by(world: World, text: str) -> Report:
    write(world, text)
    return covered(world)


def problems(report: Report) -> set[Problem]:
    return {finding.problem for finding in report.findings}


def test_draft_settled_passes_coverage_and_exports(strangers: tuple[World, Stranger]) -> None:
    world, stranger = strangers
    text = drafted(world)
    assert drafted(world) == text
    tomllib.loads(text)
    write(world, text)
    before = covered(world)
    assert problems(before) <= {Problem.FACT_MISSING, Problem.REASON_MISSING}
    assert Problem.FACT_MISSING in problems(before)
    write(world, settled(text))
    assert covered(world).findings == ()

    settings = world.settings()
    migrate(settings, key_type=key_type_of(settings))
    world.request(stranger.person, "R-1")
    with world.services() as services:
        declared = collection(services.runtime)
        counts = count_rows(declared, declared.subject(stranger.person, None))
        assert counts == stranger.sections | {"dsar_request": 0}
        result = persist_dsar_export("R-1")
        assert result["ok"], result
    content = json.dumps(members(world.public("R-1")), ensure_ascii=False)
    for each in stranger.shown:
        assert each in content, each
    for each in stranger.hidden:
        assert each not in content, each


def test_coverage_new_table_and_new_column_are_found(chinook: World) -> None:
    with chinook.begin() as connection:
        connection.exec_driver_sql(
            'CREATE TABLE "Review" (id INTEGER PRIMARY KEY, line INTEGER REFERENCES '
            '"InvoiceLine" ("InvoiceLineId"), stars INTEGER)'
        )
        connection.exec_driver_sql('ALTER TABLE "Invoice" ADD COLUMN "Note" TEXT')
        connection.exec_driver_sql("CREATE TABLE contacts (id INTEGER PRIMARY KEY, name TEXT)")
        connection.exec_driver_sql('CREATE TABLE "Wish" (id INTEGER PRIMARY KEY, customer_id INT)')
    found = {(f.problem, f.table, tuple(f.columns)): f.message for f in covered(chinook).findings}
    uncovered = (Problem.TABLE_UNCOVERED, "Review", ("id", "line", "stars"))
    assert set(found) == {
        uncovered,
        (Problem.COLUMN_UNCOVERED, "Invoice", ("Note",)),
        (Problem.LOOKS_PERSONAL, "contacts", ("name",)),
        (Problem.TABLE_UNCOVERED, "Wish", ("id", "customer_id")),
    }
    assert "InvoiceLine → Invoice → Customer" in found[uncovered]


def test_coverage_what_is_gone_is_found_both_ways(chinook: World) -> None:
    with chinook.begin() as connection:
        connection.exec_driver_sql('ALTER TABLE "Customer" DROP COLUMN "Fax"')
        connection.exec_driver_sql('DROP TABLE "InvoiceLine"')
    text = (chinook.root / "sections.toml").read_text("utf-8")
    write(chinook, text + '[[exempt]]\ntable = "Ghost"\nreason = "r"\n')
    found = {(f.problem, f.section, f.table, tuple(f.columns)) for f in covered(chinook).findings}
    assert found == {
        (Problem.COLUMN_GONE, "account", "Customer", ("Fax",)),
        (Problem.TABLE_GONE, "invoice_line", "InvoiceLine", ()),
        (Problem.TABLE_GONE, None, "Ghost", ()),
    }


def test_coverage_exempted_columns_and_tables_are_no_gap(chinook: World) -> None:
    with chinook.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE contacts (id INTEGER, name TEXT, email TEXT)")
    text = (chinook.root / "sections.toml").read_text("utf-8")
    exempt = '[[exempt]]\ntable = "contacts"\nreason = "press, public"\ncolumns = ["name"]\n'
    write(chinook, text + exempt)
    (finding,) = covered(chinook).findings
    assert list(finding.columns) == ["email"]
    write(chinook, text + exempt.replace('columns = ["name"]\n', ""))
    assert covered(chinook).findings == ()


def test_coverage_points_out_what_a_link_table_joins_to_people(tmp_path: Path) -> None:
    rooms = Stranger(
        [
            "CREATE TABLE users (id INTEGER PRIMARY KEY)",
            "CREATE TABLE rooms (id INTEGER PRIMARY KEY, topic TEXT)",
            "CREATE TABLE seats (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), "
            "room_id INTEGER REFERENCES rooms (id), role TEXT, joined_at DATETIME)",
            "CREATE TABLE notices (id INTEGER PRIMARY KEY, room_id INTEGER REFERENCES rooms (id))",
            # Not a link: what was ordered stands in it.
            "CREATE TABLE goods (id INTEGER PRIMARY KEY, title TEXT)",
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), "
            "good_id INTEGER REFERENCES goods (id), price INTEGER)",
            "INSERT INTO users VALUES (1), (2)",
            "INSERT INTO rooms VALUES (1, 'mine'), (2, 'theirs')",
            "INSERT INTO seats VALUES (1, 1, 1, 'host', NULL), (2, 2, 2, 'guest', NULL)",
        ],
        "1", {}, [], [],
    )  # fmt: skip
    world = world_with(rooms, f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path)
    text = drafted(world)
    owner = 'owner = { path = ["id = seats.room_id"], column = "user_id" }'
    assert f"#   {owner}" in text.splitlines()
    write(world, settled(text))
    assert covered(world).findings == ()  # exempt, and somebody said why
    bare = settled(text).partition("# Linked to people by seats.")[0]
    write(world, bare)
    (finding,) = covered(world).findings
    assert (finding.problem, finding.table) == (Problem.LINKED, "rooms")
    assert "linked to people by seats" in finding.message
    section = f'[[section]]\nname = "rooms"\ntable = "rooms"\n{owner}\n'
    section += 'exported = ["id", "topic"]\n'
    (finding,) = covered_by(world, bare + section).findings
    assert (finding.problem, finding.table) == (Problem.LINKED, "notices")
    assert "refers by room_id to rooms" in finding.message
    hung = '{ path = ["room_id = rooms.id", "id = seats.room_id"], column = "user_id" }'
    section += f'[[section]]\nname = "notices"\ntable = "notices"\nowner = {hung}\n'
    section += 'exported = ["id", "room_id"]\n'
    assert covered_by(world, bare + section).findings == ()
    with world.services() as services:
        declared = collection(services.runtime)
        assert count_rows(declared, declared.subject("1", None))["rooms"] == 1
    # Theirs by another key, too: that says nothing of the room's.
    with world.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE notices ADD author INTEGER REFERENCES users (id)")
    section = section.replace('"room_id"]', '"room_id", "author"]')
    by_author = section.replace(f"owner = {hung}", 'owner = "author"')
    (finding,) = covered_by(world, bare + by_author).findings
    assert (finding.problem, list(finding.columns)) == (Problem.OWNER_UNUSED, ["room_id"])
    both = section.replace(f"owner = {hung}", f'owner = ["author", {hung}]')
    assert covered_by(world, bare + both).findings == ()
    world.close()


def test_draft_asks_for_what_refers_to_an_address_of_the_peoples(tmp_path: Path) -> None:
    posted = Stranger(
        [
            "CREATE TABLE addresses (id INTEGER PRIMARY KEY, street TEXT)",
            "CREATE TABLE users (id INTEGER PRIMARY KEY, home INTEGER REFERENCES addresses (id))",
            "CREATE TABLE meters (id INTEGER PRIMARY KEY, place INTEGER REFERENCES addresses (id))",
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, buyer INTEGER REFERENCES users (id), "
            "ship_to INTEGER REFERENCES addresses (id))",
        ],
        "1", {}, [], [],
    )  # fmt: skip
    world = world_with(posted, f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path)
    text = drafted(world)
    for column, lead in (("place", "  owner = "), ("ship_to", "  ")):
        path = f'{{ path = ["{column} = addresses.id", "id = users.home"], column = "id" }}'
        assert f"# {lead}{path}" in text.splitlines()
    assert covered_by(world, settled(text)).findings == ()
    bare = "\n\n".join(each for each in settled(text).split("\n\n") if "[[exempt]]" not in each)
    found = {(f.problem, f.table, tuple(f.columns)) for f in covered_by(world, bare).findings}
    assert found == {
        (Problem.LINKED, "meters", ("id", "place")),
        (Problem.OWNER_UNUSED, "orders", ("ship_to",)),
    }
    world.close()


def test_draft_and_coverage_know_german_names(tmp_path: Path) -> None:
    german = Stranger(
        [
            "CREATE TABLE kunden (kunden_nr INTEGER PRIMARY KEY, vorname TEXT, passwort TEXT)",
            "CREATE TABLE bestellungen (id INTEGER PRIMARY KEY, kunden_nr INTEGER, ware TEXT)",
            "CREATE TABLE ware (id INTEGER PRIMARY KEY, ware_nr INTEGER, kunde_nr INTEGER)",
            'CREATE TABLE anmeldungen (id INTEGER PRIMARY KEY, "Straße" TEXT, lieferanschrift TEXT,'
            " menge TEXT)",
        ],
        "1", {}, [], [],
    )  # fmt: skip
    world = world_with(german, f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path)
    text = drafted(world)
    assert 'table = "kunden"' in text.partition("[facts]")[0]
    assert 'withheld.passwort = "credential"' in text
    assert 'owner = { column = "kunden_nr", reason = "TODO: guessed' in text
    assert 'owner = { column = "kunde_nr", reason = "TODO: guessed' in text
    assert "# Straße, lieferanschrift: looks personal" in text
    world.close()


def test_coverage_second_person_column_without_owner_path_is_found(tmp_path: Path) -> None:
    messages = Stranger(
        [
            "CREATE TABLE users (id INTEGER PRIMARY KEY)",
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, sender INTEGER REFERENCES users (id), "
            "recipient INTEGER REFERENCES users (id), body TEXT)",
        ],
        "1", {}, [], [],
    )  # fmt: skip
    world = world_with(messages, f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path)
    text = settled(drafted(world))
    assert 'owner = ["recipient", "sender"]' in text
    write(world, text.replace('owner = ["recipient", "sender"]', 'owner = "sender"'))
    assert covered(world).findings == ()  # masked: somebody decided
    masked = 'masked.recipient = { reason = "another person", unless_own = "recipient" }\n'
    assert masked in text
    text = text.replace(masked, "").replace('["recipient", "sender"]', '"sender"')
    write(
        world, text.replace('exported = ["id", "body"]', 'exported = ["id", "recipient", "body"]')
    )
    (finding,) = covered(world).findings
    assert (finding.problem, list(finding.columns)) == (Problem.OWNER_UNUSED, ["recipient"])
    world.close()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('owner = "CustomerId"', 'owner = "rep"', Problem.SECTION_WRONG),
        ('name = "account"', 'name = "customer"', Problem.SECTION_WRONG),
        ('masked.SupportRepId = "another person"', 'masked.SupportRepId = "TODO"',
         Problem.REASON_MISSING),
        ('purpose = "settled', 'purpose = "TODO', Problem.FACT_MISSING),
    ],
)  # fmt: skip
def test_coverage_what_cannot_be_used_is_a_finding(
    chinook: World, old: str, new: str, problem: Problem
) -> None:
    text = (chinook.root / "sections.toml").read_text("utf-8")
    assert old in text
    write(chinook, text.replace(old, new))
    if new == 'owner = "rep"':
        with chinook.begin() as connection:
            connection.exec_driver_sql(
                'ALTER TABLE "Invoice" ADD COLUMN rep INTEGER REFERENCES "Employee"'
            )
        write(chinook, text.replace(old, new).replace('"Total"', '"Total", "rep"'))
    assert problem in problems(covered(chinook))


def test_coverage_facts_of_an_older_file_are_asked_for_once(chinook: World) -> None:
    text = (chinook.root / "sections.toml").read_text("utf-8")
    facts = text.split("[facts]")[1].split("[[section]]")[0]
    lacking = "\n".join(
        line for line in facts.splitlines() if not line.startswith(("source", "automated"))
    )
    write(chinook, text.replace(facts, lacking + "\n"))
    (finding,) = covered(chinook).findings
    assert (finding.problem, finding.section) == (Problem.FACT_MISSING, None)
    for word in ("write into [facts]", 'source = "', 'automated_decisions = "', "Art. 15(1)(h)"):
        assert word in finding.message
    mine = 'name = "account"\nfacts.source = "the shop"'
    write(chinook, text.replace(facts, lacking + "\n").replace('name = "account"', mine))
    messages = {each.section: each.message for each in covered(chinook).findings}
    assert 'source = "' not in messages[None]
    assert set(messages) == {None, "invoice", "invoice_line"}


def test_coverage_unmade_settings_of_the_controller_are_told_and_no_gap(chinook: World) -> None:
    assert covered(chinook).settings_missing == [
        "DSAR_CONTROLLER_NAME",
        "DSAR_CONTROLLER_CONTACT",
        "DSAR_COMPLAINT_AUTHORITY",
    ]
    done = chinook.dsar("coverage", complaint_authority="The Authority", controller_name="Ltd")
    assert done.returncode == 0
    assert "warning: not set: DSAR_CONTROLLER_CONTACT;" in done.stderr
    assert done.json["settings_missing"] == ["DSAR_CONTROLLER_CONTACT"]


def test_sweep_once_looks_at_coverage_where_something_is_due(chinook: World) -> None:
    with chinook.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT)")
    settings = chinook.settings()
    migrate(settings, key_type=key_type_of(settings))
    empty = chinook.sweep(coverage="refuse")
    assert (empty.returncode, "coverage" in empty.stderr) == (0, False), empty.stderr
    chinook.request("5", "R-1")
    refused = chinook.sweep(coverage="refuse")
    assert (refused.returncode, "DSAR_COVERAGE is refuse" in refused.stderr) == (78, True)
    warned = chinook.sweep()
    assert (warned.returncode, warned.json["completed"]) == (0, 1), warned.stderr
    assert '"coverage_gap"' in warned.stderr


@pytest.mark.parametrize("mode", ["warn", "refuse", "off"])
def test_scheduler_start_tells_of_gaps_as_set(
    chinook: World, mode: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with chinook.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT)")
    with chinook.services(coverage=mode) as services:
        if mode == "refuse":
            with pytest.raises(SectionError, match="DSAR_COVERAGE is refuse; see: dsar coverage"):
                look_before_exporting(services.runtime)
        else:
            look_before_exporting(services.runtime)
    # Where nobody configured structlog, as within an application, through ``logging``.
    text = "".join((*capsys.readouterr(), caplog.text))
    assert ("coverage_gap" in text) == (mode == "warn")


@pytest.mark.parametrize("mode", ["warn", "refuse"])
def test_scheduler_start_waits_for_a_source_that_is_away(chinook: World, mode: str) -> None:
    from backend.errors import DatabaseUnreachable

    away = "postgresql://nobody@127.0.0.1:1/none"
    with chinook.services(coverage=mode, source_database_url=away) as services:
        if mode == "warn":
            look_before_exporting(services.runtime)
            return
        with pytest.raises(DatabaseUnreachable):
            look_before_exporting(services.runtime)


def test_coverage_of_the_applications_own_models_passes(world: World) -> None:
    report = covered(world)
    assert report.findings == ()
    assert report.tables == 5
    with world.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE workflows ADD COLUMN secret_plan VARCHAR(9)")
        connection.exec_driver_sql("ALTER TABLE users DROP COLUMN phone")
    found = Counter((f.problem, f.section) for f in covered(world).findings)
    assert found == {
        (Problem.COLUMN_UNCOVERED, "workflows"): 1,
        (Problem.COLUMN_GONE, "account"): 1,
    }


def test_draft_of_cyclic_and_composite_keys(tmp_path: Path) -> None:
    cyclic = Stranger(
        [
            "CREATE TABLE person (id INTEGER PRIMARY KEY, team INTEGER, boss INTEGER REFERENCES "
            "person (id), FOREIGN KEY (team) REFERENCES team (id))",
            "CREATE TABLE team (id INTEGER PRIMARY KEY, lead INTEGER REFERENCES person (id))",
            "CREATE TABLE \"time slot\" (day INTEGER, nr INTEGER, owner INTEGER REFERENCES person "
            "(id), PRIMARY KEY (day, nr))",
            "CREATE TABLE visit (id INTEGER PRIMARY KEY, day INTEGER, nr INTEGER, note TEXT, "
            "FOREIGN KEY (day, nr) REFERENCES \"time slot\" (day, nr))",
            "INSERT INTO person VALUES (1, NULL, NULL), (2, NULL, 1)",
            "INSERT INTO team VALUES (1, 1), (2, 2)",
            "INSERT INTO \"time slot\" VALUES (1, 1, 1), (1, 2, 2)",
            "INSERT INTO visit VALUES (1, 1, 1, 'mine'), (2, 1, 2, 'theirs'), (3, NULL, 1, NULL)",
        ],
        "1", {}, [], [],
    )  # fmt: skip
    world = world_with(cyclic, f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path)
    text = drafted(world)
    assert 'masked.boss = { reason = "another person", unless_own = "boss" }' in text
    write(world, settled(text))
    assert covered(world).findings == ()
    with world.services() as services:
        declared = collection(services.runtime)
        counts = count_rows(declared, declared.subject("1", None))
    assert counts == {"account": 1, "team": 1, "time_slot": 1, "visit": 1, "dsar_request": 0}
    world.close()


def test_draft_of_a_person_named_by_another_column_joins_their_table(tmp_path: Path) -> None:
    mailed = Stranger(
        [
            "CREATE TABLE members (id INTEGER PRIMARY KEY, email TEXT UNIQUE)",
            "CREATE TABLE mails (id INTEGER PRIMARY KEY, mail TEXT REFERENCES members (email))",
            "INSERT INTO members VALUES (1, 'mine@example.org'), (2, 'other@example.org')",
            "INSERT INTO mails VALUES (1, 'mine@example.org'), (2, 'other@example.org')",
        ],
        "1", {}, [], [],
    )  # fmt: skip
    world = world_with(mailed, f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path)
    text = drafted(world)
    assert 'owner = { path = ["mail = members.email"], column = "id" }' in text
    write(world, settled(text))
    assert covered(world).findings == ()
    with world.services() as services:
        declared = collection(services.runtime)
        assert count_rows(declared, declared.subject("1", None))["mails"] == 1
    world.close()


def test_draft_needs_to_know_the_people_and_their_key(tmp_path: Path) -> None:
    odd = Stranger(
        ["CREATE TABLE things (a INTEGER, b INTEGER, PRIMARY KEY (a, b))"], "1", {}, [], []
    )
    world = world_with(odd, f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path)
    for table, word in ((None, "--subject-table"), ("x.y", "things"), ("things", "--subject-key")):
        with pytest.raises(UsageError, match=word):
            drafted(world, table)
    world.close()


def test_coverage_and_draft_from_the_command_line(chinook: World, tmp_path: Path) -> None:
    done = chinook.dsar("coverage")
    assert done.returncode == 0, done.stderr
    assert done.json["ok"] is True
    new = tmp_path / "new.toml"
    arguments = ("sections", "draft", "--subject-table", "Customer", "-o", str(new))
    assert chinook.dsar(*arguments).returncode == 0
    again = chinook.dsar(*arguments)
    assert (again.returncode, "is there already" in again.stderr) == (2, True)
    assert chinook.dsar("sections", "draft").stdout == new.read_text("utf-8")
    found = chinook.dsar("coverage", sections_file=new)
    assert found.returncode == 1
    assert {each["problem"] for each in found.json["findings"]} == {
        "fact_missing",
        "reason_missing",
    }


SHOP = [
    "CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT)",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES "
    "customers, weight INTEGER)",
    "CREATE TABLE order_lines (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES "
    "orders (ID), line INTEGER)",
]  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[World]:
    stranger = Stranger(SHOP, "1", {}, [], [])
    world = world_with(stranger, f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path)
    write(world, settled(drafted(world)))
    yield world
    world.close()


@pytest.mark.parametrize(
    ("right", "wrong", "table", "column", "key"),
    [
        ("order_id = orders.id", "line = orders.id", "order_lines", "line",
         "order_lines.order_id → orders.id"),
        ("order_id = orders.id", "id = orders.id", "order_lines", "id",
         "order_lines.order_id → orders.id"),
        ('column = "customer_id"', 'column = "weight"', "orders", "weight",
         "orders.customer_id → customers.id"),
        ('owner = "customer_id"', 'owner = "weight"', "orders", "weight",
         "orders.customer_id → customers.id"),
        ('column = "customer_id"', 'column = "id"', "orders", "id",
         "orders.customer_id → customers.id"),
    ],
)  # fmt: skip
def test_coverage_owner_path_beside_the_foreign_key_is_found(
    shop: World, right: str, wrong: str, table: str, column: str, key: str
) -> None:
    assert covered(shop).findings == ()
    text = (shop.root / "sections.toml").read_text("utf-8")
    assert right in text
    write(shop, text.replace(right, wrong))
    found = {(f.problem, f.table, tuple(f.columns)): f.message for f in covered(shop).findings}
    astray = (Problem.OWNER_ASTRAY, table, (column,))
    assert key in found[astray]
    reason = f'[[exempt]]\ntable = "{table}"\ncolumns = ["{column}"]\nreason = "the old keys"\n'
    write(shop, text.replace(right, wrong) + reason)
    assert Problem.OWNER_ASTRAY not in problems(covered(shop))


def test_coverage_owner_path_by_the_people_is_looked_at_to_its_end(shop: World) -> None:
    text = (shop.root / "sections.toml").read_text("utf-8")
    longer = 'owner = { path = ["customer_id = customers.id"], column = "id" }'
    write(shop, text.replace('owner = "customer_id"', longer))
    assert covered(shop).findings == ()
    write(shop, text.replace('owner = "customer_id"', longer.replace('"id" }', '"email" }')))
    (finding,) = covered(shop).findings
    assert (finding.problem, finding.table) == (Problem.OWNER_ASTRAY, "customers")
    assert "customers.id, the key itself" in finding.message


def test_coverage_owner_path_where_no_foreign_key_is_or_by_a_chain_is_no_gap(shop: World) -> None:
    with shop.begin() as connection:
        for statement in (
            "CREATE TABLE profiles (owner INTEGER PRIMARY KEY REFERENCES customers)",
            "CREATE TABLE photos (id INTEGER PRIMARY KEY, profile INTEGER REFERENCES profiles, "
            "seen_by INTEGER REFERENCES customers)",
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, ord INTEGER)",
        ):
            connection.exec_driver_sql(statement)
    text = (shop.root / "sections.toml").read_text("utf-8")
    text += '[[section]]\nname = "profiles"\ntable = "profiles"\nowner = "owner"\n'
    text += 'exported = ["owner"]\n'
    text += '[[section]]\nname = "photos"\ntable = "photos"\nowner = ["profile", "seen_by"]\n'
    text += 'exported = ["id", "profile", "seen_by"]\n'
    text += '[[section]]\nname = "notes"\ntable = "notes"\nexported = ["id", "ord"]\n'
    text += 'owner = { path = ["ord = orders.id"], column = "customer_id" }\n'
    write(shop, text)
    assert covered(shop).findings == ()


def test_coverage_owner_path_by_half_a_key_is_found(tmp_path: Path) -> None:
    tenants = Stranger(
        [
            "CREATE TABLE users (id INTEGER PRIMARY KEY)",
            "CREATE TABLE jobs (nr INTEGER, shop INTEGER, user_id INTEGER REFERENCES users (id), "
            "PRIMARY KEY (nr, shop))",
            "CREATE TABLE steps (id INTEGER PRIMARY KEY, job INTEGER, shop INTEGER, "
            "FOREIGN KEY (job, shop) REFERENCES jobs (nr, shop))",
        ],
        "1", {}, [], [],
    )  # fmt: skip
    world = world_with(tenants, f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path)
    text = settled(drafted(world))
    whole = "job = jobs.nr, shop = jobs.shop"
    assert whole in text
    write(world, text)
    assert covered(world).findings == ()
    halved = covered_by(world, text.replace(whole, "job = jobs.nr")).findings
    assert (Problem.OWNER_ASTRAY, ("job",)) in {(f.problem, tuple(f.columns)) for f in halved}
    world.close()


def test_coverage_what_the_peoples_own_row_refers_to_must_be_decided(tmp_path: Path) -> None:
    profiled = Stranger(
        [
            "CREATE TABLE profiles (id INTEGER PRIMARY KEY, bio TEXT)",
            "CREATE TABLE countries (code TEXT PRIMARY KEY, tax INTEGER)",
            "CREATE TABLE customers (id INTEGER PRIMARY KEY, profile_id INTEGER REFERENCES "
            "profiles (id), country TEXT REFERENCES countries (code))",
            "INSERT INTO profiles VALUES (1, 'mine'), (2, 'theirs')",
            "INSERT INTO customers VALUES (5, 1, 'IE'), (6, 2, 'IE')",
        ],
        "5", {}, [], [],
    )  # fmt: skip
    world = world_with(profiled, f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path)
    text = drafted(world)
    owner = 'owner = { path = ["id = customers.profile_id"], column = "id" }'
    assert f"#   {owner}" in text.splitlines()
    assert Problem.REASON_MISSING in problems(covered_by(world, text))
    assert covered_by(world, settled(text)).findings == ()  # exempt, and somebody said why
    bare = settled(text).partition("# Linked to people by")[0]
    found = {f.table: (f.problem, f.message) for f in covered_by(world, bare).findings}
    assert set(found) == {"profiles", "countries"}
    assert found["profiles"][0] is Problem.LINKED
    assert "linked to people by customers.profile_id;" in found["profiles"][1]
    section = f'[[section]]\nname = "profiles"\ntable = "profiles"\n{owner}\n'
    exempt = '[[exempt]]\ntable = "countries"\nreason = "the same for everybody"\n'
    mended = f'{bare}{section}exported = ["id", "bio"]\n{exempt}'
    assert covered_by(world, mended).findings == ()
    with world.services() as services:
        declared = collection(services.runtime)
        assert count_rows(declared, declared.subject("5", None))["profiles"] == 1
    world.close()


BOARD = Stranger(
    [
        "CREATE TABLE teams (id INTEGER PRIMARY KEY, lead INTEGER REFERENCES users (id))",
        "CREATE TABLE users (id INTEGER PRIMARY KEY, team_id INTEGER REFERENCES teams (id), "
        "home_id INTEGER REFERENCES places (id), work_id INTEGER REFERENCES places (id))",
        "CREATE TABLE places (id INTEGER PRIMARY KEY, street TEXT)",
        "CREATE TABLE messages (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), "
        "answers INTEGER REFERENCES messages (id))",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id))",
        "CREATE TABLE attachments (id INTEGER PRIMARY KEY, message_id INTEGER REFERENCES messages "
        "(id), order_id INTEGER REFERENCES orders (id))",
        "CREATE TABLE reviews (id INTEGER PRIMARY KEY, moderator_id INTEGER REFERENCES users (id), "
        "order_id INTEGER REFERENCES orders (id))",
        "INSERT INTO places VALUES (1, 'Mine Street'), (2, 'Work Street'), (3, 'Other Street')",
        "INSERT INTO teams VALUES (1, 2), (2, 1), (3, 2)",
        "INSERT INTO users VALUES (1, 1, 1, 2), (2, 1, 3, 2)",
        "INSERT INTO orders VALUES (1, 1), (2, 2)",
        "INSERT INTO reviews VALUES (1, 2, 1), (2, 1, 2), (3, 2, 2)",
    ],
    "1", {}, [], [],
)  # fmt: skip


def test_coverage_every_key_that_leads_to_a_person_is_followed_or_explained(tmp_path: Path) -> None:
    world = world_with(BOARD, f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path)
    text = drafted(world)
    assert covered_by(world, settled(text)).findings == ()
    bare = settled(text)
    for block in bare.split("\n\n"):
        bare = bare.replace(block, "") if "[[exempt]]" in block else bare
    found = {(f.table, *f.columns): f for f in covered_by(world, bare).findings}
    assert {each.problem for each in found.values()} == {Problem.OWNER_UNUSED}
    assert set(found) == {
        ("messages", "answers"),
        ("reviews", "order_id"),
        ("users", "team_id"),
    }
    assert "leads to a person (orders → users)" in found["reviews", "order_id"].message
    assert found["users", "team_id"].section == "teams"
    owner = '{ path = ["id = users.team_id"], column = "id" }'
    assert f"#   {owner}" in text.splitlines()
    mended = bare.replace('owner = "lead"', f'owner = ["lead", {owner}]')
    owner = '{ path = ["order_id = orders.id"], column = "user_id" }'
    assert f"#   {owner}" in text.splitlines()
    mended = mended.replace('owner = "moderator_id"', f'owner = ["moderator_id", {owner}]')
    shown, masked = 'exported = ["id", "user_id"]', 'masked.answers = "another person"'
    mended = mended.replace('exported = ["id", "user_id", "answers"]', f"{shown}\n{masked}")
    assert covered_by(world, mended).findings == ()
    with world.services() as services:
        declared = collection(services.runtime)
        counts = count_rows(declared, declared.subject("1", None))
    assert [counts[name] for name in ("teams", "reviews", "places")] == [2, 2, 2]
    world.close()


def test_coverage_section_that_goes_one_of_two_ways_is_found(tmp_path: Path) -> None:
    world = world_with(BOARD, f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path)
    text = settled(drafted(world))
    both = text[text.index('table = "attachments"') :].partition("exported")[0]
    one = (
        'table = "attachments"\n'
        'owner = { path = ["message_id = messages.id"], column = "user_id" }\n'
    )
    (finding,) = covered_by(world, text.replace(both, one)).findings
    assert finding.problem is Problem.OWNER_UNUSED
    assert (finding.table, list(finding.columns)) == ("attachments", ["order_id"])
    reason = '[[exempt]]\ntable = "attachments"\ncolumns = ["order_id"]\nreason = "none has"\n'
    assert covered_by(world, text.replace(both, one) + reason).findings == ()
    world.close()


def test_coverage_what_is_called_as_a_persons_key_must_be_decided(tmp_path: Path) -> None:
    papers = Stranger(
        [
            "CREATE TABLE customers (customer_id INTEGER PRIMARY KEY, invited_by INTEGER)",
            "CREATE TABLE papers (id INTEGER PRIMARY KEY, author_id INTEGER, user_id INTEGER, "
            "sort_by TEXT, updated_by INTEGER REFERENCES customers (customer_id))",
            "CREATE TABLE votes (id INTEGER PRIMARY KEY, reviewer_id INTEGER, stars INTEGER)",
            "CREATE TABLE drivers (driver_id INTEGER PRIMARY KEY, points INTEGER)",
            "INSERT INTO customers VALUES (5, NULL), (6, 5)",
            "INSERT INTO papers VALUES (1, 5, 880077, 'date', 5), (2, 6, 5, 'date', 5)",
        ],
        "5", {}, [], [],
    )  # fmt: skip
    world = world_with(papers, f"sqlite:///{tmp_path / 'app.sqlite3'}", tmp_path)
    text = drafted(world)
    todo = "TODO: whose key is it? Say why it is masked, export it, or add it to owner"
    for name in ("invited_by", "author_id", "user_id"):
        assert f'masked.{name} = {{ reason = "{todo}", unless_own = "{name}" }}' in text
    assert 'owner = { column = "reviewer_id", reason = "TODO: guessed' in text
    assert covered_by(world, settled(text)).findings == ()
    careless = settled(text).partition('[[section]]\nname = "votes"')[0].splitlines()
    careless = [line for line in careless if not line.startswith("masked")]
    bare = "\n".join(careless).replace(
        'exported = ["id",', 'exported = ["author_id", "user_id", "id",'
    )
    bare = bare.replace('exported = ["customer_id"]', 'exported = ["customer_id", "invited_by"]')
    found = {f.table: (f.problem, tuple(f.columns)) for f in covered_by(world, bare).findings}
    assert found == {
        "customers": (Problem.LOOKS_PERSONAL, ("invited_by",)),
        "papers": (Problem.LOOKS_PERSONAL, ("author_id", "user_id")),
        "votes": (Problem.TABLE_UNCOVERED, ("id", "reviewer_id", "stars")),
    }
    owned = bare.replace('owner = "updated_by"', 'owner = ["updated_by", "author_id", "user_id"]')
    beside = {(f.problem, *f.columns) for f in covered_by(world, owned).findings if f.section}
    assert beside == {
        (Problem.LOOKS_PERSONAL, "invited_by"),
        (Problem.OWNER_ASTRAY, "author_id"),  # the real key is another
        (Problem.OWNER_ASTRAY, "user_id"),
    }
    world.close()
