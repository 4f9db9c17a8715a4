"""The two entry points, and one attempt at one request as visible phases.

::

    claim ─▶ build (collect, pack, stage) ─▶ check ─▶ record (publish, COMMIT) ─▶ tidy
               │ anything that goes wrong
               └─▶ delete what was staged ─▶ released | retried | failed | superseded
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy.exc import DBAPIError

from backend.errors import (
    BadReference,
    DatabaseBusy,
    DatabaseUnreachable,
    DSARError,
    OutcomeUnknown,
    Superseded,
)
from backend.extensions import current_runtime, current_session
from backend.failures import Failure, Kind, explain, failure_of
from backend.logs import get_logger
from backend.models import DSARAttempt
from backend.references import is_usable_reference
from backend.services import session_guard
from backend.services.archive import Packed
from backend.services.assembly import Services, worker_name
from backend.services.claiming import Following
from backend.services.claims import Disposal
from backend.services.dsar_collectors import collection
from backend.services.encryption import encrypted
from backend.services.export_store import ADOPTED_TOKEN, Version, Written
from backend.services.file_folders import still_away
from backend.services.lease import UNWATCHED, LeaseKeeper, Watch
from backend.services.own_request import subject_of
from backend.services.ownership import require_own_root
from backend.services.packing import build_archive, pack
from backend.services.refusals import refused, schema_error
from backend.services.request_rows import Claim
from backend.services.surroundings import trouble_around

log = get_logger(__name__)

# Earlier tokens of a request whose files are deleted by name when a newer one is recorded; what
# is older still is a leftover that ``prune`` finds.
_EARLIER_TOKENS: Final = 16
# Between two looks at a database that has gone away.
_PAUSE_SECONDS: Final = 0.5


def build_dsar_zip_bytes(user_id: Any, reference_id: str | None) -> tuple[bytes, dict[str, Any]]:
    """Build a person's archive in memory; touches no row and no file, and may be repeated.

    Returns the ZIP and its meta dict: what ``meta.json`` holds, and ``zip_bytes`` (the size).
    Memory grows with the person's data; ``persist_dsar_export`` uses the same writer onto a file.
    Needs an application context. Raises what ``collect_all_user_data`` raises, and
    ``BadReference``.
    """
    if reference_id and not is_usable_reference(reference_id):
        raise BadReference("the reference cannot be a file name; see the README for its alphabet")
    return build_archive(collection(current_runtime()), user_id, reference_id)


def persist_dsar_export(
    reference_id: str,
    *,
    claim: Claim | None = None,
    watch: Watch = UNWATCHED,
    following: Following | None = None,
) -> dict[str, Any]:
    """Export one request: collect, pack, put in place, record. Never raises for a failed export.

    Without a ``claim`` it takes one: of a request that is pending (due or not), failed, or
    completed (which is then exported again; if that fails, the earlier record stands). With one,
    the claim is used up, whatever happens. May be repeated; of several at once one exports. With a
    ``following`` the COMMIT that records this request may claim the next one; see there.

    Returns ``{"ok": True, "file_path", "bytes", "reference_id", "meta"}`` or ``{"ok": False,
    "error", "reference_id"}``; both also have ``outcome`` (of ``DSARAttempt.OUTCOME_*``, or None
    where no attempt was made), the second ``error_code``, ``exit_code``, and ``trouble``: whether
    the cause is not the request's own (database or disk out of reach).

    All writing is done on connections of its own. Raises ``UsageError`` when ``db.session`` holds
    unwritten or uncommitted changes; expires ``db.session`` on return, so that its objects show
    what was recorded (under REPEATABLE READ: once its own transaction has ended).
    """
    runtime = current_runtime()
    session = current_session()
    session_guard.require_clean(session)
    try:
        services = Services.of(runtime)
        try:
            if claim is None:
                # A wrong declaration, another's root: neither is a failure of the request's.
                collection(runtime)
                require_own_root(services.controller, services.store)
                claim = services.claims.claim_reference(reference_id, worker=worker_name())
        except DSARError as error:
            return refused(reference_id, error)
        except DBAPIError as error:
            return refused(reference_id, schema_error(services) or error)
        return _Attempt(services, claim, watch, following).run()
    finally:
        session_guard.expire(session)


class _Attempt:
    """One attempt, from a claim to its end."""

    def __init__(
        self, services: Services, claim: Claim, watch: Watch, following: Following | None
    ) -> None:
        self._services = services
        self._claims = services.claims
        self._store = services.store
        self._settings = services.runtime.settings
        self._clock = services.runtime.clock
        self._claim = claim
        self._watch = watch
        self._following = following
        self._started = self._clock.monotonic()
        # From when the record is written on, unless that is known to have come to nothing.
        self._may_be_recorded = False

    def run(self) -> dict[str, Any]:
        claim = self._claim
        with structlog.contextvars.bound_contextvars(
            request_id=claim.request_id, attempt=claim.attempt, claim_token=claim.token
        ):
            log.info("export_started")
            keeper = LeaseKeeper(
                self._claims,
                claim,
                self._clock,
                self._watch,
                lease_seconds=self._settings.lease_seconds,
                timeout_seconds=self._settings.export_timeout_seconds,
            )
            try:
                with keeper:
                    return self._export(keeper)
            except Exception as error:
                return self._end(error)
            except BaseException as error:
                # Ctrl-C in somebody's shell: give the claim back before going.
                self._end(error)
                raise

    def _export(self, keeper: LeaseKeeper) -> dict[str, Any]:
        claim = self._claim
        subject = subject_of(claim)
        self._store.require_room(self._settings.min_free_bytes)
        recipients = self._settings.export_recipients
        declared = collection(self._services.runtime)
        with (
            self._store.stage(claim.request_id, claim.token, encrypted=bool(recipients)) as sink,
            encrypted(written := Written(sink), recipients) as target,
        ):
            meta, packed = pack(declared, target, subject, self._watch, keeper)
        version = self._store.check(claim.request_id, claim.token)
        written.require(version)
        keeper.checkpoint()
        path = self._record(version, packed)
        self._tidy()
        log.info(
            "export_completed",
            outcome=DSARAttempt.OUTCOME_COMPLETED,
            rows=packed.rows,
            bytes=version.size,
            duration_ms=self._elapsed_ms(),
        )
        if packed.files_not_included:
            # Each is named, with its reason, in the archive; this is for who can mend it.
            log.warning("files_not_included", count=packed.files_not_included)
        return {
            "ok": True,
            "file_path": path,
            "bytes": version.size,
            "reference_id": claim.reference_id,
            "meta": meta | {"zip_bytes": version.size},
            "outcome": DSARAttempt.OUTCOME_COMPLETED,
            "person_newer": packed.person_newer,
        }

    def _record(self, version: Version, packed: Packed) -> str:
        claim = self._claim

        def publish() -> str:
            assert claim.reference_id is not None
            return self._store.publish(
                claim.reference_id,
                claim.request_id,
                claim.token,
                keep_adopted=claim.recorded_token == ADOPTED_TOKEN,
            )

        self._may_be_recorded = True
        try:
            return self._claims.record(
                claim,
                version,
                packed.rows,
                publish,
                patience=self._patience(),
                following=self._following,
                files_not_included=packed.files_not_included,
            )
        except DSARError:
            self._may_be_recorded = False
            raise

    def _patience(self) -> Callable[[], None]:
        """To be called before the record is asked for: waits a little, until it is time to go.

        While the answer is unknown nothing may be deleted; the lease decides how long to ask.
        """
        give_up_at = self._clock.monotonic() + self._settings.lease_seconds

        def wait() -> None:
            if self._clock.monotonic() > give_up_at or self._watch.must_stop():
                raise OutcomeUnknown("the database went away while the export was being recorded")
            _pause()

        return wait

    def _stands(self) -> bool | None:
        """Whether the export is on record; None: that is not to be known now.

        For what came from elsewhere while it was recorded, or after: Ctrl-C, a closed log.
        """
        if not self._may_be_recorded:
            return False
        try:
            return self._claims.was_recorded(self._claim, patience=self._patience())
        except Superseded:
            return False
        except (DSARError, DBAPIError) as error:
            log.warning("record_in_doubt", error_code=failure_of(error).code)
            return None

    def _tidy(self) -> None:
        """Delete this request's other versions, now that COMMIT has decided."""
        claim = self._claim
        earlier = set(range(max(1, claim.token - _EARLIER_TOKENS), claim.token))
        if claim.recorded_token is not None:
            earlier.add(claim.recorded_token)
        try:
            if earlier:
                self._store.delete(claim.request_id, *sorted(earlier))
        except DSARError as error:
            # The export stands; prune deletes what is left.
            log.warning("tidying_failed", error_code=error.code)

    # -- the ways out ------------------------------------------------------------------------

    def _end(self, error: BaseException) -> dict[str, Any]:
        failure = failure_of(error)
        stands = None if isinstance(error, OutcomeUnknown) else self._stands()
        trouble = stands is None
        disposal: Disposal | None = None
        if stands:
            disposal = Disposal(DSARAttempt.OUTCOME_COMPLETED)
        elif stands is False:
            self._delete_own_files()
            try:
                disposal, trouble = self._dispose(error, failure)
                if disposal.wrong_subject is not None:
                    error, failure = disposal.wrong_subject, failure_of(disposal.wrong_subject)
            except Superseded:
                disposal = Disposal(DSARAttempt.OUTCOME_SUPERSEDED)
                self._abandon()
            except Exception as second:
                # The claim could not be given back; its lease runs out, and it is reclaimed.
                log.error("claim_not_released", error_code=failure_of(second).code)
                trouble = True
        self._log_end(failure, disposal)
        return {
            "ok": False,
            "error": explain(error),
            "reference_id": self._claim.reference_id,
            "error_code": failure.code,
            "exit_code": error.exit_code if isinstance(error, DSARError) else 1,
            "outcome": None if disposal is None else disposal.outcome,
            "trouble": trouble,
        }

    def _dispose(self, error: BaseException, failure: Failure) -> tuple[Disposal, bool]:
        """Decide what becomes of the claim, and whether the trouble is not the request's own."""
        if isinstance(error, Superseded):
            raise error
        if failure.kind is Kind.INTERRUPTED or not isinstance(error, Exception):
            return self._release(failure, interrupted=failure.code == "drained"), False
        if failure.kind is Kind.ENVIRONMENT and (
            (trouble := self._trouble() or still_away(error)) is not None
        ):
            log.warning("environment_trouble", error_code=trouble.code)
            return self._release(failure), True
        permanent = failure.kind is Kind.PERMANENT
        end = partial(self._claims.dispose, self._claim, failure, permanent=permanent)
        return self._patiently(end), False

    def _release(self, failure: Failure, *, interrupted: bool = False) -> Disposal:
        """Give the claim back: an attempt that is never given back would count as a crash."""
        release = partial(self._claims.release, self._claim, failure, interrupted=interrupted)
        return self._patiently(release)

    def _patiently(self, end: Callable[[], Disposal]) -> Disposal:
        """End the claim; while the database is away, keep asking as long as the lease lives."""
        give_up_at = self._clock.monotonic() + self._settings.lease_seconds
        while True:
            try:
                return end()
            except (DatabaseUnreachable, DatabaseBusy):
                if self._clock.monotonic() > give_up_at or self._watch.must_stop():
                    raise
                _pause()

    def _trouble(self) -> DSARError | None:
        return trouble_around(self._services, self._claim)

    def _delete_own_files(self) -> None:
        """Delete what this claim staged, and make the link what the record says.

        A claim that was published and came to nothing may have been so under a reference that is
        another request's by now: that one's link is made what its own record says.
        """
        claim, repair = self._claim, self._store.repair_link
        version = (claim.request_id, claim.token)
        reference = claim.reference_id if is_usable_reference(claim.reference_id or "") else None
        try:
            astray = reference is not None and self._store.links_to(reference, version)
            self._store.delete(*version)
            self._claims.relink(claim.request_id, repair)
            if astray and reference is not None:
                self._claims.relink_reference(reference, version, repair)
        except (DSARError, DBAPIError) as error:
            log.warning("cleanup_failed", error_code=failure_of(error).code)

    def _abandon(self) -> None:
        try:
            self._claims.abandon(self._claim)
        except (DSARError, DBAPIError) as error:
            log.warning("cleanup_failed", error_code=failure_of(error).code)

    def _log_end(self, failure: Failure, disposal: Disposal | None) -> None:
        stands = disposal is not None and disposal.outcome == DSARAttempt.OUTCOME_COMPLETED
        log.warning(
            "export_completed" if stands else "export_not_completed",
            outcome=None if disposal is None else disposal.outcome,
            retry_in_seconds=None if disposal is None else disposal.retry_in_seconds,
            error_code=failure.code,
            error_class=failure.error_class,
            error_at=failure.error_at,
            duration_ms=self._elapsed_ms(),
        )

    def _elapsed_ms(self) -> int:
        return int((self._clock.monotonic() - self._started) * 1000)


def _pause() -> None:
    time.sleep(_PAUSE_SECONDS)
