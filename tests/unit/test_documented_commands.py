"""Every command that a document shows exists with its options; every command shows an example."""

from __future__ import annotations

import re
from typing import Final

import click
import pytest

from backend.settings import CHECKOUT_ROOT, PREFIX, Settings
from tests.documents import PROGRAMS, call_of, calls, command_at, commands, problem

DOCUMENTS: Final = (
    "README.md",
    "deploy/RUNBOOK.md",
    "deploy/SCALING.md",
    "deploy/monitoring/README.md",
)
GROUPS: Final = [("dsar",), ("dsar-scheduler",), ("dsar", "sections")]
EVERY: Final = [path for name, group in PROGRAMS.items() for path in commands(group, (name,))]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_document_every_command_exists_with_its_options(document: str) -> None:
    shown = calls((CHECKOUT_ROOT / document).read_text())

    assert [each for call in shown if (each := problem(call))] == []


def test_documents_are_read_at_all() -> None:
    counts = {each: len(calls((CHECKOUT_ROOT / each).read_text())) for each in DOCUMENTS}

    assert counts["README.md"] > 12 and counts["deploy/RUNBOOK.md"] > 40, counts


@pytest.mark.parametrize(
    "line",
    [
        "dsar nothing",
        "dsar export",
        "dsar list --limits 3",
        "dsar list --limit nought",
        "dsar-scheduler sweep --twice | less",
        "DSAR_WORKERS=2 python -m scheduler sweep --often",
    ],
)
def test_wrong_command_in_a_document_is_found(line: str) -> None:
    (call,) = calls(f"Say `{line}`.")

    assert problem(call) is not None


@pytest.mark.parametrize("path", [*GROUPS, *EVERY], ids=" ".join)
def test_command_help_has_an_example_that_parses(path: tuple[str, ...]) -> None:
    command = command_at(path)
    assert command.help is not None
    block = re.search(r"\x08?\s*Examples?:\n((?:\s+.+\n?)+)", command.help)
    assert block is not None, f"{' '.join(path)}: no block of examples"

    shown = [call_of(line.strip()) for line in block[1].splitlines() if line.strip()]

    assert shown and None not in shown, shown
    for call in shown:
        assert call is not None and tuple(call[: len(path)]) == path
        assert problem(call) is None


def test_groups_are_all_looked_at() -> None:
    groups = {each for path in EVERY for each in (path[:number] for number in range(1, len(path)))}

    assert groups == set(GROUPS)


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_command_is_in_the_readme(path: tuple[str, ...]) -> None:
    readme = (CHECKOUT_ROOT / "README.md").read_text()

    assert path in {tuple(call[: len(path)]) for call in calls(readme)}


def test_command_options_are_all_explained() -> None:
    for path in EVERY:
        for parameter in command_at(path).params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{' '.join(path)} {parameter.opts}"


def test_readme_settings_are_those_that_are_read() -> None:
    readme = (CHECKOUT_ROOT / "README.md").read_text()
    table = readme.split("\n| `DSAR_…` | default | |\n")[1].split("\n\n")[0]
    cells = [row.split(" | ")[0] for row in table.splitlines()[1:]]

    named = [name for cell in cells for name in re.findall(r"`([A-Z_]+)`", cell)]

    assert sorted(named) == sorted(name.upper() for name in Settings.model_fields)


@pytest.mark.parametrize("document", [*DOCUMENTS, "deploy/dsar.env.example"])
def test_document_names_only_settings_that_exist(document: str) -> None:
    text = (CHECKOUT_ROOT / document).read_text()
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {"DSAR_SECRETS_DIR"}

    named = set(re.findall(r"\bDSAR_[A-Z][A-Z_]*[A-Z]\b", text))

    assert {name for name in named - known if not name.startswith("DSAR_TEST_")} == set()
