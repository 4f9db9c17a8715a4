"""Files beside rows: opened below their folder alone, under harmless names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backend.errors import StoreUnavailable
from backend.services.section_files import (
    Listing,
    PathRefused,
    function_files,
    named_files,
    open_below,
)


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "uploads"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "mine.png").write_bytes(b"mine")
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "inside").symlink_to(folder / "a")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize("path", ["a/b/mine.png", "{folder}/a/b/mine.png"])
def test_open_below_reads_a_file_of_the_folder(uploads: Path, path: str) -> None:
    with open_below(str(uploads), path.format(folder=uploads)) as file:
        assert file.read() == b"mine"


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "a/../../secret",
        "/etc/passwd",
        "{folder}/../secret",
        "{folder}secret",
        "link",
        "inside/b/mine.png",
        "pipe",
        "a",
        "a/b/mine.png/x",
        "a//b/mine.png",
        "./a/b/mine.png",
        "",
        "a\0b",
        "x" * 300,
    ],
)
def test_open_below_refuses_what_leads_elsewhere(uploads: Path, path: str) -> None:
    with pytest.raises((PathRefused, FileNotFoundError)):
        open_below(str(uploads), path.format(folder=uploads))


def test_open_below_tells_what_is_not_there(uploads: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_below(str(uploads), "a/none.png")
    with pytest.raises(StoreUnavailable, match="none"):
        open_below(str(uploads / "none"), "x")


def test_open_below_of_a_file_that_may_not_be_read_is_trouble(
    uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not the person's path that is wrong: the export must not go on without the file."""
    real = os.open

    def refusing(path: str, *args: int, **options: int) -> int:
        if path == "mine.png":
            raise PermissionError(13, "denied")
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(PermissionError):
        open_below(str(uploads), "a/b/mine.png")


def test_named_files_are_packed_once_and_the_others_told(uploads: Path) -> None:
    listing = Listing("posts_files")
    rows = [("a/b/mine.png",), (None,), ("a/b/mine.png",), ("../secret",), ("a/gone",), (7,)]
    found = [
        (each.path, b"".join(each.chunks))
        for each in named_files(listing, rows, {"picture": str(uploads)})
    ]
    assert found == [("posts_files/a/b/mine.png", b"mine")]
    assert [(row["name"], row["file"], "problem" in row) for row in listing.rows] == [
        ("a/b/mine.png", "posts_files/a/b/mine.png", False),
        ("../secret", None, True),
        ("a/gone", None, True),
    ]


def test_function_files_get_harmless_names_of_their_own() -> None:
    listing = Listing("uploads")
    names = ["x.png", "X.PNG", "../../etc/passwd", "/abs", "", ".htaccess", "Zoë ☃.pdf", "n" * 300]
    found = [each.path for each in function_files(listing, [(name, [b""]) for name in names])]
    assert found[:7] == [
        "uploads/x.png",
        "uploads/2-X.PNG",
        "uploads/etc/passwd",
        "uploads/abs",
        "uploads/file",
        "uploads/htaccess",
        "uploads/Zo_.pdf",
    ]
    assert len(found[7]) < 120
    assert [row["name"] for row in listing.rows] == names
