"""Prometheus metrics: a textfile for one-shots, a loopback port or socket for ``run``.

Both off by default. Counters count what *this scheduler's* sweeps did: ``scheduler.measuring``
reads it in the process that swept, and hands it over. A textfile is its own memory: each sweep adds
to what it finds there, so a counter never falls but where somebody deletes the file. Nothing here
ends a sweep: what goes wrong is logged.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Protocol

from backend.errors import ConfigurationError
from backend.failures import failure_of
from backend.logs import dropped_key_count, get_logger
from backend.metric_names import BUCKETS, COUNTER, GAUGE, HISTOGRAM, METRICS, OUTCOMES

log = get_logger(__name__)

_SUCCESS: Final = "dsar_sweep_last_success_timestamp_seconds"
_BOUNDS: Final = (*(f"{bound:g}" for bound in BUCKETS), "+Inf")

Key = tuple[str, tuple[str, ...]]


class Book:
    """Samples by name and label values, as they stand in the text format."""

    def __init__(self) -> None:
        self.values: dict[Key, float] = {}

    def set(self, name: str, value: float, *labels: str) -> None:
        self.values[name, labels] = value

    def add(self, name: str, amount: float, *labels: str) -> None:
        self.values[name, labels] = self.values.get((name, labels), 0.0) + amount

    def observe(self, name: str, seconds: float) -> None:
        self.observe_many(name, [seconds <= bound for bound in BUCKETS], 1, seconds)

    def observe_many(self, name: str, within: Any, count: int, seconds: float) -> None:
        for bound, number in zip(_BOUNDS, (*within, count), strict=True):
            self.add(f"{name}_bucket", number, bound)
        self.add(f"{name}_sum", seconds)

    def update(self, later: Book) -> None:
        """Take over another book's gauges, and add its counters and histograms."""
        for (name, labels), value in later.values.items():
            if name in METRICS and METRICS[name].kind == GAUGE:
                self.set(name, value, *labels)
            else:
                self.add(name, value, *labels)

    def as_list(self) -> list[Any]:
        """The samples as plain data, for another process's ``of_list``."""
        return [[name, list(labels), value] for (name, labels), value in self.values.items()]

    @classmethod
    def of_list(cls, samples: Iterable[Any]) -> Book:
        """The book that ``as_list`` gave these samples of."""
        book = cls()
        for name, labels, value in samples:
            book.set(name, value, *labels)
        return book

    def collect(self) -> Iterator[Any]:
        """The samples as the client library's families; for its registry."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        for name, metric in METRICS.items():
            if metric.kind == HISTOGRAM:
                counts = [
                    (bound, self.values.get((f"{name}_bucket", (bound,)), 0)) for bound in _BOUNDS
                ]
                total = self.values.get((f"{name}_sum", ()), 0.0)
                yield HistogramMetricFamily(name, metric.help, buckets=counts, sum_value=total)
                continue
            kind = CounterMetricFamily if metric.kind == COUNTER else GaugeMetricFamily
            family = kind(name, metric.help, labels=metric.labels)
            samples = [(key[1], value) for key, value in self.values.items() if key[0] == name]
            if not samples and metric.kind == COUNTER and not metric.labels:
                samples = [((), 0.0)]
            for labels, value in sorted(samples):
                family.add_metric(labels, value)
            if samples:
                yield family


def read_book(text: str) -> Book:
    """The book that was written as ``text``. What it does not know is left out.

    Raises ``ValueError`` when the text is no metrics.
    """
    from prometheus_client.parser import text_string_to_metric_families

    book = Book()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name
            if name in METRICS:
                labels = METRICS[name].labels
            elif name.endswith("_bucket"):
                labels = ("le",)
            else:
                labels = ()
            if name.removesuffix("_bucket").removesuffix("_sum") in METRICS:
                book.set(name, sample.value, *(sample.labels.get(label, "") for label in labels))
    return book


def exposition(collect: Callable[[], Iterator[Any]]) -> bytes:
    """Prometheus's text format of what ``collect`` yields."""
    from prometheus_client import generate_latest

    return generate_latest(registry(collect))


