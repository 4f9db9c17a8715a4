"""What must be true at every moment of a soak, looked at all the while and not at its end alone.

A wrong state that lasts a tenth of a second is a wrong state: a record that another worker's
attempt made, a link that leads to another version, a lease taken from a worker that kept it.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from backend.engines import make_control_engine
from backend.models import DSARAttempt, DSARRequest
from tests.harness import ATTEMPTS, REQUESTS, World

_PAUSE_SECONDS: Final = 0.05
# A session that was cut while a worker published may leave the link behind for a moment.
_AFTER_A_CUT_SECONDS: Final = 5.0
# A worker that reclaims deletes the lost worker's version at once; how long "at once" may take.
_DELETED_WITHIN_SECONDS: Final = 1.0
_MOST_LEFT: Final = 0.5
_FEWEST_SAMPLES: Final = 6

# What a worker sent before it died or froze may be carried out that much later.
_LAST_WORD_SECONDS: Final = 1.0

Claimed = tuple[int, int]  # a request's id, and the token of a claim of it


@dataclass
class _Still:
    """A claim's worker that is dead or frozen: since when, and the lease that it left."""

    state: str = "runs"
    since: float = 0.0
    lease: datetime | None = None
    wakings: int = -1

    def allows(self, lease: datetime, wakings: int) -> bool:
        """Whether the lease may be this. Its last word may take the server a moment."""
        if self.state == "runs" or wakings != self.wakings:
            return True
        if time.monotonic() - self.since < _LAST_WORD_SECONDS:
            return True
        self.lease = self.lease or lease
        return lease <= self.lease

    def told(self, state: str, wakings: int) -> None:
        """Take note of what the worker does; a frozen one that went on begins anew."""
        if state != self.state or wakings != self.wakings:
            self.since, self.lease = time.monotonic(), None
        self.state, self.wakings = state, wakings


