"""Files beside rows: opened below their folder alone, each packed or listed with its reason."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from backend.errors import (
    FilesUnavailable,
    KeyNotUsable,
    SectionError,
    SectionFailed,
    StoreUnavailable,
)
from backend.services import file_folders, section_files
from backend.services.archive import FileStream
from backend.services.file_folders import (
    BROKEN,
    LINK,
    NO_FILE,
    NO_NAME,
    NOT_READABLE,
    Folder,
    split,
)
from backend.services.file_values import ADDRESS, NO_PATH, named_by, require_paths
from backend.services.mount_points import is_unmounted
from backend.services.page.catalogue import catalogue, languages
from backend.services.rendering import JsonText
from backend.services.row_spool import RowSpool, as_array
from backend.services.section_files import (
    CHANGED,
    CUT,
    ELSEWHERE,
    GONE,
    Listing,
    PathRefused,
    function_files,
    named_files,
    open_below,
)

MEGABYTE = 1024 * 1024


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "uploads"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "mine.png").write_bytes(b"mine")
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "inside").symlink_to(folder / "a")
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(folder / "socket"))
    return folder


def packed(streams: Iterator[FileStream]) -> dict[str, bytes]:
    """The files as an archive takes them."""
    found = {}
    for stream in streams:
        content = found[stream.path] = b"".join(stream.chunks)
        if stream.told is not None:
            stream.told({"bytes": len(content)})
    return found


def named(folder: Path, *values: Any, **options: Any) -> tuple[Listing, dict[str, bytes]]:
    """What becomes of a column's values, a row each."""
    listing = Listing("x_files")
    rows = [(value,) for value in values]
    return listing, packed(named_files(listing, rows, {"path": str(folder)}, **options))


def problems(listing: Listing) -> dict[str, str | None]:
    return {row["name"]: row.get("problem") for row in listing.rows}


@pytest.mark.parametrize("path", ["a/b/mine.png", "{folder}/a/b/mine.png"])
def test_open_below_reads_a_file_of_the_folder(uploads: Path, path: str) -> None:
    with open_below(str(uploads), path.format(folder=uploads)) as file:
        assert file.read() == b"mine"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../secret", ELSEWHERE),
        ("a/../../secret", ELSEWHERE),
        ("/etc/passwd", ELSEWHERE),
        ("{folder}/../secret", ELSEWHERE),
        ("{folder}secret", ELSEWHERE),
        ("a//b/mine.png", ELSEWHERE),
        ("./a/b/mine.png", ELSEWHERE),
        ("a/", ELSEWHERE),
        ("", ELSEWHERE),
        ("link", LINK),
        ("loop", LINK),
        ("loop/x", LINK),
        ("inside/b/mine.png", LINK),
        ("pipe", NO_FILE),
        ("socket", NO_FILE),
        ("a", NO_FILE),
        ("a\0b", NO_NAME),
        ("a/\ud800", NO_NAME),
        ("x" * 300, NO_NAME),
        ("x" * 300 + "/y", NO_NAME),
    ],
)
def test_open_below_refuses_what_is_no_file_of_the_folder(
    uploads: Path, path: str, reason: str
) -> None:
    with pytest.raises(PathRefused) as refused:
        open_below(str(uploads), path.format(folder=uploads))
    assert refused.value.reason == reason


@pytest.mark.parametrize(("place", "reason"), [("link", LINK), ("pipe", NO_FILE)])
def test_open_below_refuses_what_takes_a_files_place_after_the_look(
    uploads: Path, monkeypatch: pytest.MonkeyPatch, place: str, reason: str
) -> None:
    """Who may write in the folder may swap a file for a link between the look and the opening."""
    seen = os.stat(uploads / "a" / "b" / "mine.png")
    with monkeypatch.context() as patched, pytest.raises(PathRefused) as refused:
        patched.setattr(os, "stat", lambda name, **_: seen)
        open_below(str(uploads), place)
    assert refused.value.reason == reason


