"""A stranger's database, described by a sections.toml alone: from its rows to the ZIP."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backend.errors import SectionError, SubjectNotFound
from backend.migrations.runner import migrate
from backend.services.collection import count_rows
from backend.services.dsar_collectors import collection
from backend.services.dsar_exporter import build_archive, build_dsar_zip_bytes, persist_dsar_export
from backend.services.requests import Requests
from backend.services.section_binding import key_type_of
from backend.services.sections import FilesSection, Subject
from tests.harness import World, check_schemas, members, unpacked

UUID_A, UUID_B = "123e4567-e89b-12d3-a456-426614174000", "223e4567-e89b-12d3-a456-426614174000"
# kind of key: the SQL type on each database, and two people's keys as text
KEYS: dict[str, tuple[dict[str, str], str, str]] = {
    "whole": (
        {"sqlite": "INTEGER", "postgresql": "BIGINT", "mariadb": "BIGINT"},
        "880042",
        "880043",
    ),
    "uuid": ({"sqlite": "CHAR(36)", "postgresql": "UUID", "mariadb": "UUID"}, UUID_A, UUID_B),
    "text": (
        {"sqlite": "TEXT", "postgresql": "VARCHAR(40)", "mariadb": "VARCHAR(40)"},
        "cus/Ab1 ß",
        "cus/zz",
    ),
    # Sixteen octets on MariaDB, and Django's 32 digits where there is no such type.
    "packed": (
        {"sqlite": "CHAR(32)", "postgresql": "CHAR(32)", "mariadb": "BINARY(16)"},
        UUID_A,
        UUID_B,
    ),
}

SECTIONS = """
version = 1

[subject]
table = "customers"
key = "customer_id"

[facts]
purpose = "to sell books"
recipients = "none"
retention = "ten years"

[[section]]
name = "account"
table = "customers"
title = { en = "Customer", de = "Kundin oder Kunde" }
labels.email = "E-mail"
exported = ["customer_id", "email", "settings"]
withheld = { password = "credential" }
json.settings.withheld = { "smtp.*.secret" = "credential" }

[[section]]
name = "orders"
table = "orders"
owner = "customer_id"
exported = ["id", "shop", "customer_id", "total", "deleted"]
leave_out_deleted = { column = "deleted", reason = "kept for the tax office alone" }
facts.purpose = { en = "to deliver", de = "zu liefern" }

[[section]]
name = "lines"
table = "Order Lines"
owner = [
  { path = ['order_id = orders.id, shop = orders.shop'], column = "customer_id" },
]
exported = ["order_id", "shop", "line", "title"]
order_by = ["order_id", "shop", "line"]

[[section]]
name = "messages"
table = "messages"
owner = ["sender", "recipient"]
exported = ["id", "body"]
masked.sender = { reason = "another person", unless_own = "sender" }
masked.recipient = { reason = "another person", unless_own = "recipient" }
masked.staff = "another person"
"""


def statements(dialect: str, kind: str) -> Iterator[str]:
    key = KEYS[kind][0][dialect]
    quote = "`" if dialect == "mariadb" else '"'
    yield f"""CREATE TABLE customers (customer_id {key} PRIMARY KEY, email VARCHAR(100),
        settings TEXT, password VARCHAR(100))"""
    yield f"""CREATE TABLE orders (id INTEGER, shop INTEGER,
        customer_id {key} NOT NULL REFERENCES customers (customer_id),
        total NUMERIC(12, 2), deleted BOOLEAN NOT NULL, PRIMARY KEY (id, shop))"""
    yield f"""CREATE TABLE {quote}Order Lines{quote} (order_id INTEGER, shop INTEGER,
        line INTEGER, title VARCHAR(100), PRIMARY KEY (order_id, shop, line),
        FOREIGN KEY (order_id, shop) REFERENCES orders (id, shop))"""
    yield f"""CREATE TABLE messages (id INTEGER PRIMARY KEY, sender {key}, recipient {key},
        staff INTEGER, body VARCHAR(100))"""


def stored(dialect: str, kind: str, key: str) -> Any:
    """The key as the stranger's application would write it."""
    if kind == "whole":
        return int(key)
    if kind == "packed":
        digits = key.replace("-", "")
        return bytes.fromhex(digits) if dialect == "mariadb" else digits
    return key


