"""``dsar-scheduler``, which is ``python -m scheduler``.

Exit codes: 0 done; 1 at least one request failed for good; 2 usage; 69 database or store out of
reach; 70 a hung export or a forced stop; 78 bad configuration.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from backend import collector
from backend.cli.about_commands import completion_of, version_of
from backend.cli.console import (
    CONTEXT,
    ErrorLine,
    as_json,
    print_json,
    print_table,
    version,
    wants_json,
)
from backend.cli.progress import Silent, progress
from backend.errors import EXIT_FAILED, EXIT_UNAVAILABLE
from backend.failures import failure_of
from backend.logs import configure_logging, get_logger
from backend.terminal import say
from scheduler.shutdown import Shutdown

# Nothing of the database's here: `run` does without, and is small for that.
if TYPE_CHECKING:
    from backend.settings import Settings
    from scheduler.sweep import SweepResult
    from scheduler.workers import Parked

log = get_logger(__name__)


@click.group(cls=ErrorLine, context_settings=CONTEXT)
@version
def cli() -> None:
    """Sweep the pending data-subject access requests: on a schedule, or once.

    Settings come from DSAR_* variables, a .env file or a folder of secrets; see the README.

    \b
    Examples:
      dsar-scheduler run
      dsar-scheduler sweep --once
    """


@cli.command()
@click.option("--workers", type=click.IntRange(1, 64), help="Processes. Default: DSAR_WORKERS.")
def run(workers: int | None) -> None:
    """Sweep at start and then as DSAR_SWEEP_CRON says, until SIGTERM or SIGINT.

    \b
    Example:
      DSAR_SWEEP_CRON='*/5 * * * *' dsar-scheduler run --workers 2
    """
    from scheduler.notify import Notifier
    from scheduler.service import SweepService

    configure_logging("INFO", "auto")  # until the settings are there
    shutdown = Shutdown(0)
    shutdown.install()
    sys.exit(SweepService(shutdown, Notifier(), workers=workers).run())


@cli.command()
@click.option("--once", is_flag=True, help="Make one sweep and exit (required).")
@click.option("--limit", type=click.IntRange(1), help="Requests at most. Default: no limit.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes. Default: DSAR_WORKERS.")
@as_json
def sweep(once: bool, limit: int | None, workers: int | None, json_wanted: bool) -> None:
    """Make one sweep over what is due, and exit.

    \b
    Examples:
      dsar-scheduler sweep --once
      dsar-scheduler sweep --once --limit 100 --workers 4
    """
    if not once:
        raise click.UsageError(
            "say --once; for a process that sweeps on a schedule: dsar-scheduler run"
        )
    collector.pause()
    from scheduler.sweep import tell_deadlines
    from scheduler.workers import park

    collector.resume()
    settings = _settings(workers)
    limit = limit or settings.sweep_limit
    parked = park(settings, settings.workers, limit) if settings.workers > 1 else None
    try:
        shutdown = Shutdown(settings.drain_seconds)
        shutdown.install()
        result = _sweep_once(settings, shutdown, limit, json_wanted, parked)
    finally:
        if parked is not None:
            parked.release()
    tell_deadlines(result.deadlines)
    if wants_json(json_wanted):
        print_json(result.as_dict())
    else:
        print_table("sweep", ("what", "value"), list(result.as_dict().items()))
    if result.trouble is not None:
        say(f"error: the sweep ended early: {result.trouble.message}", err=True)
        sys.exit(EXIT_UNAVAILABLE)
    if result.failed:
        say(
            f"error: {result.failed} request(s) failed for good; see: dsar list --status failed",
            err=True,
        )
        sys.exit(EXIT_FAILED)


@cli.command()
@as_json
def healthcheck(json_wanted: bool) -> None:
    """Whether the scheduler on this machine lives: exit code 0, or 1.

    Reads its local heartbeat file and nothing else: an outage of the database must not make a
    supervisor restart what only waits.

    \b
    Example:
      dsar-scheduler healthcheck
    """
    from backend.heartbeat import STALE_SECONDS, HeartbeatFile
    from backend.settings import load_settings

    path = load_settings().heartbeat_path
    age = HeartbeatFile(path).age_seconds()
    healthy = age is not None and age < STALE_SECONDS
    value = {"ok": healthy, "age_seconds": None if age is None else round(age, 1)}
    if wants_json(json_wanted):
        print_json(value)
    else:
        print_table("scheduler", ("what", "value"), list(value.items()))
    if not healthy:
        why = "is not there" if age is None else f"is {age:.0f} s old"
        say(f"error: the scheduler's heartbeat, {path}, {why}", err=True)
    sys.exit(0 if healthy else EXIT_FAILED)


def _settings(workers: int | None) -> Settings:
    from backend.settings import load_settings, unknown_keys

    settings = load_settings()
    if workers is not None:
        settings = settings.model_copy(update={"workers": workers})
    configure_logging(settings.log_level, settings.log_format)
    for key in unknown_keys():
        log.warning("setting_unknown", setting=key)
    return settings


def _sweep_once(
    settings: Settings,
    shutdown: Shutdown,
    limit: int | None,
    json_wanted: bool,
    parked: Parked | None,
) -> SweepResult:
    from backend.services.assembly import Services
    from scheduler import sweeping
    from scheduler.metrics import Metrics

    metrics = Metrics(settings)
    watched = progress("sweeping", wanted=not wants_json(json_wanted))
    with sweeping.runtime_of(settings) as runtime, watched as line:
        try:
            result = sweeping.sweep(
                runtime,
                shutdown,
                limit=limit,
                prune=True,
                parked=parked,
                look_first=True,
                progress=line.rows,
                finished=_Told(line).finished,
            )
        except Exception as error:
            metrics.sweep_failed(failure_of(error).code)
            raise
        if metrics.wanted:
            from scheduler.measuring import measure

            metrics.add(measure(Services.of(runtime), result)[0])
        return result


class _Told:
    """Shows on the terminal what a sweep has done so far; by the row's own id."""

    def __init__(self, line: Silent) -> None:
        self._line = line
        self._done = 0

    def finished(self, request_id: int, outcome: str | None, size: int) -> None:
        self._done += 1
        self._line.at(self._done)
        self._line.note(
            f"request {request_id}: {outcome or 'unknown'}" + (f", {size:,} bytes" if size else "")
        )


cli.add_command(completion_of("dsar-scheduler"))
cli.add_command(version_of("dsar-scheduler"))