class Watcher:
    """Reads database and disk on a thread of its own. ``broken`` says what was found wrong."""

    def __init__(self, world: World) -> None:
        self._engine = make_control_engine(world.database_url)
        self._engine = sa.create_engine(self._engine.url, poolclass=NullPool)
        self._exports = world.exports
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._tokens: dict[int, int] = {}
        self._leases: dict[Claimed, datetime] = {}
        self._still: dict[Claimed, _Still] = {}
        self._wakings = 0
        self._ended: set[Claimed] = set()
        self._checked: set[Claimed] = set()
        self._lost: dict[Claimed, float] = {}
        self._cut_at = 0.0
        self.samples: list[bool] = []
        self.looks = 0
        self.broken: list[str] = []

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)
        self._engine.dispose()

    def woke(self) -> None:
        """Take note that a frozen process goes on."""
        self._wakings += 1

    def cut(self) -> None:
        """Take note that sessions were cut: for a while a link may be another's."""
        self._cut_at = time.monotonic()

    def require_none_left(self) -> None:
        """Raise ``AssertionError`` where versions of lost workers were mostly left behind."""
        left = sum(self.samples)
        if len(self.samples) >= _FEWEST_SAMPLES and left > _MOST_LEFT * len(self.samples):
            raise AssertionError(f"{left} of {len(self.samples)} lost versions were not deleted")

    def _run(self) -> None:
        while not self._stopping.wait(_PAUSE_SECONDS):
            try:
                with self._engine.connect() as connection:
                    self._look(connection)
                self.looks += 1
            except sa.exc.DBAPIError:
                continue  # cut, or the server is away
            except AssertionError as error:
                self.broken.append(str(error))

    def _look(self, connection: sa.Connection) -> None:
        with connection.begin() as transaction:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            rows = connection.execute(sa.select(REQUESTS)).mappings().all()
            attempts = connection.execute(sa.select(ATTEMPTS)).mappings().all()
            transaction.rollback()
        outcomes = {(each["request_id"], each["claim_token"]): each for each in attempts}
        self._tokens_only_grow(rows)
        self._leases_are_kept(rows)
        self._live_leases_are_not_taken(outcomes)
        self._records_are_of_their_attempt(rows, outcomes)
        self._note_lost(rows, outcomes)
        for row in rows:
            if row["export_state"] == DSARRequest.EXPORT_RECORDED:
                self._version_is_there(connection, row)
                self._link_leads_there(connection, row)

    def _tokens_only_grow(self, rows: Iterable[Any]) -> None:
        for row in rows:
            before = self._tokens.get(row["id"], 0)
            assert row["claim_token"] >= before, f"the token of {row['id']} went back"
            self._tokens[row["id"]] = row["claim_token"]

    def _leases_are_kept(self, rows: Iterable[Any]) -> None:
        """Note each lease; whose worker is dead or frozen, nobody renews it."""
        for row in rows:
            lease = row["lease_expires_at"]
            if row["status"] != DSARRequest.STATUS_PROCESSING or lease is None:
                continue
            claim = (row["id"], row["claim_token"])
            self._leases[claim] = max(_aware(lease), self._leases.get(claim, _aware(lease)))
            still = self._still.setdefault(claim, _Still())
            assert still.allows(_aware(lease), self._wakings), (
                f"a lease of {claim} grew from {still.lease} to {lease}; its worker "
                f"{row['claimed_by']} {still.state}"
            )
            still.told(_state_of(row["claimed_by"]), self._wakings)

    def _live_leases_are_not_taken(self, outcomes: dict[Claimed, Any]) -> None:
        for claim, attempt in outcomes.items():
            if attempt["outcome"] != DSARAttempt.OUTCOME_LOST or claim in self._ended:
                continue
            self._ended.add(claim)
            known = self._leases.get(claim)
            taken_at = _aware(attempt["finished_at"])
            assert known is None or taken_at >= known, f"{claim} was reclaimed before its end"

    def _records_are_of_their_attempt(
        self, rows: Iterable[Any], outcomes: dict[Claimed, Any]
    ) -> None:
        for row in rows:
            if row["export_state"] != DSARRequest.EXPORT_RECORDED:
                assert row["status"] != DSARRequest.STATUS_COMPLETED, f"{row['id']}: no record"
                continue
            claim = (row["id"], row["export_claim_token"])
            outcome = outcomes[claim]["outcome"]
            assert outcome == DSARAttempt.OUTCOME_COMPLETED, f"{claim} on record is {outcome}"

    def _note_lost(self, rows: Iterable[Any], outcomes: dict[Claimed, Any]) -> None:
        now = time.monotonic()
        current = {row["id"]: row for row in rows}
        for claim, attempt in outcomes.items():
            if attempt["outcome"] == DSARAttempt.OUTCOME_LOST and claim not in self._lost:
                self._lost[claim] = now
        for claim, since in self._lost.items():
            row = current[claim[0]]
            if now - since < _DELETED_WITHIN_SECONDS or since == 0.0:
                continue
            self._lost[claim] = 0.0
            if row["claim_token"] == claim[1] and row["status"] != DSARRequest.STATUS_PROCESSING:
                self.samples.append(self._path(claim).exists())

    def _path(self, claim: Claimed) -> Path:
        return self._exports / ".versions" / f"{claim[0]}.{claim[1]}.zip"

    def _version_is_there(self, connection: sa.Connection, row: Any) -> None:
        claim = (row["id"], row["export_claim_token"])
        path = self._path(claim)
        if claim in self._checked and path.exists():
            return
        content = path.read_bytes() if path.exists() else b""
        if hashlib.sha256(content).hexdigest() != row["export_sha256"]:
            assert not _stands(connection, row), f"{path.name} is not what its record says"
            return
        self._checked.add(claim)

    def _link_leads_there(self, connection: sa.Connection, row: Any) -> None:
        """A request that nobody works on has its link; while one works, it may be on its way."""
        if row["status"] != DSARRequest.STATUS_COMPLETED:
            return
        path = self._path((row["id"], row["export_claim_token"]))
        public = self._exports / f"levqor-dsar-{row['gdpr_reference_id']}.zip"
        with suppress(FileNotFoundError):
            if public.samefile(path):
                return
        if time.monotonic() - self._cut_at > _AFTER_A_CUT_SECONDS:
            assert not _stands(connection, row), f"{public.name} is not {path.name}"


def _stands(connection: sa.Connection, row: Any) -> bool:
    """Whether the row is as it was read: what was found on the disk since is no later one's."""
    query = sa.select(REQUESTS.c.status, REQUESTS.c.claim_token).where(REQUESTS.c.id == row["id"])
    now = connection.execute(query).one()
    connection.rollback()
    return (now.status, now.claim_token) == (row["status"], row["claim_token"])


def _aware(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant


def _state_of(worker: str | None) -> str:
    """What the process of a claim does: ``runs``, ``is dead``, ``is frozen``."""
    try:
        pid = int((worker or "").rsplit(":", 1)[1])
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "is dead"
    except (IndexError, ValueError):
        return "runs"
    return {"T": "is frozen", "t": "is frozen", "Z": "is dead"}.get(state, "runs")


def frozen_of(session: int) -> list[int]:
    """The processes of a session that are stopped."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with suppress(OSError, IndexError):
            fields = Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()
            if fields[0] in "Tt" and int(fields[3]) == session:
                found.append(int(name))
    return found
