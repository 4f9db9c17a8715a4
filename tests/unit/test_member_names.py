"""Names of members: taken by Windows, macOS and Linux, and of one file each on all of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
import unicodedata
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.services.archive import root_folder
from backend.services.digest_set import DigestSet
from backend.services.member_names import (
    PATH_LENGTH,
    Places,
    TakenNames,
    folded,
    is_portable,
    portable,
    width,
)

# Explorer's: of the path that Windows knows a file by, the folder included that it is unpacked to.
_EXPLORER: int = 259
_DOWNLOADS = "C:\\Users\\somebody\\Downloads\\"
_DEVICES = {
    *("CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"),
    *(f"{kind}{digit}" for kind in ("COM", "LPT") for digit in "0123456789¹²³"),
}

# Characters that somebody's names are made of, and those that make trouble, often.
_TROUBLE = (
    '<>:"|?*\\/\0\x1f\x7f .~1aAbB'
    "\u0131\u0130ıİßẞſKk\u212aéÉe\u0301\u0323µμςσΣǅ\u202e\u200d\ufe0f\u115f\u3164"
    "\ud800\udc80\ue000\u0378\u2028\u00a0\u3000報告😀ﬁﬀ\u0345ΑαᾳᾼÅ\u212b한\u1112\u1161\u11ab-_()"
)
NAMES = st.text(st.sampled_from(_TROUBLE) | st.characters(), max_size=80) | st.sampled_from(
    [*sorted(_DEVICES), "con.txt", "Aux .x", "nul.tar.gz", "com¹.log", "LONGFI~1.TXT", "a/b", "a"]
)


def windows_refuses(part: str) -> bool:
    """Whether Explorer and the Win32 functions refuse, or quietly change, a name."""
    device = part.split(".", maxsplit=1)[0].rstrip(" ").upper()
    return (
        re.search(r'[<>:"|?*\\/\x00-\x1f]', part) is not None
        or part[-1:] in ("", ".", " ")
        or part[0] == " "
        or device in _DEVICES
        or width(part) > 255
    )


def same_somewhere(left: str, right: str) -> bool:
    """Whether some file system takes two paths for one."""

    def forms(path: str) -> set[str]:
        seen = re.sub("[\ufe00-\ufe0f\u200d\u115f\u3164]", "", path)
        found = {path, seen}
        for form in ("NFC", "NFD"):
            found |= {unicodedata.normalize(form, each) for each in tuple(found)}
        found |= {change(e) for e in tuple(found) for change in (str.lower, str.upper)}
        return {each.casefold() for each in found}

    return bool(forms(left) & forms(right))


@given(st.lists(NAMES, max_size=12))
def test_places_hold_on_every_system(names: list[str]) -> None:
    places, again = Places("docs_files"), Places("docs_files")
    found = [places.place(name) for name in names]
    assert found == [again.place(name) for name in names]
    parents = set()
    for path in found:
        assert path.startswith("docs_files/") and is_portable(path)
        assert width(path) <= PATH_LENGTH
        parts = path.split("/")
        assert not any(map(windows_refuses, parts))
        assert all(len(part.encode()) <= 255 and part not in (".", "..") for part in parts)
        assert unicodedata.normalize("NFC", path) == path
        assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Cn", "Zl") for c in path)
        parents |= {"/".join(parts[:end]) for end in range(1, len(parts))}
    for place, path in enumerate(found):
        assert not any(same_somewhere(path, other) for other in found[:place])
        assert not any(same_somewhere(path, parent) for parent in parents)


@given(NAMES)
def test_portable_leaves_its_own_names_alone_and_folded_knows_all_writings(name: str) -> None:
    assert portable(portable(name)) == portable(name)
    bare = name.encode("utf-8", "replace").decode()
    for change in (
        str.upper,
        str.lower,
        str.casefold,
        lambda text: unicodedata.normalize("NFC", text),
        lambda text: unicodedata.normalize("NFD", text),
    ):
        assert folded(change(bare)) == folded(bare)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("報告.pdf", "報告.pdf"),
        ("Zoë's photo.png", "Zoë's photo.png"),
        ("Отчёт за май.doc", "Отчёт за май.doc"),
        ("Zoe\u0308.png", "Zoë.png"),
        ("con.txt", "_con.txt"),
        ("Aux", "_Aux"),
        ("nul .tar.gz", "_nul .tar.gz"),
        ("COM¹", "_COM¹"),
        ("conin$", "_conin$"),
        ("console.txt", "console.txt"),
        ("report.", "report"),
        (" a . ", "a"),
        ("...", "file"),
        ("", "file"),
        (".htaccess", "htaccess"),
        ("C:\\Users\\x.png", "C__Users_x.png"),
        ("/etc/passwd", "etc/passwd"),
        ("../../x", "x"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("PROGRA~1.TXT", "PROGRA_1.TXT"),
        ("a\0b\nc", "a_b_c"),
        ("\udcff.png", "_.png"),
    ],
)
def test_place_keeps_what_every_system_takes(name: str, path: str) -> None:
    assert Places("x").place(name) == f"x/{path}"


@pytest.mark.parametrize(
    "names",
    [
        ["x.png", "X.PNG"],
        ["é.txt", "e\u0301.txt"],
        ["straße", "STRASSE", "strasse", "straẞe"],
        ["ı.txt", "I.txt", "i.txt"],
        ["K", "\u212a"],
        ["a", "a/b", "A/c", "a/b/c"],
        ["a/b", "A", "a"],
        ["a?b", "a*b/c", "a_b"],
        ["con", "_con", "con/x"],
        ["x\u200dy", "xy"],
        ["❤\ufe0f", "❤"],
        ["n" * 300 + ".pdf", "n" * 301 + ".pdf", "n" * 300 + "/x"],
        ["2-x", "3-x", "x", "x", "x"],
    ],
)
def test_places_of_names_that_are_one_somewhere_differ(names: list[str], tmp_path: Path) -> None:
    places = Places("x")
    found = [places.place(name) for name in names]
    folders = {str(above) for path in found for above in Path(path).parents} - {"."}
    for place, path in enumerate(found):
        assert not any(same_somewhere(path, other) for other in (*found[:place], *folders))
        # No file is where a folder is to be made.
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch(exist_ok=False)


def test_place_of_a_long_path_keeps_the_name_and_its_ending() -> None:
    name = f"{'x' * 100}/{'y' * 100}/{'z' * 96}.pdf"
    path = Places("docs_files").place(name)
    assert path.startswith("docs_files/zzzzz") and path.endswith("~.pdf")
    root = root_folder("R" * 100, datetime(2026, 1, 2, tzinfo=UTC))
    assert width(f"{_DOWNLOADS}{root}/{path}") <= _EXPLORER
    longest = Places(f"{'s' * 64}_files").place(name)
    assert width(f"{_DOWNLOADS}{root}/{longest}") <= _EXPLORER
    assert longest.endswith("~.pdf")
    assert Places("x").place("a/b/c/d.txt") == "x/a/b/c/d.txt"


def test_places_of_one_name_take_time_that_grows_with_their_number() -> None:
    """A counter is not begun anew: the first of 50,000 names took milliseconds, the last too."""

    def seconds(count: int) -> float:
        places, start = Places("x"), time.process_time()
        found = {places.place("image.png") for _ in range(count)}
        assert len(found) == count
        return time.process_time() - start

    small, large = seconds(1_000), seconds(16_000)
    assert large < 16 * small * 4


def test_taken_names_refuse_a_file_for_a_folder_and_a_folder_for_a_file() -> None:
    taken = TakenNames()
    assert taken.take("a/b/c")
    assert not taken.take("A/B") and not taken.take("a") and not taken.take("a/b/C")
    assert taken.take("a/x") and not taken.take("a/X/y/z")
    assert taken.take("a/b/d")


@given(st.lists(st.text()))
def test_digest_set_is_a_set(texts: list[str]) -> None:
    digests, plain = DigestSet(), set[str]()
    for text in texts:
        assert (text in digests) == (text in plain)
        assert digests.add(text) == (text not in plain)
        plain.add(text)
    assert len(digests) == len(plain)


def test_digest_set_grows() -> None:
    digests = DigestSet()
    assert all(digests.add(str(number)) for number in range(5_000))
    assert not any(digests.add(str(number)) for number in range(5_000))
    assert "5000" not in digests


@pytest.mark.parametrize(
    "command",
    [
        ["unzip", "-q", "{archive}", "-d", "{folder}"],
        ["7z", "x", "-bd", "-o{folder}", "{archive}"],
        ["bsdtar", "-xf", "{archive}", "-C", "{folder}"],
        [sys.executable, "-m", "zipfile", "-e", "{archive}", "{folder}"],
        ["jar", "-xf", "{archive}"],
    ],
)
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_programs_unpack_every_file(command: list[str], locale: str, tmp_path: Path) -> None:
    program = shutil.which(command[0])
    if program is None:
        pytest.skip(f"{command[0]} is not installed")
    if (command[0], locale) == ("bsdtar", "C"):
        pytest.skip("it reads no letters past ASCII in this locale, and says so")
    names = ["a b", "a_b/c.txt", "a", "a/b", "con.txt", "report.", "Aux", "報" * 100 + ".pdf"]
    names += ["é", "e\u0301", "x" * 300, "%", "#1", "-rf", "a\nb", "\udcff"]
    places = Places("docs_files")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            archive.writestr(places.place(name), name.encode("utf-8", "replace"))
    folder = tmp_path / "unpacked"
    folder.mkdir()
    done = subprocess.run(
        [each.format(archive=tmp_path / "a.zip", folder=folder) for each in command],
        check=False,
        cwd=folder,
        env={"LC_ALL": locale, "PATH": str(Path(program).parent)},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = sorted(each.read_bytes() for each in folder.rglob("*") if each.is_file())
    assert found == sorted(name.encode("utf-8", "replace") for name in names)
