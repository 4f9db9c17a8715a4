"""Files that columns name, on each database: whose, in whatever type, and away or not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backend.errors import SectionError
from backend.services.coverage import check_coverage
from backend.services.dsar_collectors import collection
from backend.services.file_folders import ELSEWHERE, GONE, LINK
from backend.services.file_values import NO_PATH
from tests.harness import World, check_schemas, members, unpacked
from tests.worlds import MARIADB, POSTGRESQL, SERVERS, SQLITE, database

HEAD = """
version = 1
[subject]
table = "people"
key = "id"
[facts]
purpose = "p"
categories = "c"
recipients = "none"
retention = "r"
source = "s"
automated_decisions = "none"
transfers = "none"
[[section]]
name = "account"
table = "people"
exported = ["id"]
"""


@dataclass(frozen=True)
class Column:
    """A column of files: its type, a row's value each (as SQL), and the files that these name."""

    kind: str
    values: Sequence[str]
    names: Sequence[str]
    more: str = ""
    problems: Sequence[str] = ()


BYTES = {SQLITE: "X'612F62FF'", POSTGRESQL: r"'\x612f62ff'", MARIADB: "X'612F62FF'"}
COLUMNS = {
    SQLITE: [
        Column("TEXT", ["'a/1'", "NULL", "''", "'a/1'"], ["a/1"]),
        Column("TEXT", ["""'["a/1"]'"""], [], problems=[GONE]),
        Column("JSON", ["""'["a/1", ["a/2"], null]'""", "'a/3'", "'null'"], ["a/1", "a/2", "a/3"]),
        Column("TEXT", ["""'["a/1", 7]'""", "'a/2'"], ["a/1", "a/2"], "json.c3 = {}", [NO_PATH]),
        Column("BLOB", [BYTES[SQLITE], "'a/1'"], ["a/b\udcff", "a/1"]),
        Column("", ["'a/1'", BYTES[SQLITE], "5"], ["a/1", "a/b\udcff"], problems=[NO_PATH]),
    ],
    POSTGRESQL: [
        Column("text[]", ["ARRAY['a/1', NULL, '', 'a/2']", "'{}'", "NULL"], ["a/1", "a/2"]),
        Column("varchar(9)[]", ["ARRAY[['a/1'], ['a/2']]"], ["a/1", "a/2"]),
        Column(
            "jsonb", ["""'["a/1", {"k": "v"}]'""", """'"a/2"'"""], ["a/1", "a/2"], "", [NO_PATH]
        ),
        Column("json", ["""'[["a/1"]]'""", "'null'", "'5'"], ["a/1"], problems=[NO_PATH]),
        Column("bytea", [BYTES[POSTGRESQL]], ["a/b\udcff"]),
        Column("text", ["""'["a/1"]'"""], ["a/1"], "json.c5 = {}"),
        Column("place", ["'a/1'"], ["a/1"]),
        Column("place[]", ["'{a/1,a/2}'"], ["a/1", "a/2"]),
        Column("bytea[]", [r"""ARRAY['\x612f31'::bytea]"""], ["a/1"]),
        Column("jsonb[]", ["""ARRAY['"a/1"'::jsonb, '["a/2"]']"""], ["a/1", "a/2"]),
    ],
    MARIADB: [
        Column("JSON", ["""'["a/1", ["a/2"], {"k": "v"}]'"""], ["a/1", "a/2"], "", [NO_PATH]),
        Column("VARBINARY(99)", [BYTES[MARIADB]], ["a/b\udcff"]),
        Column("BLOB", ["'a/1'"], ["a/1"]),
        Column("LONGTEXT", ["""'["a/1"]'""", "'a/2'"], ["a/1", "a/2"], "json.c3 = {}"),
        Column("VARCHAR(99) CHARSET latin1", ["'a/ü'"], ["a/ü"]),
    ],
}


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "up"
    (folder / "a").mkdir(parents=True)
    for name in ("1", "2", "3", "ü"):
        (folder / "a" / name).write_text(f"a/{name}")
    (folder / "a" / "b\udcff").write_text("octets")
    return folder


