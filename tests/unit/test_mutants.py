"""The list of mutants fits the program, and the one who runs it sees a survivor."""

from __future__ import annotations

import os
import tomllib
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.mutants import LISTS, ROOT, ListError, Mutant, read_lists, tenth
from tests.mutants.__main__ import COPIED, survey


def test_every_mutant_is_of_a_text_that_is_there_once_and_names_tests_that_are() -> None:
    mutants = read_lists()
    assert len(mutants) >= 100
    for mutant in mutants:
        mutant.changed(ROOT)
        for test in mutant.tests:
            path, _, rest = test.partition("::")
            name = rest.split("::")[-1].partition("[")[0]
            source = (ROOT / path).read_text(encoding="utf-8")
            assert not name or f"def {name}(" in source, f"{mutant.name}: {test}"


def test_tenth_comes_to_every_mutant_within_ten_days() -> None:
    mutants = read_lists()
    first = date(2026, 12, 27)
    tenths = [tenth(mutants, first + timedelta(days=day)) for day in range(14)]
    assert {each.name for each in mutants} == {each.name for some in tenths for each in some}
    assert max(map(len, tenths)) <= len(mutants) // 10 + 1


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A program of one guard, with a test that notices one half of it."""
    root = tmp_path / "tree"
    for name in COPIED[:3]:
        (root / name).mkdir(parents=True)
    (root / "backend" / "__init__.py").write_text("def ok(n):\n    return n > 0 and n < 9\n")
    (root / "tests" / "test_ok.py").write_text(
        "from backend import ok\n\ndef test_ok():\n    assert ok(1) and not ok(0)\n"
    )
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    return root


def mutant(name: str, was: str, becomes: str) -> Mutant:
    return Mutant(name, "backend/__init__.py", was, becomes, ("tests/test_ok.py",))


def test_survey_tells_the_noticed_from_the_survivor_and_leaves_the_tree_alone(
    tree: Path, tmp_path: Path
) -> None:
    before = (tree / "backend" / "__init__.py").read_text()
    found = survey(
        tree,
        [mutant("noticed", "n > 0", "n >= 0"), mutant("survivor", "n < 9", "n < 99")],
        tmp_path / "copies",
        os.environ,
    )
    assert [(each.mutant.name, each.noticed_by) for each in found] == [
        ("noticed", "tests/test_ok.py::test_ok"),
        ("survivor", None),
    ]
    assert (tree / "backend" / "__init__.py").read_text() == before
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["pristine"]


def test_survey_of_tests_that_fail_anyhow_is_refused(tree: Path, tmp_path: Path) -> None:
    (tree / "tests" / "test_ok.py").write_text("def test_ok():\n    assert False\n")
    with pytest.raises(ListError, match="without a change"):
        survey(tree, [mutant("m", "n > 0", "n > 1")], tmp_path / "copies", os.environ)


@pytest.mark.parametrize("was", ["gone", "n "])
def test_mutant_whose_text_is_not_there_once_is_named(tree: Path, was: str) -> None:
    with pytest.raises(ListError, match=r"rotten.*not once"):
        mutant("rotten", was, "x").apply(tree)


def test_mutant_that_is_no_python_is_refused(tree: Path) -> None:
    with pytest.raises(ListError, match=r"broken.*not Python"):
        mutant("broken", "return", "retrun").apply(tree)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("was = 'x'\nbecomes = 'x'", "no change"),
        ("was = 'x'", r"missing \['becomes'\]"),
        ("was = 'x'\nbecomes = 'y'\nfiel = 'z'", r"unknown \['fiel'\]"),
        ("was = 'x'\nbecomes = 'y'\ntests = []", "without tests"),
        ("was = 'x'\nbecomes = 'y'\n[[mutant]]\nname = 'a'\nwas = '1'\nbecomes = '2'", "than one"),
    ],
)
def test_list_that_is_wrong_is_refused(tmp_path: Path, line: str, words: str) -> None:
    text = f"file = 'f'\ntests = ['t']\n[[mutant]]\nname = 'a'\n{line}\n"
    tomllib.loads(text)
    (tmp_path / "list.toml").write_text(text)
    with pytest.raises(ListError, match=words):
        read_lists(tmp_path)


def test_lists_lie_beside_their_reader() -> None:
    assert {path.suffix for path in LISTS.iterdir() if path.is_file()} == {".py", ".toml"}