def registry(collect: Callable[[], Iterator[Any]]) -> Any:
    """A registry of the client library's with this one collector."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.registry import Collector

    class _Collector(Collector):
        def collect(self) -> Iterator[Any]:
            return collect()

    # Its own: the library's default one adds figures of the interpreter's.
    found = CollectorRegistry(auto_describe=False)
    found.register(_Collector())
    return found


class Wanted(Protocol):
    """Of the settings, those that metrics go by."""

    @property
    def metrics_textfile(self) -> Path | None: ...

    @property
    def metrics_listen(self) -> str | None: ...

    @property
    def min_free_bytes(self) -> int: ...


def news_of(error_code: str | None) -> Book:
    """What any sweep adds to the metrics: that it ended, and whether in trouble."""
    news = Book()
    now = time.time()
    news.set("dsar_build_info", 1, program_version())
    news.set("dsar_sweep_last_end_timestamp_seconds", now)
    for outcome in ("succeeded", "ended_early"):
        news.add(
            "dsar_sweeps_total",
            outcome == ("ended_early" if error_code else "succeeded"),
            outcome,
        )
    if error_code:
        news.add("dsar_sweep_troubles_total", 1, error_code)
    else:
        news.set(_SUCCESS, now)
    # There from the start: an increase from nowhere to 1 is none to Prometheus.
    for outcome in OUTCOMES:
        news.add("dsar_attempts_total", 0, outcome)
    return news


class Metrics:
    """What a scheduler process exposes. Does nothing when both are off.

    ``add`` and ``sweep_failed`` are called by the thread that sweeps; they raise nothing.
    """

    def __init__(self, settings: Wanted) -> None:
        self._min_free_bytes = settings.min_free_bytes
        self._textfile = settings.metrics_textfile
        self._listen = settings.metrics_listen
        self._book = Book()
        self._dropped = 0
        self._server: Any = None
        if not self.wanted:
            return
        try:
            import prometheus_client  # noqa: F401
        except ModuleNotFoundError:
            key = "TEXTFILE" if self._textfile else "LISTEN"
            raise ConfigurationError(
                f"DSAR_METRICS_{key} needs the package prometheus-client, which is not installed; "
                "pip install 'levqor-dsar[metrics]', or leave the setting out"
            ) from None

    @property
    def wanted(self) -> bool:
        return self._textfile is not None or self._listen is not None

    # -- what happened -----------------------------------------------------------------------

    def sweep_failed(self, code: str) -> None:
        """Count a sweep that raised, or whose process died, by an error code."""
        if self.wanted:
            news = news_of(code)
            news.set("dsar_store_min_free_bytes", self._min_free_bytes)
            self.add(news)

    def add(self, news: Book) -> None:
        """Add a sweep's news, and write the textfile, if one is wanted."""
        if not self.wanted:
            return
        dropped = dropped_key_count()
        news.add("dsar_log_keys_dropped_total", dropped - self._dropped)
        self._dropped = dropped
        book = Book()
        book.values = dict(self._book.values)
        book.update(news)
        self._book = book  # whole, for whoever scrapes at this moment
        if self._textfile is not None:
            with logged("metrics_not_written"):
                add_to_textfile(self._textfile, news)

    # -- listening ---------------------------------------------------------------------------

    def listen(self, healthy: Callable[[], bool], sweeping: Callable[[], bool]) -> None:
        """Answer scrapes on ``DSAR_METRICS_LISTEN``, if it is set, until ``close``.

        Raises ``ConfigurationError`` when the address is taken or cannot be used.
        """
        if self._listen is None:
            return
        from scheduler.listener import Listener

        started = time.time()

        def collect() -> Iterator[Any]:
            book = Book()
            book.set(_SUCCESS, 0)
            book.set("dsar_build_info", 1, program_version())
            book.update(self._book)
            book.set("dsar_scheduler_healthy", healthy())
            book.set("dsar_scheduler_sweeping", sweeping())
            book.set("dsar_scheduler_start_timestamp_seconds", started)
            return book.collect()

        self._server = Listener(self._listen, registry(collect))

    def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.close()


@contextmanager
def logged(event: str) -> Iterator[None]:
    """Log what is raised: measuring must not stop what it measures."""
    try:
        yield
    except Exception as error:
        failure = failure_of(error)
        log.warning(event, error_code=failure.code, error_class=failure.error_class)


def add_to_textfile(path: Path, news: Book) -> None:
    """Add to what stands in a textfile and replace it, 0644, in one step.

    Two at once wait for each other. A file that cannot be read as metrics starts anew, which
    Prometheus takes for what it is: a counter's reset. Raises ``OSError``.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        book = Book()
        with suppress(FileNotFoundError, ValueError):
            book = read_book(path.read_text(encoding="utf-8"))
        book.values.setdefault((_SUCCESS, ()), 0.0)
        _forget_versions(book)
        book.update(news)
        _replace(path, exposition(book.collect))
    finally:
        os.close(folder)


def _forget_versions(book: Book) -> None:
    for key in [key for key in book.values if key[0] == "dsar_build_info"]:
        del book.values[key]


def _replace(path: Path, content: bytes) -> None:
    # Not *.prom: node_exporter would read it half-written.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def program_version() -> str:
    """This program's version, as installed."""
    try:
        return version("levqor-dsar")
    except PackageNotFoundError:
        return "unknown"