@pytest.mark.parametrize("kind", [SQLITE, *SERVERS])
def test_columns_of_any_type_name_their_files(
    request: pytest.FixtureRequest, tmp_path: Path, uploads: Path, kind: str
) -> None:
    columns = list(enumerate(COLUMNS[kind]))
    text = HEAD
    with database(kind, request, tmp_path) as url:
        world = World(url, tmp_path, {"DSAR_SECTIONS_FILE": str(tmp_path / "sections.toml")})
        with world.begin() as connection:
            if kind == POSTGRESQL:
                connection.exec_driver_sql("CREATE DOMAIN place AS text")
            connection.exec_driver_sql("CREATE TABLE people (id INTEGER PRIMARY KEY)")
            connection.exec_driver_sql("INSERT INTO people VALUES (1), (2)")
            for number, column in columns:
                connection.exec_driver_sql(
                    f"CREATE TABLE t{number} (id INTEGER PRIMARY KEY, person INTEGER, "
                    f"c{number} {column.kind})"
                )
                for row, value in enumerate(column.values):
                    insert = f"INSERT INTO t{number} VALUES ({row}, 1, {value})"
                    connection.exec_driver_sql(insert.replace("%", "%%"))
                text += (
                    f'[[section]]\nname = "t{number}"\ntable = "t{number}"\nowner = "person"\n'
                    f'exported = ["id", "person", "c{number}"]\n{column.more}\n'
                    f'files.c{number} = "up"\n'
                )
        (tmp_path / "sections.toml").write_text(text, "utf-8")
        assert world.dsar("migrate").returncode == 0
        assert world.dsar("request", "--user-id", "1", "--reference", "R").returncode == 0
        done = world.dsar("export", "R")
        world.close()
    assert done.returncode == 0, done.stderr
    found, data = unpacked(world.public("R")), members(world.public("R"))
    for number, column in columns:
        rows = data[f"t{number}_files.json"]
        assert [row["name"] for row in rows if row["file"]] == list(column.names), column
        assert [row["problem"] for row in rows if not row["file"]] == list(column.problems), column
        for row in rows:
            if row["file"]:
                content = row["name"] if "\udcff" not in row["name"] else "octets"
                assert found[row["file"]].decode() == content
    check_schemas(world.public("R"))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[World]:
    """Two people, each with rows that name their own file and the other's."""
    world = World(
        f"sqlite:///{tmp_path / 'shop.sqlite3'}",
        tmp_path,
        {"DSAR_SECTIONS_FILE": str(tmp_path / "sections.toml")},
    )
    with world.begin() as connection:
        for statement in (
            "CREATE TABLE people (id INTEGER PRIMARY KEY)",
            "CREATE TABLE docs (id INTEGER PRIMARY KEY, person INTEGER, path TEXT)",
            "INSERT INTO people VALUES (1), (2), (3)",
            "INSERT INTO docs (person, path) VALUES (1, '1.txt'), (1, '2.txt'), (1, '../2/2.txt'),"
            " (1, '2/2.txt'), (1, 'to-2/2.txt'), (2, '2.txt'), (3, '3.txt')",
        ):
            connection.exec_driver_sql(statement)
    for key in ("1", "2"):
        (tmp_path / "up" / key).mkdir(parents=True)
        (tmp_path / "up" / key / f"{key}.txt").write_text(f"of person {key}")
    (tmp_path / "up" / "1" / "to-2").symlink_to(tmp_path / "up" / "2")
    yield world
    world.close()


def declare(world: World, folder: str, exported: str = '"id", "person", "path"') -> None:
    (world.root / "sections.toml").write_text(
        f'{HEAD}[[section]]\nname = "docs"\ntable = "docs"\nowner = "person"\n'
        f'exported = [{exported}]\nfiles.path = "{folder}"\n',
        "utf-8",
    )


