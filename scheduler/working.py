"""The scheduler's jobs, each as its process does it: the look at the start, a sweep, a prune."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from backend.cli.console import ending
from backend.extensions import Runtime
from backend.failures import failure_of
from backend.logs import configure_logging, dropped_key_count, get_logger
from backend.services.assembly import Services
from backend.services.coverage_gate import look_before_exporting
from backend.services.outlook import look
from backend.services.ownership import require_own_root
from backend.services.retention import Retention
from backend.settings import Settings, load_settings, settings_passed_on, unknown_keys
from scheduler import sweeping
from scheduler.channel import Message
from scheduler.measuring import measure
from scheduler.shutdown import Shutdown
from scheduler.sweep import STEP_SECONDS, SweepResult, tell_deadlines

log = get_logger(__name__)

# Between two looks a prune deletes or mends one batch; a large store's listing takes its time.
_PRUNE_SECONDS: Final = 900.0
_BEAT_EVERY_SECONDS: Final = 1.0

Beat = Callable[[float], None]
Work = Callable[[Message, Shutdown, Beat], Message]


@dataclass(slots=True)
class Memory:
    """What one sweep's process leaves to the next; see ``_report`` and ``measure``.

    ``looked_at``: the file of sections, as it was when it was last compared with the schema.
    """

    waiting_for: str | None = None
    told: list[Any] | None = None
    state_due_at: float = 0.0
    looked_at: list[int] | None = None


def start(order: Message, shutdown: Shutdown, beat: Beat) -> Message:
    """Read the settings, the only time, and raise what makes a start pointless.

    ``ConfigurationError``, ``DatabaseUnreachable``, ``StoreUnavailable``: later trouble of that
    kind is waited out.
    """
    settings = load_settings()
    if order["workers"] is not None:
        settings = settings.model_copy(update={"workers": order["workers"]})
    configure_logging(settings.log_level, settings.log_format)
    for key in unknown_keys():
        log.warning("setting_unknown", setting=key)
    beat(STEP_SECONDS)
    looked_at = _sections_as_they_are(settings)
    with sweeping.runtime_of(settings) as runtime:
        services = Services.of(runtime)
        look(services.controller, prune_before=None)
        look_before_exporting(runtime)
        services.store.prepare()
        require_own_root(services.controller, services.store)
    memory = Memory(looked_at=looked_at)
    return {"settings": settings.model_dump_json(), "memory": asdict(memory)}


def sweep(order: Message, shutdown: Shutdown, beat: Beat) -> Message:
    """Make one sweep, log what is news, and measure it."""
    settings = _settings(order)
    memory = Memory(**order["memory"])
    looked_at = _sections_as_they_are(settings)
    with sweeping.runtime_of(settings) as runtime:
        result = sweeping.sweep(
            runtime,
            shutdown,
            limit=settings.sweep_limit,
            prune=False,
            # Sections are read anew by each process, so what was compared at the start may be old.
            look_first=looked_at != memory.looked_at,
            beat=beat,
        )
        if result.tally.claimed:
            memory.looked_at = looked_at
        beat(STEP_SECONDS)
        _report(runtime, result, memory)
        news = None
        if settings.metrics_textfile is not None or settings.metrics_listen is not None:
            book, memory.state_due_at = measure(
                Services.of(runtime), result, state_due_at=memory.state_due_at
            )
            book.add("dsar_log_keys_dropped_total", dropped_key_count())
            news = book.as_list()
    return {"memory": asdict(memory), "news": news}


def prune(order: Message, shutdown: Shutdown, beat: Beat) -> Message:
    """Delete what has expired, and leftovers."""
    settings = _settings(order)
    beat(_PRUNE_SECONDS)
    beaten_at = time.monotonic()

    def stop() -> bool:
        nonlocal beaten_at
        if time.monotonic() - beaten_at > _BEAT_EVERY_SECONDS:
            beat(_PRUNE_SECONDS)
            beaten_at = time.monotonic()
        return shutdown.requested

    with sweeping.runtime_of(settings) as runtime:
        services = Services.of(runtime)
        done = Retention(
            services.controller,
            services.claims,
            services.store,
            retention_days=settings.retention_days,
            stop=stop,
        ).prune()
    log.info("pruned", pruned=done.pruned, count=done.leftovers + done.links)
    return {}


JOBS: Final[Mapping[str, Work]] = {"start": start, "sweep": sweep, "prune": prune}


def failed(job: str, error: Exception) -> Message:
    """What to say of a job that raised. A start's is told on the terminal, others' are logged."""
    failure = failure_of(error)
    if job != "start":
        log.error(
            f"{job}_failed",
            error_code=failure.code,
            error_class=failure.error_class,
            error_at=failure.error_at,
        )
        return {"code": failure.code}
    line, exit_code = ending(error)
    return {"code": failure.code, "line": line, "exit_code": exit_code}


def _settings(order: Message) -> Settings:
    settings = settings_passed_on(order["settings"])
    configure_logging(settings.log_level, settings.log_format)
    return settings


def _sections_as_they_are(settings: Settings) -> list[int] | None:
    if settings.sections_file is None:
        return None
    try:
        found = os.stat(settings.sections_file)
    except OSError:
        return []
    return [found.st_ino, found.st_size, found.st_mtime_ns]


def _report(runtime: Runtime, result: SweepResult, memory: Memory) -> None:
    """Log a sweep that did something; trouble once when it begins and once when it ends."""
    counts = {k: v for k, v in result.as_dict().items() if k not in ("error_code", "pruned")}
    trouble = None if result.trouble is None else result.trouble.code
    if trouble is not None and trouble != memory.waiting_for:
        log.warning("waiting_for_environment", **counts, error_code=trouble)
    elif trouble is None and memory.waiting_for is not None:
        log.info("environment_well", **counts)
    elif result.tally.claimed or result.reclaimed:
        log.info("sweep_finished", **counts)
    memory.waiting_for = trouble
    if result.deadlines is None:
        return
    # When that changes, and once a day as long as it stays so.
    told = [runtime.clock.now().date().isoformat(), *result.deadlines]
    if told != memory.told:
        tell_deadlines(result.deadlines)
        memory.told = told
