"""A sections.toml is refused by file, section and key, with what to do about it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backend.errors import SectionError
from backend.services.sections import EXPORTED, FACT_NAMES, Exported, Masked, Withheld
from backend.services.sections_file import (
    Deleted,
    ExemptEntry,
    Mask,
    SectionEntry,
    SectionsFile,
    SubjectEntry,
    read_sections_file,
)
from backend.settings import CHECKOUT_ROOT

HEAD = """
version = 1
[subject]
table = "people"
key = "id"
"""
SECTION = """
[[section]]
name = "notes"
table = "notes"
owner = ["a", { column = "p", path = [
  '"my id" = "other base"."my notes".nr, x = "other base"."my notes".y',
] }]
exported = ["a", "tree"]
withheld = { pin = "credential" }
masked = { b = "another person", c = { reason = "r", unless_own = "a" } }
json.tree.withheld = { "x.*" = "credential" }
json.tree.masked = { "y" = "another person", "z" = { reason = "r", unless_own = "a" } }
"""


def read(folder: Path, text: str) -> object:
    path = folder / "sections.toml"
    path.write_text(text, "utf-8")
    return read_sections_file(path)


def test_file_says_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "sections.toml"
    path.write_text(HEAD + SECTION, "utf-8")
    (section,) = read_sections_file(path).section
    assert section.owner[0].column == "a"
    (join,) = section.owner[1].path
    assert join.table == ("other base", "my notes")
    assert join.pairs == (("my id", "nr"), ("x", "y"))
    assert section.dispositions() == {
        "a": EXPORTED,
        "tree": Exported(
            {"x.*": Withheld("credential"), "y": Masked("another person"), "z": Masked("r", "a")},
            as_json=True,
        ),
        "pin": Withheld("credential"),
        "b": Masked("another person"),
        "c": Masked("r", "a"),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = ", ["not TOML"]),
        ("version = 2\n" + HEAD.replace("version = 1", ""), ["version"]),
        ("[subject]\ntable = 'people'\nkey = 'id'", ["version", "missing"]),
        ("version = 1\n[subject]\ntable = 'people'\n", ["subject.key", "missing"]),
        (HEAD + 'tabel = "x"\n', ["subject", "'tabel'", "'table' meant"]),
        (HEAD + "[colour]\n", ["'colour'", "known are", "section"]),
        (HEAD + SECTION.replace("withheld = {", "witheld = {", 1), ["notes", "'witheld'"]),
        (HEAD + SECTION.replace('name = "notes"', ""), ["section 'notes'", "name", "missing"]),
        (HEAD + SECTION.replace('"notes"\nt', '"../x"\nt'), ["cannot be a section's name"]),
        (HEAD + SECTION.replace('"notes"\nt', '"con"\nt'), ["'con' cannot be a section's name"]),
        (HEAD + SECTION.replace('"notes"\nt', '"lpt1"\nt'), ["what Windows reserves"]),
        (HEAD + SECTION.replace('"notes"\ntable', '"meta"\ntable'), ["cannot be a section's name"]),
        (HEAD + SECTION + SECTION, ["two sections are named notes"]),
        (HEAD + SECTION.replace("pin =", "a ="), ["section 'notes'", "'a'", "twice"]),
        (HEAD + SECTION.replace('"a", "tree"', '"a"'), ["section 'notes'", "json", "tree"]),
        (HEAD + SECTION.replace(".nr", ""), ["section 'notes'", "owner", "no join"]),
        (HEAD + SECTION.replace("\"other base\".\"my notes\".y'", "z.y'"), ["no join"]),
        (HEAD + SECTION.replace("path = [", "path = 3, x = ["), ["'x'", "column"]),
        (HEAD + SECTION.replace('"a", {', "3, {"), ["section 'notes'", "owner"]),
        (HEAD + SECTION.replace('{ reason = "r",', "{"), ["section 'notes'", "reason", "missing"]),
        (HEAD + SECTION.replace('"credential" }', "7 }", 1), ["section 'notes'", "withheld.pin"]),
        (HEAD + SECTION + '[section.facts]\npurpos = "x"\n', ["'purpos'", "'purpose' meant"]),
        (HEAD + "[facts]\npurpose = 3\n", ["facts", "purpose", "text"]),
        (HEAD + SECTION + "title = 3\n", ["notes", "title", "text"]),
        (HEAD + SECTION + "labels.a = { de = 3 }\n", ["notes", "labels", "text"]),
        (HEAD + "[[exempt]]\ntable = 'x'\n", ["exempt 'x'", "reason", "missing"]),
    ],
)  # fmt: skip
def test_file_that_is_wrong_is_refused_by_name(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(SectionError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert str(tmp_path / "sections.toml") in message
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_file_that_is_not_there_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(SectionError, match=r"DSAR_SECTIONS_FILE.*sections draft"):
        read_sections_file(tmp_path / "none.toml")


def test_readme_documents_every_key_of_the_file() -> None:
    text = (CHECKOUT_ROOT / "README.md").read_text("utf-8")
    table = text.partition("| `version` | 1 |")[2].partition("\n\n")[0]
    models = (SectionsFile, SubjectEntry, SectionEntry, Mask, Deleted, ExemptEntry)
    keys = {each.alias or name for model in models for name, each in model.model_fields.items()}
    keys |= set(FACT_NAMES)
    keys -= {"version"}
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", table)] == []