def fill(world: World, kind: str) -> None:
    dialect = world.engine.dialect.name
    mine, theirs = (stored(dialect, kind, key) for key in KEYS[kind][1:])
    settings = {"theme": "dark", "smtp": {"home": {"host": "mail.example.org", "secret": "s3cr3t"}}}
    lines = "`Order Lines`" if dialect == "mariadb" else '"Order Lines"'
    with world.begin() as connection:
        for statement in statements(dialect, kind):
            connection.exec_driver_sql(statement)
        for key, name in ((mine, "mine"), (theirs, "theirs")):
            connection.execute(
                sa.text("INSERT INTO customers VALUES (:key, :mail, :settings, 's3cr3t')"),
                {"key": key, "mail": f"{name}@example.org", "settings": json.dumps(settings)},
            )
        for shop, key, deleted in ((1, mine, False), (2, theirs, False), (3, mine, True)):
            connection.execute(
                sa.text("INSERT INTO orders VALUES (1, :shop, :key, 9.90, :deleted)"),
                {"shop": shop, "key": key, "deleted": deleted},
            )
            connection.execute(
                sa.text(f"INSERT INTO {lines} VALUES (1, :shop, 1, :title)"),
                {"shop": shop, "title": f"book {shop}"},
            )
        for number, (sender, recipient) in enumerate([(mine, theirs), (theirs, mine)], 1):
            connection.execute(
                sa.text("INSERT INTO messages VALUES (:id, :sender, :recipient, 77, 'hello')"),
                {"id": number, "sender": sender, "recipient": recipient},
            )
        connection.execute(
            sa.text("INSERT INTO messages VALUES (3, :key, :key, 77, 'to myself')"), {"key": theirs}
        )


def world_of(database_url: str, folder: Path, kind: str, toml: str = SECTIONS) -> World:
    (folder / "sections.toml").write_text(toml, "utf-8")
    environment = {"DSAR_SECTIONS_FILE": str(folder / "sections.toml")}
    world = World(database_url, folder, environment)
    fill(world, kind)
    settings = world.settings()
    migrate(settings, key_type=key_type_of(settings))
    return world


def change(old: str, new: str) -> str:
    assert old in SECTIONS
    return SECTIONS.replace(old, new)


@pytest.mark.parametrize("kind", list(KEYS))
def test_export_by_file_holds_what_it_declares(
    database_url: str, tmp_path: Path, kind: str
) -> None:
    world = world_of(database_url, tmp_path, kind)
    mine, theirs = KEYS[kind][1:]
    with world.services() as services:
        declared = collection(services.runtime)
        subject = declared.subject(mine, None)
        assert count_rows(declared, subject) == {
            "account": 1,
            "orders": 1,
            "lines": 2,
            "messages": 2,
            "dsar_request": 0,
        }
        Requests(services.controller).open(subject.user_id, reference_id="R-1")
        result = persist_dsar_export("R-1")
        assert result["ok"], result
    files = members(world.public("R-1"))
    check_schemas(world.public("R-1"))
    page = unpacked(world.public("R-1"))["index.html"].decode()
    world.close()

    assert "Customer" in page and "mine@example.org" in page
    assert "s3cr3t" not in page and "theirs@example.org" not in page
    own = str(files["account.json"]["customer_id"])
    assert files["account.json"]["settings"] == {
        "theme": "dark",
        "smtp": {"home": {"host": "mail.example.org", "secret": "[withheld: credential]"}},
    }
    assert str(files["dsar_request.json"]["user_id"]).replace("-", "") == mine.replace("-", "")
    assert [row["total"] for row in files["orders.json"]] == ["9.90"]
    assert [row["title"] for row in files["lines.json"]] == ["book 1", "book 3"]
    masked = "[masked: another person]"
    assert [(str(m["sender"]), str(m["recipient"])) for m in files["messages.json"]] == [
        (own, masked),
        (masked, own),
    ]
    assert {row["staff"] for row in files["messages.json"]} == {masked}
    text = json.dumps(files)
    assert "s3cr3t" not in text
    assert "theirs@example.org" not in text
    assert theirs not in text
    details = files["meta.json"]["section_details"]
    assert details["account"]["title"] == "Customer"
    assert details["orders"]["deleted_rows_left_out"] == "kept for the tax office alone"
    assert details["lines"]["purpose"] == "to sell books"


