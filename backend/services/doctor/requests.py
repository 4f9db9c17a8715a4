"""The requests: stuck, failed, nearly due; and whether anybody sweeps."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from backend.extensions import Runtime
from backend.heartbeat import STALE_SECONDS, HeartbeatFile
from backend.models import DSARRequest
from backend.services.control import Controller
from backend.services.doctor.checks import Check, bad, ok, warn
from backend.services.metrics import read_state
from backend.services.request_rows import REQUESTS, expired

# Two sweeps by the default schedule, and some.
_UNSWEPT: Final = timedelta(minutes=15)


def requests(runtime: Runtime) -> Iterator[Check]:
    """What a person must look at."""
    control = Controller(runtime.control, runtime.clock)
    state = read_state(control)
    failed = state.requests[DSARRequest.STATUS_FAILED]
    if state.overdue:
        yield bad("deadlines", f"{state.overdue} overdue", "see which, and why: dsar list")
    elif state.nearly_due:
        yield warn("deadlines", f"{state.nearly_due} nearly due", "see which: dsar list")
    else:
        yield ok("deadlines", "nothing is overdue or nearly due")
    if failed:
        yield warn("failed requests", f"{failed} failed for good", "dsar list --status failed")
    else:
        yield ok("failed requests", "none")


def sweeping(runtime: Runtime) -> Iterator[Check]:
    """Whether what is due gets its turn, and leases that ran out are taken over."""
    control = Controller(runtime.control, runtime.clock)
    unclaimed, lost = control.read(lambda connection: _waiting(control, connection))
    remedy = "systemctl status dsar-scheduler; by hand: dsar-scheduler sweep --once"
    if lost:
        yield warn("leases", f"{lost} ran out and were not taken over yet", remedy)
    else:
        yield ok("leases", "none has run out")
    minutes = int(_UNSWEPT.total_seconds() // 60)
    if unclaimed:
        what = "1 request has" if unclaimed == 1 else f"{unclaimed} requests have"
        yield bad("sweeps", f"{what} been due for over {minutes} minutes", remedy)
    else:
        yield ok("sweeps", f"nothing has been due for over {minutes} minutes")


def _waiting(control: Controller, connection: Connection) -> tuple[int, int]:
    r = REQUESTS.c
    now = control.now(connection)
    before = now - _UNSWEPT
    # The later counts. Of a row that another program inserted only receipt is known: it is due
    # since 1970.
    due = (r.next_attempt_at < before, r.requested_at < before)
    unclaimed = sa.select(sa.func.count()).where(r.status == DSARRequest.STATUS_PENDING, *due)
    lost = sa.select(sa.func.count()).where(expired(now))
    return (
        int(connection.execute(unclaimed).scalar_one()),
        int(connection.execute(lost).scalar_one()),
    )


def heartbeat(runtime: Runtime) -> Iterator[Check]:
    """Whether the scheduler on this machine lives."""
    path = runtime.settings.heartbeat_path
    age = HeartbeatFile(path).age_seconds()
    if age is None:
        yield warn(
            "scheduler",
            f"none runs on this machine ({path} is not there)",
            "nothing, if a timer or another machine sweeps; else: systemctl start dsar-scheduler",
        )
    elif age > STALE_SECONDS:
        yield bad(
            "scheduler",
            f"its heartbeat is {age:.0f} s old: it is stuck, or was killed",
            "systemctl restart dsar-scheduler",
        )
    else:
        yield ok("scheduler", f"its heartbeat is {age:.0f} s old")