def exported(world: World, user_id: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    reference = f"R-{user_id}"
    world.dsar("migrate")
    world.dsar("request", "--user-id", str(user_id), "--reference", reference)
    done = world.dsar("export", reference)
    assert done.returncode == 0, done.stderr
    rows = members(world.public(reference))["docs_files.json"]
    files = {n: c for n, c in unpacked(world.public(reference)).items() if "docs_files/" in n}
    return {row["name"]: row.get("problem") for row in rows}, files


def test_folder_with_the_key_gives_nobody_anothers_file(shop: World) -> None:
    declare(shop, "up/{key}")
    found, files = exported(shop, 1)
    assert found == {
        "1.txt": None,
        "2.txt": GONE,
        "../2/2.txt": ELSEWHERE,
        "2/2.txt": GONE,
        "to-2/2.txt": LINK,
    }
    assert files == {"docs_files/1.txt": b"of person 1"}
    assert exported(shop, 3) == ({"3.txt": GONE}, {})
    with shop.services() as services:
        assert check_coverage(services.runtime).advice == ()


def test_coverage_advises_the_key_and_fails_nothing_for_it(shop: World) -> None:
    declare(shop, "up")
    done = shop.dsar("coverage")
    assert (done.returncode, done.json["ok"]) == (0, True), done.stderr
    (advice,) = done.json["advice"]
    assert "section 'docs': files.path" in advice and 'up/{key}"' in advice
    assert "advice: section 'docs'" in done.stderr
    shutil.rmtree(shop.root / "up")
    (shop.root / "up").mkdir()
    assert "is empty here" in shop.dsar("coverage").json["advice"][1]


def test_coverage_advises_of_a_column_with_paths_until_it_is_declared_or_exempt(
    shop: World,
) -> None:
    declare(shop, "up")
    declared = (shop.root / "sections.toml").read_text("utf-8")
    without = declared.replace('files.path = "up"\n', "")
    (shop.root / "sections.toml").write_text(without, "utf-8")
    done = shop.dsar("coverage")
    assert (done.returncode, done.json["ok"]) == (0, True), done.stderr
    (advice,) = done.json["advice"]
    assert advice.startswith("section 'docs': path looks as if it named files"), advice
    answer = advice.partition("[[exempt]] ")[2].replace(", ", "\n")
    exempt = f"{without}[[exempt]]\n{answer.replace('…', 'kept by the courts')}\n"
    (shop.root / "sections.toml").write_text(exempt, "utf-8")
    done = shop.dsar("coverage")
    assert (done.returncode, done.json["advice"]) == (0, []), done.stderr


@pytest.mark.parametrize(
    ("folder", "columns", "message"),
    [
        ("nowhere/{key}", None, "there is no folder .*nowhere; make or mount it"),
        ("up/{user}", None, "only {key} is known"),
        ("up/{key}/../x", None, "without //, . and .."),
        (
            "up",
            '"id", "person", "path"]\njson.path.withheld = {x = "r"}\norder_by = ["id"',
            "parts",
        ),
    ],
)
def test_folder_that_cannot_be_vouched_for_is_refused(
    shop: World, folder: str, columns: str | None, message: str
) -> None:
    declare(shop, folder, *([columns] if columns else []))
    with shop.services() as services, pytest.raises(SectionError, match=message) as refused:
        collection(services.runtime)
    assert str(refused.value).count("sections.toml: ") == 1


def test_column_of_numbers_is_refused_for_files(shop: World) -> None:
    declare(shop, "up")
    text = (shop.root / "sections.toml").read_text("utf-8").replace("files.path", "files.person")
    (shop.root / "sections.toml").write_text(text, "utf-8")
    with shop.services() as services, pytest.raises(SectionError, match="person holds INTEGER"):
        collection(services.runtime)


def test_folder_that_is_away_uses_no_attempt_and_makes_no_export(shop: World) -> None:
    """Files that are all "not there" because a share is not mounted would be a completed export."""
    declare(shop, "up")
    shop.dsar("migrate")
    shop.dsar("request", "--user-id", "1", "--reference", "R")
    with shop.services() as services:
        from backend.services.dsar_exporter import persist_dsar_export

        collection(services.runtime)  # as a process that started while it was mounted
        (shop.root / "up").rename(shop.root / "away")
        failed = persist_dsar_export("R")
        assert (failed["ok"], failed["error_code"]) == (False, "files_unavailable")
        assert failed["trouble"] and str(shop.root / "up") in failed["error"]
        assert (shop.row("R")["status"], shop.row("R")["attempts"]) == ("pending", 0)
        (shop.root / "away").rename(shop.root / "up")
        assert persist_dsar_export("R")["ok"]
    assert json.loads(unpacked(shop.public("R"))["meta.json"])["files_included"] == {
        "docs_files.json": 1
    }


def test_unreadable_file_costs_nobody_the_others_and_blames_no_export_root(shop: World) -> None:
    declare(shop, "up/{key}")
    (shop.root / "up" / "1" / "2.txt").mkdir()
    (shop.root / "up" / "1" / "1.txt").chmod(0)
    with shop.begin() as connection:
        connection.exec_driver_sql("UPDATE docs SET path = 'ok.txt' WHERE path = 'to-2/2.txt'")
    (shop.root / "up" / "1" / "ok.txt").write_text("ok")
    found, files = exported(shop, 1)
    assert files["docs_files/ok.txt"] == b"ok"
    assert found["2.txt"] == "what is there is not a file"
    assert found["1.txt"] in ("the file may not be read", None)  # root reads it
    page = unpacked(shop.public("R-1"))["index.html"].decode()
    assert "what is at its place is not a file" in page
