"""The audit of dependencies: no answer is neither good nor bad news."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from tests.deploy.audit import NO_ANSWER, check, record_of, verdict

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


LOCK = b"flask==3.1.3"
RECORD = record_of({"dependencies": [WELL]}, LOCK, date(2026, 3, 1))


@pytest.mark.parametrize(
    ("record", "lock", "day", "code", "words"),
    [
        (RECORD, LOCK, 1, 0, "of 2026-03-01, for 1 packages"),
        (RECORD, LOCK, 8, 0, "of 2026-03-01"),
        (RECORD, LOCK, 9, 1, "more than 7 days ago; run: make audit"),
        (RECORD, b"flask==3.1.4", 1, 1, "of another requirements.lock; run: make audit"),
        (None, LOCK, 1, 1, "no audit got an answer yet; run: make audit"),
    ],
)
def test_release_check_refuses_an_old_or_foreign_audit(
    record: dict[str, Any] | None, lock: bytes, day: int, code: int, words: str
) -> None:
    found, line = check(record, lock, date(2026, 3, day))

    assert found == code
    assert words in line
