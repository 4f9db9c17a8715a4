"""Keeping a claim while its export runs: renewals on a thread of their own.

The export asks ``checkpoint`` between chunks whether it may go on. Python cannot stop a thread
that hangs, so what is past its deadline and a grace is handed to ``on_hang``: in the scheduler's
processes that is a hard exit, after which the lease runs out and a supervisor starts another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from backend.clock import Clock
from backend.errors import DeadlineExceeded, Drained, LeaseLost
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
        self._lost = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="dsar-lease", daemon=True)

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        # A renewal under way may hold this up by its statement timeout, no longer.
        self._thread.join()

    def checkpoint(self) -> None:
        """Raise when the export must stop here.

        ``LeaseLost``: the claim is no longer ours, or could not be renewed in time;
        ``DeadlineExceeded``; ``Drained``: the process was asked to stop and its grace is over.
        """
        now = self._clock.monotonic()
        if self._lost or now - self._renewed_at > self._lease_seconds:
            raise LeaseLost("the lease could not be renewed in time")
        if now > self._deadline:
            raise DeadlineExceeded(
                "the export ran past DSAR_EXPORT_TIMEOUT_SECONDS; raise it for so much data"
            )
        if self._watch.must_stop():
            raise Drained("the process was asked to stop")

    def _keep(self) -> None:
        while not self._stopped.wait(self._lease_seconds / _RENEWALS_PER_LEASE):
            now = self._clock.monotonic()
            if now > self._deadline:
                self._look_for_hang(now)
            elif not self._lost:
                self._renew(now)

    def _renew(self, now: float) -> None:
        try:
            self._claims.renew(self._claim)
        except LeaseLost:
            self._lost = True
            log.warning("lease_lost", **_ids(self._claim))
        except Exception as error:
            # Whatever it was, the next renewal may work; checkpoint counts the time.
            log.warning(
                "lease_not_renewed",
                error_code=getattr(error, "code", "unexpected_error"),
                error_class=type(error).__name__,
                **_ids(self._claim),
            )
        else:
            # The moment before the statement: the lease the database wrote is no shorter.
            self._renewed_at = now

    def _look_for_hang(self, now: float) -> None:
        if self._watch.on_hang is not None and now > self._hung_at:
            log.error("export_hung", **_ids(self._claim))
            self._watch.on_hang()


def _ids(claim: Claim) -> dict[str, int]:
    return {"request_id": claim.request_id, "claim_token": claim.token}