def test_export_by_file_works_from_the_command_line(tmp_path: Path) -> None:
    """The requests in a database of their own, and a sweep by two processes."""
    source = world_of(f"sqlite:///{tmp_path / 'shop.sqlite3'}", tmp_path, "uuid")
    source.close()
    environment = source.environment | {"DSAR_SOURCE_DATABASE_URL": source.database_url}
    world = World(f"sqlite:///{tmp_path / 'requests.sqlite3'}", tmp_path, environment)
    assert world.dsar("migrate").returncode == 0
    assert sorted(sa.inspect(world.engine).get_table_names()) == [
        "dsar_attempts",
        "dsar_requests",
        "dsar_schema_version",
        "dsar_sweeps",
    ]
    preview = world.dsar("preview", "--user-id", UUID_A)
    assert preview.json["sections"]["lines"] == 2
    # In capitals it is the same UUID; kept is what the people's table has.
    assert world.dsar("request", "--user-id", UUID_A.upper(), "--reference", "R-1").returncode == 0
    assert world.row("R-1")["user_id"] == UUID_A
    world.request(UUID_A.upper(), "R-2")
    listed = {
        each["reference_id"]: each["subject_gone"] for each in world.dsar("list").json["requests"]
    }
    assert listed == {"R-1": False, "R-2": False}
    unknown = world.dsar("request", "--user-id", UUID_A.replace("1", "9"))
    assert (unknown.returncode, "does not exist" in unknown.stderr) == (1, True)
    done = world.sweep("--workers", "2")
    assert done.json["completed"] == 2, done.stderr
    for reference in ("R-1", "R-2"):
        assert members(world.public(reference))["account.json"]["email"] == "mine@example.org"
    world.check_invariants()
    world.close()


def test_sweep_by_a_wrong_file_stops_and_fails_no_request(tmp_path: Path) -> None:
    world = world_of(f"sqlite:///{tmp_path / 'shop.sqlite3'}", tmp_path, "whole")
    world.request(880042, "R-1")
    toml = change('"title"]', '"title", "isbn"]')
    (tmp_path / "sections.toml").write_text(toml, "utf-8")
    for done in (
        world.sweep(),
        world.dsar("export", "R-1"),
        world.dsar("preview", "--user-id", "880042"),
    ):
        assert done.returncode == 78, done.stderr
        assert "lines" in done.stderr
        assert "isbn" in done.stderr
        assert "Traceback" not in done.stderr
    row = world.row("R-1")
    assert (row["status"], row["attempts"]) == ("pending", 0)
    world.close()


