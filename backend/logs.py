"""Structured logs that leave out personal data: an allow-list, as the last step of one chain.

JSON lines on stderr (readable on a terminal). A key that is not on the list is dropped and
counted; so is a value that is not a number, an instant or a short text, and an event that is not
a constant's name. Records of other libraries pass the same chain: of them nothing is kept but the
logger's name, the level, an exception's class and where it came from, because their messages may
carry statements, parameters and rows.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import re
import sys
import threading
from collections.abc import MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, Any, Final, Literal

from backend.failures import class_of, failure_of, locations

# structlog loads rich, where it is installed, to print tracebacks, which never happens here: 52
# modules and 0.05 s at each start, for nothing.
_rich = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]
try:
    import structlog
finally:
    del sys.modules["rich"]
    if _rich is not None:
        sys.modules["rich"] = _rich

ALLOWED: Final = frozenset(
    {
        "attempt",
        "bytes",
        "claim_token",
        "claimed",
        "completed",
        "count",
        "dropped_keys",
        "duration_ms",
        "error_at",
        "error_class",
        "error_code",
        "event",
        "exit_code",
        "failed",
        "free_bytes",
        "interruptions",
        "level",
        "limit",
        "logger",
        "nearly_due",
        "next_sweep_at",
        "outcome",
        "overdue",
        "pid",
        "pruned",
        "reclaimed",
        "released",
        "request_id",
        "retried",
        "retry_in_seconds",
        "rows",
        "section",
        "setting",
        "signal",
        "sweep_id",
        "timestamp",
        "worker",
        "workers",
    }
)

Event = MutableMapping[str, Any]

_EVENT: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LOGGER: Final = re.compile(r"[A-Za-z0-9_.]{1,100}")
_TEXT_LENGTH: Final = 300
_LONG_TEXT_LENGTH: Final = {"error_at": 2000}
_OURS: Final = ("backend", "scheduler")

_dropped_so_far = 0
_handler: logging.Handler | None = None


def get_logger(name: str) -> Any:
    """A logger: ``log.info("export_completed", request_id=1)``. Events are constants' names."""
    return structlog.stdlib.get_logger(name)


def dropped_key_count() -> int:
    """How many keys and values the allow-list has dropped in this process."""
    return _dropped_so_far


def configure_logging(
    level: str, fmt: Literal["auto", "json", "console"] | str, stream: IO[str] | None = None
) -> None:
    """Send every log of this process through the allow-list to stderr. May be called again.

    Also puts uncaught exceptions of any thread, and Python's warnings, into that chain, so that
    no traceback prints a message.
    """
    global _handler  # noqa: PLW0603  the root logger is as global
    target = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream) if stream is not None else _StderrHandler()
    on_terminal = target is not None and target.isatty()  # None: closed at the start
    console = fmt == "console" or (fmt == "auto" and on_terminal)
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=[keep_nothing_foreign],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                allow_listed,
                _renderer(console=console, colours=on_terminal and not os.environ.get("NO_COLOR")),
            ],
        )
    )
    root = logging.getLogger()
    if _handler is not None:
        root.removeHandler(_handler)
    root.addHandler(handler)
    _handler = handler
    # Of other libraries only trouble is of interest: nothing but its place survives the chain.
    root.setLevel(level if level == "DEBUG" else max(logging.getLevelName(level), logging.WARNING))
    logging.raiseExceptions = False  # it would print the record that it cannot format
    logging.captureWarnings(capture=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    _configure_structlog(level)
    _hook_uncaught()


def log_through_logging() -> None:
    """Send what this program logs to the ``logging`` module, one line of JSON each, allow-listed.

    For a process that is not this program's own: no handler, level or hook of it is changed.
    Nothing, where structlog is configured, by ``configure_logging`` or by the application itself.
    """
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            allow_listed,
            structlog.processors.JSONRenderer(sort_keys=False),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Never puts together the message of another library's record: it is dropped anyway, and one
    that cannot be put together would be lost altogether.
    """

    def format(self, record: logging.LogRecord) -> str:
        if not isinstance(record.msg, dict):
            record = copy.copy(record)
            record.msg, record.args = "", ()
        return super().format(record)


class _StderrHandler(logging.Handler):
    """Writes to whatever ``sys.stderr`` is at that moment: a progress bar puts itself there."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


def _configure_structlog(level: str) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _renderer(*, console: bool, colours: bool) -> Any:
    if console:
        return structlog.dev.ConsoleRenderer(colors=colours)
    return structlog.processors.JSONRenderer(sort_keys=False)


def keep_nothing_foreign(logger: Any, method: str, event: Event) -> Event:
    """Another library's record without message, arguments, extras and traceback."""
    record: logging.LogRecord = event["_record"]
    kept: Event = {
        "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        "level": record.levelname.lower(),
        "event": "library_log",
        "logger": record.name if _LOGGER.fullmatch(record.name) else "unnamed",
        "_record": record,
        "_from_structlog": event.get("_from_structlog", False),
    }
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        kept["error_class"] = class_of(error)
        kept["error_at"] = locations(error.__traceback__)
    # The formatter would append the traceback's text.
    record.exc_info = record.exc_text = record.stack_info = None
    return kept


def allow_listed(logger: Any, method: str, event: Event) -> Event:
    """Keep what is on the list and harmless; count the rest."""
    global _dropped_so_far  # noqa: PLW0603  one count a process
    kept: dict[str, Any] = {}
    dropped = 0
    for key, value in event.items():
        if key not in ALLOWED:
            dropped += 1
            continue
        harmless, as_logged = _harmless(key, value)
        if harmless:
            kept[key] = as_logged
        else:
            dropped += 1
    if not _EVENT.fullmatch(str(kept.get("event", ""))):
        kept["event"] = "unnamed_event"
    if dropped:
        kept["dropped_keys"] = dropped
        _dropped_so_far += dropped
    return kept


def _harmless(key: str, value: Any) -> tuple[bool, Any]:
    if value is None or isinstance(value, (bool, int, float)):
        return True, value
    if isinstance(value, datetime):
        return True, value.isoformat()
    if isinstance(value, str):
        return len(value) <= _LONG_TEXT_LENGTH.get(key, _TEXT_LENGTH) and value.isprintable(), value
    return False, None


def _hook_uncaught() -> None:
    log = get_logger("backend.uncaught")

    def note(error: BaseException | None) -> None:
        if error is None:
            return
        failure = failure_of(error)
        with contextlib.suppress(Exception):
            log.critical(
                "uncaught_exception",
                error_code=failure.code,
                error_class=failure.error_class,
                error_at=failure.error_at,
            )

    def main_thread(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            note(error)

    sys.excepthook = main_thread
    threading.excepthook = lambda arguments: note(arguments.exc_value)
    sys.unraisablehook = lambda arguments: note(arguments.exc_value)
