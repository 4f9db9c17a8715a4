"""Whether a locked dependency has a known vulnerability, as pip-audit's report says.

    python -m tests.deploy.audit REPORT.json

pip-audit ends with 0 also when nobody answered for a package ("No known vulnerabilities found"), so
its report is read here. Exit codes: 0 all were audited and none is vulnerable; 1 one is; 75 (try
again later) there was no answer for at least one, and none of the others is vulnerable.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

NO_ANSWER: Final = 75


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


def main() -> None:
    path = Path(sys.argv[1])
    text = path.read_text() if path.exists() else ""
    try:
        code, line = verdict(json.loads(text))
    except json.JSONDecodeError:
        code, line = NO_ANSWER, "audit: NOT DONE: the vulnerability service cannot be reached"
    print(line)
    sys.exit(code)


if __name__ == "__main__":
    main()
