"""The audit of dependencies: no answer is neither good nor bad news."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.audit import NO_ANSWER, verdict

WELL: dict[str, Any] = {"name": "flask", "version": "3.1.3", "vulns": []}
ILL: dict[str, Any] = {"name": "jinja2", "version": "3.0", "vulns": [{"id": "CVE-2026-1"}]}
SILENT: dict[str, Any] = {"name": "rich", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("dependencies", "code", "words"),
    [
        ([WELL], 0, "none of 1 packages"),
        ([WELL, ILL], 1, "VULNERABLE: jinja2 3.0 (CVE-2026-1)"),
        ([SILENT, ILL], 1, "jinja2"),
        ([WELL, SILENT], NO_ANSWER, "NOT DONE: the vulnerability service gave no answer for 1 of"),
        ([], NO_ANSWER, "NOT DONE"),
    ],
)
def test_verdict_of_a_report(dependencies: list[dict[str, Any]], code: int, words: str) -> None:
    found, line = verdict({"dependencies": dependencies, "fixes": []})

    assert found == code
    assert words in line
