"""Whether a locked dependency has a known vulnerability, as pip-audit's report says.

    python -m tests.deploy.audit REPORT.json             reads a report
    python -m tests.deploy.audit --record REPORT.json    the same; an answer goes on record
    python -m tests.deploy.audit --check    whether the record is of this lock file, and recent

pip-audit ends with 0 also when nobody answered for a package ("No known vulnerabilities found"), so
its report is read here. Exit codes: 0 all were audited and none is vulnerable; 1 one is; 75 (try
again later) there was no answer for at least one, and none of the others is vulnerable.

The record, ``deploy/audit.json``, is committed: the last audit that got an answer for each package
and found nothing. ``--check`` exits with 1 where there is none, where it is older than a week, or
where it is of another lock file.
"""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

NO_ANSWER: Final = 75
MOST_DAYS: Final = 7
_ROOT: Final = Path(__file__).resolve().parents[2]
_LOCK: Final = _ROOT / "requirements.lock"
_RECORD: Final = _ROOT / "deploy" / "audit.json"


def verdict(report: dict[str, Any]) -> tuple[int, str]:
    """The exit code and the line that says why. ``report`` is pip-audit's JSON."""
    found = report["dependencies"]
    vulnerable = [
        f"{each['name']} {each['version']} ({', '.join(one['id'] for one in each['vulns'])})"
        for each in found
        if each.get("vulns")
    ]
    if vulnerable:
        return 1, f"audit: VULNERABLE: {'; '.join(vulnerable)}"
    silent = sum("skip_reason" in each for each in found)
    if silent or not found:
        return NO_ANSWER, (
            f"audit: NOT DONE: the vulnerability service gave no answer for {silent} of "
            f"{len(found)} packages"
        )
    return 0, f"audit: none of {len(found)} packages has a known vulnerability"


def record_of(report: dict[str, Any], lock: bytes, today: date) -> dict[str, Any]:
    """What is kept of a report that answered for every package."""
    return {
        "audited_on": today.isoformat(),
        "packages": len(report["dependencies"]),
        "lock_sha256": hashlib.sha256(lock).hexdigest(),
    }


def check(record: dict[str, Any] | None, lock: bytes, today: date) -> tuple[int, str]:
    """Whether a release may rely on the record: exit code and the line that says why."""
    remedy = (
        "run: make audit, where the vulnerability service can be reached, and commit its record"
    )
    if record is None:
        return 1, f"audit: no audit got an answer yet; {remedy}"
    done = date.fromisoformat(record["audited_on"])
    told = f"audit: the last one with an answer is of {done}"
    if record["lock_sha256"] != hashlib.sha256(lock).hexdigest():
        return 1, f"{told}, and of another requirements.lock; {remedy}"
    if today - done > timedelta(days=MOST_DAYS):
        return 1, f"{told}, more than {MOST_DAYS} days ago; {remedy}"
    return 0, f"{told}, for {record['packages']} packages"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    assert isinstance(found, dict)
    return found


def main(arguments: list[str]) -> int:
    """Print the line and return the exit code."""
    today = datetime.now(UTC).date()
    if arguments == ["--check"]:
        code, line = check(_read(_RECORD), _LOCK.read_bytes(), today)
        print(line)
        return code
    *options, path = arguments
    report = _read(Path(path))
    if report is None:
        print("audit: NOT DONE: the vulnerability service cannot be reached")
        return NO_ANSWER
    code, line = verdict(report)
    if code == 0 and options == ["--record"]:
        record = record_of(report, _LOCK.read_bytes(), today)
        _RECORD.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    print(line)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
