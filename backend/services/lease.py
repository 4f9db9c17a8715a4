"""Keeping a claim while its export runs: renewals on another thread.

The export asks ``checkpoint`` between chunks whether it may go on. Python cannot stop a thread
that hangs, so what is past its deadline and a grace is handed to ``on_hang``: in the scheduler's
processes that is a hard exit, after which the lease runs out and a supervisor starts another.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from backend.clock import Clock
from backend.errors import DeadlineExceeded, Drained, LeaseLost, Superseded, WrongSubject
from backend.failures import class_of, failure_of
from backend.logs import get_logger
from backend.services.claims import Claims
from backend.services.request_rows import Claim

log = get_logger(__name__)

# A quarter: three renewals may fail before the lease is in danger.
_RENEWALS_PER_LEASE: Final = 4
# Past its deadline an export has this long to reach a checkpoint, or as long as its whole time was.
HANG_GRACE_SECONDS: Final = 30.0


def _nothing() -> None:
    """Do nothing."""


def _no() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Watch:
    """How whoever runs an export follows and stops it.

    ``must_stop`` is asked at every checkpoint; ``progress`` is told there (section, rows so far);
    ``on_hang`` is called, on another thread, for an export that is past its deadline and a grace
    (None: nothing is done, and the lease runs out by itself).
    """

    must_stop: Callable[[], bool] = _no
    progress: Callable[[str, int], None] = lambda section, rows: None
    on_hang: Callable[[], None] | None = None


UNWATCHED: Final = Watch()


class LeaseKeeper:
    """Renews a claim from entering to leaving the ``with`` block, unless past the deadline."""

    def __init__(
        self,
        claims: Claims,
        claim: Claim,
        clock: Clock,
        watch: Watch,
        *,
        lease_seconds: float,
        timeout_seconds: float,
    ) -> None:
        self._claims = claims
        self._claim = claim
        self._clock = clock
        self._watch = watch
        self._lease_seconds = lease_seconds
        self._renewed_at = clock.monotonic()
        self._deadline = self._renewed_at + timeout_seconds
        self._hung_at = self._deadline + min(HANG_GRACE_SECONDS, timeout_seconds)
        self._lost: Superseded | WrongSubject | None = None
        self._renewer: _Renewer | None = None
        self.due_at = 0.0

    def __enter__(self) -> LeaseKeeper:
        self._wait()
        self._renewer = _idle_renewer()
        self._renewer.keep(self)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._renewer is not None
        self._renewer.leave()
        _idle.append(self._renewer)

    def checkpoint(self) -> None:
        """Raise when the export must stop here.

        ``Superseded``: the claim is no longer ours; ``WrongSubject``: its row names another person
        or reference by now; ``LeaseLost``: it could not be renewed in
        time; ``DeadlineExceeded``; ``Drained``: the process was asked to stop and its grace is
        over.
        """
        now = self._clock.monotonic()
        if self._lost is not None:
            raise self._lost
        if now - self._renewed_at > self._lease_seconds:
            raise LeaseLost("the lease could not be renewed in time")
        if now > self._deadline:
            raise DeadlineExceeded(
                "the export ran past DSAR_EXPORT_TIMEOUT_SECONDS; raise it for so much data"
            )
        if self._watch.must_stop():
            raise Drained("the process was asked to stop")

    def _wait(self) -> None:
        self.due_at = time.monotonic() + self._lease_seconds / _RENEWALS_PER_LEASE

    def look(self) -> None:
        """Renew the lease, or see whether the work hangs; for the renewer."""
        self._wait()
        now = self._clock.monotonic()
        if now > self._deadline:
            self._look_for_hang(now)
        elif self._lost is None:
            self._renew(now)

    def _renew(self, now: float) -> None:
        try:
            self._claims.renew(self._claim)
        except (Superseded, WrongSubject) as lost:
            self._lost = lost
            log.warning("claim_superseded", error_code=lost.code, **_ids(self._claim))
        except Exception as error:
            # Whatever it was, the next renewal may work; checkpoint counts the time.
            log.warning(
                "lease_not_renewed",
                error_code=failure_of(error).code,
                error_class=class_of(error),
                **_ids(self._claim),
            )
        else:
            # The moment before the statement: the lease the database wrote is no shorter.
            self._renewed_at = now

    def _look_for_hang(self, now: float) -> None:
        if self._watch.on_hang is not None and now > self._hung_at:
            log.error("export_hung", **_ids(self._claim))
            self._watch.on_hang()


class _Renewer:
    """A thread that looks after one keeper at a time, and after the next one when that has left.

    To start a thread for each export and to wait for its end costs two changes of threads, 0.3 ms
    of a small person's export. This one is not even woken for the next keeper: it looks around when
    the last one's renewal would have been due.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._keeper: LeaseKeeper | None = None
        self._looks_at = 0.0
        threading.Thread(target=self._run, name="dsar-lease", daemon=True).start()

    def keep(self, keeper: LeaseKeeper) -> None:
        with self._changed:
            self._keeper = keeper
            if keeper.due_at < self._looks_at:
                self._changed.notify()

    def leave(self) -> None:
        """Forget the keeper. A renewal under way may hold this up by its statement timeout."""
        with self._changed:
            self._keeper = None

    def _run(self) -> None:
        with self._changed:
            while True:
                keeper = self._keeper
                self._looks_at = math.inf if keeper is None else keeper.due_at
                if keeper is None:
                    self._changed.wait()
                elif (seconds := keeper.due_at - time.monotonic()) > 0:
                    self._changed.wait(seconds)
                else:
                    keeper.look()


# Those that no export needs at the moment: as many are made as run at once in this process.
_idle: Final[list[_Renewer]] = []
# A forked process has the objects, but not their threads.
os.register_at_fork(after_in_child=_idle.clear)


def _idle_renewer() -> _Renewer:
    try:
        return _idle.pop()
    except IndexError:
        return _Renewer()


def _ids(claim: Claim) -> dict[str, int]:
    return {"request_id": claim.request_id, "claim_token": claim.token}