def test_open_below_tells_what_is_not_there(uploads: Path) -> None:
    for path in ("a/none.png", "a/b/mine.png/x", "none/x"):
        with pytest.raises(FileNotFoundError):
            open_below(str(uploads), path)
    with pytest.raises(StoreUnavailable, match="none"):
        open_below(str(uploads / "none"), "x")


def test_open_below_leaves_no_descriptor_open(uploads: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for path in ("a/b/mine.png", "a/none", "none/x", "link", "inside/x", "pipe", "a", "x" * 300):
        with contextlib.suppress(PathRefused, FileNotFoundError):
            open_below(str(uploads), path).close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_each_value_is_packed_once_or_listed_with_its_reason(uploads: Path) -> None:
    values = [
        "a/b/mine.png", None, "", "a/b/mine.png", "../secret", "a/gone", 7, True, {"a": 1},
        "https://example.org/x.png", "s3://bucket/x", "data:image/png;base64,AAAA", "link", "pipe",
        "a", "y" * 5000,
    ]  # fmt: skip
    listing, found = named(uploads, *values)
    assert found == {"x_files/a/b/mine.png": b"mine"}
    assert problems(listing) == {
        "a/b/mine.png": None,
        "../secret": ELSEWHERE,
        "a/gone": GONE,
        "7": NO_PATH,
        "true": NO_PATH,
        '{\n  "a": 1\n}': NO_PATH,
        "https://example.org/x.png": ADDRESS,
        "s3://bucket/x": ADDRESS,
        "data:image/png;base64,AAAA": ADDRESS,
        "link": LINK,
        "pipe": NO_FILE,
        "a": NO_FILE,
        "y" * 4096: NO_PATH,
    }
    first = next(listing.rows)
    assert first == {"column": "path", "name": "a/b/mine.png", "bytes": 4} | {
        "file": "x_files/a/b/mine.png"
    }
    assert (listing.included, listing.left_out, listing.absent_more) == (1, 12, 0)
    assert listing.absent[0] == ("../secret", ELSEWHERE)


def refusing(monkeypatch: pytest.MonkeyPatch, name: bytes, number: int) -> Callable[[], None]:
    """Have the opening of any file of that name fail, as a disk or its rights would."""
    real = os.open

    def failing(path: Any, *arguments: Any, **options: Any) -> int:
        if path == name:
            raise OSError(number, os.strerror(number))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", failing)
    return monkeypatch.undo


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EACCES, NOT_READABLE),
        (errno.EPERM, NOT_READABLE),
        (errno.EIO, BROKEN),
        (errno.EUCLEAN, BROKEN),
    ],
)
def test_file_that_cannot_be_opened_costs_nobody_the_others(
    uploads: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    (uploads / "other").write_bytes(b"other")
    refusing(monkeypatch, b"mine.png", number)
    listing, found = named(uploads, "a/b/mine.png", "other")
    assert found == {"x_files/other": b"other"}
    assert problems(listing) == {"a/b/mine.png": reason, "other": None}


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EMFILE, errno.ENOTCONN, errno.ETIMEDOUT])
def test_error_that_is_not_the_files_own_ends_the_export(
    uploads: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refusing(monkeypatch, b"mine.png", number)
    with pytest.raises(FilesUnavailable, match="uploads"):
        named(uploads, "a/b/mine.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_and_folder_that_may_not_be_read(uploads: Path) -> None:
    (uploads / "a" / "b").chmod(0)
    (uploads / "noread").write_bytes(b"x")
    (uploads / "noread").chmod(0)
    listing, found = named(uploads, "a/b/mine.png", "noread")
    (uploads / "a" / "b").chmod(0o700)
    assert (found, set(problems(listing).values())) == ({}, {NOT_READABLE})
    uploads.chmod(0)
    with pytest.raises(FilesUnavailable, match="Permission denied"):
        named(uploads, "a/b/mine.png")
    uploads.chmod(0o700)


class Failing:
    """An open file whose reading fails at some point."""

    def __init__(self, file: Any, after: int, number: int) -> None:
        self._file, self._left, self._number = file, after, number

    def read(self, size: int) -> bytes:
        if self._left <= 0:
            raise OSError(self._number, os.strerror(self._number))
        self._left -= size
        content: bytes = self._file.read(size)
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.mark.parametrize(("megabytes", "reason"), [(0, BROKEN), (1, BROKEN), (6, CUT)])
def test_disk_error_within_a_file_is_listed(
    uploads: Path, monkeypatch: pytest.MonkeyPatch, megabytes: int, reason: str
) -> None:
    """What fails early is left out; of what is on its way already the beginning stands."""
    (uploads / "big").write_bytes(b"x" * 8 * MEGABYTE)
    real = open_below

    def opened(*arguments: Any) -> Any:
        return Failing(real(*arguments), megabytes * MEGABYTE, errno.EIO)

    monkeypatch.setattr(file_folders, "open_below", opened)
    listing, found = named(uploads, "big")
    assert problems(listing) == {"big": reason}
    assert listing.left_out == 1
    assert [len(content) for content in found.values()] == (
        [6 * MEGABYTE] if megabytes == 6 else []
    )


def test_share_that_is_lost_within_a_file_ends_the_export(
    uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (uploads / "big").write_bytes(b"x" * 8 * MEGABYTE)
    real = open_below
    monkeypatch.setattr(
        file_folders, "open_below", lambda *a: Failing(real(*a), 6 * MEGABYTE, errno.ESTALE)
    )
    with pytest.raises(FilesUnavailable):
        named(uploads, "big")


@pytest.mark.parametrize(
    ("change", "size"),
    [
        (lambda path: os.truncate(path, 5 * MEGABYTE), 5 * MEGABYTE),
        (lambda path: os.truncate(path, 9 * MEGABYTE), 8 * MEGABYTE),
    ],
)
def test_file_that_changes_while_it_is_read_is_told(
    uploads: Path, change: Callable[[Path], object], size: int
) -> None:
    """It is packed no further than it was when it was opened: one that grows for ever ends."""
    path = uploads / "big"
    path.write_bytes(b"x" * 8 * MEGABYTE)
    listing = Listing("x_files")
    found = b""
    for each in named_files(listing, [("big",)], {"path": str(uploads)}):
        pieces = iter(each.chunks)
        found += next(pieces)
        change(path)
        found += b"".join(pieces)
    assert len(found) == size
    assert problems(listing) == {"big": CHANGED}
    assert (listing.included, listing.left_out) == (1, 0)


def test_checkpoint_is_called_between_files_and_within(uploads: Path) -> None:
    (uploads / "big").write_bytes(b"x" * 4 * MEGABYTE)
    calls = []

    def checkpoint() -> None:
        calls.append(1)
        if len(calls) > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        named(uploads, "big", checkpoint=checkpoint)
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        named(uploads, *(f"gone-{number}" for number in range(20)), checkpoint=checkpoint)
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        packed(function_files(Listing("x"), ((str(n), [b""]) for n in range(20)), checkpoint))


def test_folder_that_is_away_is_no_folder_without_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "share"
    with pytest.raises(FilesUnavailable, match="share cannot be read"):
        named(folder, "x")
    folder.mkdir()
    listing, _ = named(folder, "x")  # never mounted: it may well be empty
    assert problems(listing) == {"x": GONE}
    (folder / "y").touch()
    listing, _ = named(folder, "x", "y")
    assert problems(listing) == {"x": GONE, "y": None}
    # What an unmounted share leaves is an empty folder, and another one.
    folder.rename(tmp_path / "unmounted")
    folder.mkdir()
    with pytest.raises(FilesUnavailable, match="is empty"):
        named(folder, "x")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    monkeypatch.setattr(file_folders, "is_unmounted", lambda folder: folder == str(fresh))
    with pytest.raises(FilesUnavailable, match="fresh is empty"):
        named(fresh, "x")
    assert named(fresh)[1] == {}  # no row names a file


def test_is_unmounted_knows_fstab_and_units(tmp_path: Path) -> None:
    fstab, units = tmp_path / "fstab", tmp_path / "units"
    units.mkdir()
    folder = tmp_path / "my share" / "x-y"
    folder.mkdir(parents=True)

    def unmounted(at: Path) -> bool:
        return is_unmounted(str(at), fstab=fstab, units=(units,))

    assert not unmounted(folder)
    point = str(tmp_path / "my share").replace(" ", "\\040")
    fstab.write_text(f"# nas:/a {point}\nproc /proc proc\nnone none swap\n\nx\n")
    assert not unmounted(folder) and not unmounted(Path("/proc/self"))
    fstab.write_text(f"nas:/a {point}/ nfs defaults 0 0\n")
    assert unmounted(folder) and unmounted(folder.parent) and not unmounted(tmp_path)
    fstab.unlink()
    escaped = "-".join(part.replace("-", r"\x2d") for part in tmp_path.parts[1:])
    (units / rf"{escaped}-my\x20share-x\x2dy.mount").touch()
    assert unmounted(folder) and not unmounted(folder.parent)


# -- a folder of the person's own -----------------------------------------------------------------


@pytest.fixture
def persons(tmp_path: Path) -> Path:
    for key in ("42", "43"):
        (tmp_path / "u" / key / "x").mkdir(parents=True)
        (tmp_path / "u" / key / "x" / "a.png").write_bytes(key.encode())
    (tmp_path / "u" / "42" / "link").symlink_to(tmp_path / "u" / "43")
    (tmp_path / "u" / "44").symlink_to(tmp_path / "u" / "43")
    return tmp_path / "u"


def test_folder_with_the_key_holds_the_persons_files_alone(persons: Path) -> None:
    values = [
        "x/a.png", f"{persons}/42/x/a.png", "42/x/a.png", "../43/x/a.png", f"{persons}/43/x/a.png",
        "43/x/a.png", "link/x/a.png", f"{persons}/x/a.png",
    ]  # fmt: skip
    listing, found = named(persons / "{key}", *values, key=42)
    assert found == {
        "x_files/x/a.png": b"42",
        "x_files/x/2-a.png": b"42",
        "x_files/42/x/a.png": b"42",
    }
    assert [row.get("problem") for row in listing.rows] == [
        None, None, None, ELSEWHERE, ELSEWHERE, GONE, LINK, ELSEWHERE,
    ]  # fmt: skip


def test_persons_folder_that_is_absent_is_told_from_one_that_is_away(persons: Path) -> None:
    listing, found = named(persons / "{key}", "x/a.png", key=45)
    assert (found, problems(listing)) == ({}, {"x/a.png": GONE})
    listing, found = named(persons / "{key}", "x/a.png", key=44)
    assert (found, problems(listing)) == ({}, {"x/a.png": LINK})
    with pytest.raises(FilesUnavailable):
        named(persons / "none" / "{key}", "x/a.png", key=42)


@pytest.mark.parametrize(
    ("declared", "key", "folder"),
    [
        ("/srv/{key}", 42, Folder("/srv", ("42",))),
        ("/srv/u-{key}/docs", "ada@x.org", Folder("/srv", ("u-ada@x.org", "docs"))),
        ("/{key}", UUID(int=1), Folder("/", (str(UUID(int=1)),))),
        ("/srv", "../x", Folder("/srv")),
    ],
)
def test_folder_of_a_person(declared: str, key: Any, folder: Folder) -> None:
    assert Folder.of(declared, key) == folder


@pytest.mark.parametrize(
    "key",
    ["", ".", "..", "../43", "a/b", "/", "a\0b", "a\\b", "a\nb", " 42", "42 ", "42.", "a\u202eb"],
)
def test_folder_of_a_key_that_is_no_folders_name_is_refused(key: str) -> None:
    with pytest.raises(KeyNotUsable):
        Folder.of("/srv/u-{key}", key)


@pytest.mark.parametrize("declared", ["/srv/{key}/../x", "/srv/{key}//x", "/srv/{key}/."])
def test_split_refuses_a_folder_that_leads_out_of_the_persons(declared: str) -> None:
    with pytest.raises(SectionError):
        split(declared)


def test_folder_that_two_keys_share_is_refused(
    persons: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that does not tell capitals apart."""
    (persons / "ada").mkdir()
    named(persons / "{key}", "x", key="ada")
    real = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path: real(str(path).replace("ADA", "ada")))
    with pytest.raises(KeyNotUsable, match="two writings"):
        named(persons / "{key}", "x", key="ada")


# -- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "is_json", "paths"),
    [
        ("a.png", False, ["a.png"]),
        ("a.png", True, ["a.png"]),
        (["a", None, "", ["b", ["c"]]], False, ["a", "b", "c"]),
        ({"b", "a"}, False, ["a", "b"]),
        ('["a", "b"]', False, ['["a", "b"]']),
        ('["a", ["b"], null]', True, ["a", "b"]),
        ('"a"', True, ["a"]),
        ('["a", "b"', True, ['["a", "b"']),
        (r'"[\"a\", \"b\"]"', True, ["a", "b"]),
        ("[draft] a.png", True, ["[draft] a.png"]),
        ("42", True, ["42"]),
        ("null", True, ["null"]),
        (JsonText(b'["a", {"p": 1}, "b"]'), False, ["a", "b"]),
        (JsonText(b'"a"'), False, ["a"]),
        (JsonText(b"null"), False, []),
        (b"a/\xff.png", False, ["a/\udcff.png"]),
        (memoryview(b"a"), False, ["a"]),
        (bytearray("报.png".encode()), False, ["报.png"]),
        ([b"a", b"b"], False, ["a", "b"]),
        (UUID(int=1), False, [str(UUID(int=1))]),
        (None, False, []),
        ("", True, []),
        ("[]", True, []),
    ],
)
def test_values_name_paths(value: Any, is_json: bool, paths: list[str]) -> None:
    found = list(named_by(value, is_json=is_json))
    assert [each.name for each in found if each.problem is None] == paths


@pytest.mark.parametrize(
    "value",
    [
        7, 1.5, False, {"path": "a"}, JsonText(b"42"), JsonText(b"true"), JsonText(b'{"a": "b"}'),
        JsonText(b"[" * 100_000 + b"]" * 100_000), "a/" * 2048 + "b",
    ],
)  # fmt: skip
def test_value_that_is_no_path_is_listed_as_that(value: Any) -> None:
    (found,) = named_by(value, is_json=False)
    assert found.problem == NO_PATH


def test_column_of_which_parts_are_hidden_names_no_files() -> None:
    kinds = {"shown": sa.JSON(), "scans": sa.JSON()}
    require_paths("section 'x'", kinds)
    with pytest.raises(SectionError, match="parts of scans are withheld or masked"):
        require_paths("section 'x'", kinds, {"scans"})


def test_octets_open_the_file_that_they_name(uploads: Path) -> None:
    path = os.fsencode(uploads) + b"/b\xff.bin"
    with open(path, "wb") as file:
        file.write(b"octets")
    listing, found = named(uploads, b"b\xff.bin", path)
    assert list(found.values()) == [b"octets", b"octets"]
    assert [row["file"] for row in listing.rows] == ["x_files/b_.bin", "x_files/2-b_.bin"]


@pytest.mark.parametrize(
    "kind", [sa.Integer(), sa.Numeric(), sa.Boolean(), sa.DateTime(), sa.ARRAY(sa.BigInteger())]
)
def test_columns_of_numbers_and_times_hold_no_paths(kind: Any) -> None:
    with pytest.raises(SectionError, match=r"avatar holds .* not paths"):
        require_paths("section 'x'", {"avatar": kind})
    require_paths("section 'x'", {"a": sa.Text(), "b": sa.ARRAY(sa.Text()), "c": sa.JSON()})
    require_paths("section 'x'", {"a": sa.LargeBinary(), "b": sa.Uuid(), "c": sa.types.NullType()})


# -- functions ------------------------------------------------------------------------------------


def test_function_files_get_harmless_names_of_their_own() -> None:
    listing = Listing("uploads")
    names = ["x.png", "X.PNG", "../../etc/passwd", "/abs", "", ".htaccess", "Zoë ☃.pdf", "n" * 300]
    found = list(packed(function_files(listing, [(name, [b""]) for name in names])))
    assert found[:7] == [
        "uploads/x.png",
        "uploads/2-X.PNG",
        "uploads/etc/passwd",
        "uploads/abs",
        "uploads/file",
        "uploads/htaccess",
        "uploads/Zoë ☃.pdf",
    ]
    assert len(found[7]) < 120
    assert [row["name"] for row in listing.rows] == names


def failing_after(count: int, error: Exception) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x" * MEGABYTE
    raise error


@pytest.mark.parametrize(
    ("count", "error", "reason"),
    [
        (0, FileNotFoundError(errno.ENOENT, "x"), GONE),
        (0, PermissionError(errno.EACCES, "x"), NOT_READABLE),
        (0, IsADirectoryError(errno.EISDIR, "x"), NO_FILE),
        (2, OSError(errno.EIO, "x"), BROKEN),
        (6, OSError(errno.EIO, "x"), CUT),
    ],
)
def test_function_that_cannot_read_a_file_gets_the_others_packed(
    count: int, error: OSError, reason: str
) -> None:
    listing = Listing("uploads")
    files = [("a", failing_after(count, error)), ("b", iter([b"b"]))]
    found = packed(function_files(listing, files))
    assert found["uploads/b"] == b"b"
    assert problems(listing) == {"a": reason, "b": None}


def test_function_whose_store_is_away_ends_the_export() -> None:
    def none() -> Iterator[tuple[str, Iterator[bytes]]]:
        yield "a", iter([b"a"])
        raise PermissionError(errno.EACCES, "x")

    with pytest.raises(SectionFailed, match="section uploads"):
        packed(function_files(Listing("uploads"), none()))
    with pytest.raises(SectionFailed, match="section uploads"):
        packed(function_files(Listing("uploads"), [("a", failing_after(0, ConnectionError()))]))
    with pytest.raises(ZeroDivisionError):
        packed(function_files(Listing("uploads"), [("a", failing_after(0, ZeroDivisionError()))]))


# -- many -----------------------------------------------------------------------------------------


def test_list_of_many_files_takes_little_memory(uploads: Path) -> None:
    """Of 20,000 files their list took 30 MB as Python's objects."""
    count = 20_000
    listing = Listing("x_files")
    rows = (
        (f"y{number % 100}/some-longer-name-of-a-file-{number}.pdf",) for number in range(count)
    )
    tracemalloc.start()
    try:
        for _ in named_files(listing, rows, {"path": str(uploads)}):
            pass
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 150 * count
    assert listing.left_out == count
    assert len(listing.absent) == section_files._SHOWN == count - listing.absent_more
    text = b"".join(as_array(listing.rendered()))
    assert len(json.loads(text)) == count


@pytest.mark.parametrize("count", [0, 1, 5_000])
def test_row_spool_gives_rows_back_as_one_array(count: int) -> None:
    spool = RowSpool()
    for number in range(count):
        spool.add(
            {"name": f"é{number}\ud800", "digest": hashlib.sha256(b"%d" % number).hexdigest()}
        )
    found = json.loads(b"".join(as_array(spool.rows())))
    assert [row["name"] for row in found] == [f"é{number}\ud800" for number in range(count)]


@pytest.mark.parametrize("language", languages())
def test_page_has_words_for_every_reason(language: str) -> None:
    reasons = (GONE, ELSEWHERE, LINK, NO_FILE, NO_NAME, NOT_READABLE, BROKEN, CUT, ADDRESS, NO_PATH)
    assert all(f"problem.{reason}" in catalogue(language) for reason in reasons)
