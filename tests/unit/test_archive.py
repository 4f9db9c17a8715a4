"""Sections and files become one ZIP that says of itself what is in it."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest

from backend.errors import SectionError, SubjectNotUnique
from backend.services.archive import (
    FileStream,
    Packed,
    PrecompressedFile,
    SectionStream,
    no_files,
    root_folder,
    write_archive,
)
from backend.services.rendering import dump_object, gathered
from backend.services.zip_writer import Precompressed

GENERATED_AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


class Written:
    """A target that can only be written to."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, data: bytes) -> None:
        self.content += data

    def files(self) -> dict[str, bytes]:
        with zipfile.ZipFile(BytesIO(self.content)) as archive:
            return {name.removeprefix("root/"): archive.read(name) for name in archive.namelist()}


def section(name: str, *rows: dict[str, Any], single: bool = False, **facts: Any) -> SectionStream:
    return SectionStream(name, single, gathered(map(dump_object, rows)), facts)


def write(
    target: Written, *streams: SectionStream | FileStream, **options: Any
) -> tuple[Packed, dict[str, Any]]:
    meta: dict[str, Any] = {"schema_version": "1"}
    options = {"checkpoint": lambda: None} | options
    packed = write_archive(
        target, streams, root="root", meta=meta, generated_at=GENERATED_AT, **options
    )
    return packed, meta


def test_archive_describes_its_sections_and_files() -> None:
    target = Written()
    packed, meta = write(
        target,
        section("account", {"id": 1}, single=True, purpose="p"),
        section("runs", {"id": 1, "tags": ["é"]}, {"id": 2, "tags": []}),
        FileStream("uploads/1.pdf", [b"%PDF", b"-1.7"]),
        section("nothing"),
    )
    files = target.files()
    assert list(files) == [
        "account.json", "runs.json", "uploads/1.pdf", "nothing.json", "meta.json",
    ]  # fmt: skip
    assert files["account.json"] == b'{\n  "id": 1\n}\n'
    assert files["runs.json"].decode() == (
        '[\n  {\n    "id": 1,\n    "tags": [\n      "é"\n    ]\n  },\n'
        '  {\n    "id": 2,\n    "tags": []\n  }\n]\n'
    )
    assert files["nothing.json"] == b"[]\n"
    assert files["uploads/1.pdf"] == b"%PDF-1.7"
    assert json.loads(files["meta.json"]) == meta
    assert meta["sections"] == ["account", "runs", "nothing"]
    assert meta["section_details"] == {
        "account": {"rows": 1, **facts(files["account.json"]), "purpose": "p"},
        "runs": {"rows": 2, **facts(files["runs.json"])},
        "nothing": {"rows": 0, **facts(files["nothing.json"])},
    }
    assert meta["files"] == {"uploads/1.pdf": facts(b"%PDF-1.7")}
    assert packed.rows == 3
    assert packed.size == len(target.content)


def facts(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_closing_gets_the_whole_meta_and_its_files_come_last() -> None:
    seen: list[dict[str, Any]] = []

    def closing(meta: dict[str, Any]) -> Iterable[FileStream | PrecompressedFile]:
        seen.append(json.loads(json.dumps(meta)))
        yield FileStream("index.html", [b"<p>", meta["sections"][0].encode()])
        yield PrecompressedFile("schemas/runs.json", Precompressed.of(b"{}"))

    target = Written()
    packed, meta = write(target, section("runs", {"id": 1}), closing=closing)
    assert list(target.files()) == ["runs.json", "meta.json", "index.html", "schemas/runs.json"]
    assert target.files()["index.html"] == b"<p>runs"
    assert target.files()["schemas/runs.json"] == b"{}"
    assert seen == [meta]
    assert packed.files == {}
    assert list(no_files(meta)) == []


def test_meta_names_the_first_thousand_of_listed_files_and_every_list() -> None:
    told: list[Any] = []
    listed = [FileStream(f"x/{n}", [b"a"], told=told.append) for n in range(1_200)]
    lists = FileStream("x.json", [b"[]"], [("gone", "why")], absent_more=4, included=1_200)
    rows = replace(section("y"), included=0, absent=[("gone", "why")])
    packed, meta = write(Written(), *listed, lists, rows)
    assert len(meta["files"]) == 1_001 and "x.json" in meta["files"] and "x/999" in meta["files"]
    assert told == [facts(b"a")] * 1_200
    assert meta["files_included"] == {"x.json": 1_200, "y.json": 0}
    assert meta["files_not_included"] == {"x.json": 5, "y.json": 1}
    assert packed.files_not_included == 6


@pytest.mark.parametrize("count", [0, 2])
def test_single_section_of_no_row_is_empty_and_of_two_is_refused(count: int) -> None:
    target = Written()
    rows = [{"id": number} for number in range(count)]
    if count == 2:
        with pytest.raises(SubjectNotUnique, match="account"):
            write(target, section("account", *rows, single=True))
        assert target.content == b""
    else:
        packed, _ = write(target, section("account", *rows, single=True))
        assert packed.rows == 0
        assert target.files()["account.json"] == b"{}\n"


def test_single_section_whose_rows_come_one_by_one_is_refused_at_the_second() -> None:
    rows = (some for _ in range(2) for some in gathered([b"{}"]))
    with pytest.raises(SubjectNotUnique, match="account"):
        write(Written(), SectionStream("account", True, rows))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/x",
        "../x",
        "a/../x",
        "a//x",
        "./x",
        "a\\x",
        "C:x",
        "a\0",
        "a\n",
        "RUNS.json",
        "runs.json/x",
        "con.txt",
        "x/aux",
        "x.",
        "x ",
        "e\u0301",
    ],
)
def test_file_of_a_path_that_is_no_members_is_refused(path: str) -> None:
    with pytest.raises(SectionError):
        write(Written(), section("runs"), FileStream(path, [b"x"]))


def test_progress_is_told_as_rows_come_and_at_the_end() -> None:
    told: list[tuple[str, int]] = []
    wide = {"text": "x" * 300_000}
    write(
        Written(),
        section("runs", wide, wide, {"id": 1}),
        progress=lambda name, rows: told.append((name, rows)),
    )
    assert told == [("runs", 1), ("runs", 2), ("runs", 3), ("runs", 3)]


def test_error_of_a_stream_is_the_one_that_is_seen() -> None:
    def rows() -> Iterator[bytes]:
        yield b"{}"
        raise KeyError

    with pytest.raises(KeyError):
        write(Written(), SectionStream("runs", False, gathered(rows())))


def test_root_folder_is_of_key_and_time() -> None:
    assert root_folder("R-1", GENERATED_AT) == "levqor-dsar-R-1-20260304-050607"


def test_meta_tells_how_many_files_each_list_lacks() -> None:
    absent = (("a.pdf", "not there"), ("b.pdf", "not readable"))
    target = Written()
    packed, meta = write(target, FileStream("files.json", [b"[]"], absent))
    assert meta["files_not_included"] == {"files.json": 2}
    assert json.loads(target.files()["meta.json"])["files_not_included"] == {"files.json": 2}
    assert packed.files_not_included == 2