def test_adopted_requests_keep_their_own_type(tmp_path: Path) -> None:
    """A key in text, requests that hold it as the application's own table does."""
    url = f"sqlite:///{tmp_path / 'shop.sqlite3'}"
    world = World(url, tmp_path)
    with world.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE dsar_requests (id INTEGER PRIMARY KEY, user_id BLOB, gdpr_reference_id "
            "TEXT, status TEXT, requested_at DATETIME, completed_at DATETIME, export_bytes_size "
            "INTEGER, last_error TEXT, export_storage_path TEXT)"
        )
    world.close()
    world = world_of(url, tmp_path, "text")
    world.request(KEYS["text"][1], "R-1")
    with world.services():
        assert persist_dsar_export("R-1")["ok"] is True
    types = {
        c["name"]: str(c["type"]) for c in sa.inspect(world.engine).get_columns("dsar_requests")
    }
    assert types["user_id"] == "BLOB"
    world.close()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('table = "messages"', 'table = "Messages"', ["messages", "no table", "'messages' meant"]),
        ('table = "messages"', 'table = "letters"', ["section 'messages'", "no table letters"]),
        ('"id", "body"]', '"id"]', ["messages", "no disposition for body", "withheld"]),
        ('"id", "body"]', '"id", "body", "subject"]', ["messages", "no column subject"]),
        ('owner = "customer_id"', 'owner = "client_id"', ["orders", "no column client_id"]),
        ('owner = "customer_id"', "", ["orders", "no owner path"]),
        ("= orders.id", "= orders.nr", ["lines", "owner", "no column nr"]),
        ("orders.id, shop = orders.shop", "invoices.id", ["lines", "no table invoices"]),
        ("path = ['order_id = orders.id, shop = orders.shop'], column = \"customer_id\"",
         "path = [], column = \"title\"", []),
        ('key = "customer_id"', 'key = "id"', ["subject", "no column id"]),
        ('table = "customers"\nkey', 'table = "clients"\nkey', ["subject", "no table clients"]),
        ('name = "account"', 'name = "profile"', ["'account'", "customers"]),
        ('unless_own = "sender"', 'unless_own = "author"', ["messages", "author"]),
    ],
)  # fmt: skip
def test_file_that_does_not_fit_the_schema_names_the_culprit(
    tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    world = world_of(f"sqlite:///{tmp_path / 'shop.sqlite3'}", tmp_path, "whole")
    (tmp_path / "sections.toml").write_text(change(old, new), "utf-8")
    with world.services() as services:
        if not words:  # a text may hold any key
            assert collection(services.runtime)
            return
        with pytest.raises(SectionError) as caught:
            collection(services.runtime)
    for word in [*words, str(tmp_path / "sections.toml")]:
        assert word in str(caught.value)
    world.close()


def test_owner_path_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    toml = change('owner = ["sender", "recipient"]', 'owner = "staff"')
    world = World(
        f"sqlite:///{tmp_path / 'shop.sqlite3'}",
        tmp_path,
        {"DSAR_SECTIONS_FILE": str(tmp_path / "sections.toml")},
    )
    (tmp_path / "sections.toml").write_text(toml, "utf-8")
    with world.begin() as connection:
        for statement in statements("sqlite", "whole"):
            connection.exec_driver_sql(
                statement.replace("staff INTEGER", "staff INTEGER REFERENCES employees (id)")
            )
        connection.exec_driver_sql("CREATE TABLE employees (id INTEGER PRIMARY KEY)")
    with (
        world.services() as services,
        pytest.raises(SectionError, match=r"messages\.staff leads to employees, not to the person"),
    ):
        collection(services.runtime)
    world.close()


def test_key_of_another_kind_is_nobodys(tmp_path: Path) -> None:
    world = world_of(f"sqlite:///{tmp_path / 'shop.sqlite3'}", tmp_path, "whole")
    with world.services() as services:
        declared = collection(services.runtime)
        for key in ("ada", "4.2", str(2**63), True):
            with pytest.raises(SubjectNotFound, match="whole number"):
                count_rows(declared, Subject(key, None))
    world.close()


def test_archive_of_a_key_that_is_no_file_name_has_a_harmless_root(tmp_path: Path) -> None:
    world = world_of(f"sqlite:///{tmp_path / 'shop.sqlite3'}", tmp_path, "text")
    with world.services():
        content, meta = build_dsar_zip_bytes(KEYS["text"][1], None)
    (tmp_path / "x.zip").write_bytes(content)
    assert members(tmp_path / "x.zip")["account.json"]["email"] == "mine@example.org"
    assert meta["user_id"] == KEYS["text"][1]
    assert b"levqor-dsar-cus_Ab1_-" in content
    world.close()


def test_files_that_rows_name_go_into_the_archive(tmp_path: Path) -> None:
    toml = change('exported = ["id", "body"]', 'exported = ["id", "body"]\nfiles.body = "uploads"')
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "hello").write_bytes(b"of the upload" * 100_000)
    world = world_of(f"sqlite:///{tmp_path / 'shop.sqlite3'}", tmp_path, "whole", toml)
    with world.begin() as connection:
        connection.exec_driver_sql("UPDATE messages SET body = '../sections.toml' WHERE id = 2")
    with world.services():
        content, meta = build_dsar_zip_bytes(880042, None)
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
    assert members["messages_files/hello"] == b"of the upload" * 100_000
    assert meta["files"]["messages_files/hello"]["bytes"] == 1_300_000
    assert json.loads(members["messages_files.json"]) == [
        {"column": "body", "name": "hello", "file": "messages_files/hello"},
        {
            "column": "body",
            "name": "../sections.toml",
            "file": None,
            "problem": "the path does not lead to a file of this folder",
        },
    ]
    assert meta["files_not_included"] == {"messages_files.json": 1}
    assert b"what is stored as its place leads to no file of ours" in members["index.html"]
    assert b"[subject]" not in b"".join(members.values())
    (tmp_path / "sections.toml").write_text(toml.replace('"uploads"', '"nowhere"'), "utf-8")
    with world.services() as services, pytest.raises(SectionError, match=r"no folder .*nowhere"):
        collection(services.runtime)
    world.close()


def test_files_that_a_function_yields_go_into_the_archive(tmp_path: Path) -> None:
    world = world_of(f"sqlite:///{tmp_path / 'shop.sqlite3'}", tmp_path, "whole")

    def uploads(subject: Subject) -> Iterator[tuple[str, Iterator[bytes]]]:
        yield "Zoë's photo.png", iter([b"pho", b"to"])
        yield f"of-{subject.user_id}.txt", iter([b"text"])

    with world.services() as services:
        declared = collection(services.runtime)
        section = FilesSection(name="uploads", files=uploads, facts=declared.account.facts)
        declared = replace(declared, sections=[*declared.sections, section])
        assert count_rows(declared, Subject("880042", None))["uploads"] == 2
        content, meta = build_archive(declared, "880042", None)
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
    assert members["uploads/Zo_s_photo.png"] == b"photo"
    assert members["uploads/of-880042.txt"] == b"text"
    assert json.loads(members["uploads.json"]) == [
        {"name": "Zoë's photo.png", "file": "uploads/Zo_s_photo.png"},
        {"name": "of-880042.txt", "file": "uploads/of-880042.txt"},
    ]
    assert meta["section_details"]["uploads"]["rows"] == 2
    world.close()
