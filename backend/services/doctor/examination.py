"""Every check, in an order in which one that is bad explains those after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec

from backend.extensions import Runtime
from backend.package_files import require_whole
from backend.services.collection import Collection
from backend.services.disclosure import missing_settings
from backend.services.doctor import database, policies, requests, store
from backend.services.doctor.checks import BAD, Check, bad, made, ok, warn
from backend.settings import Settings, unknown_keys


def examine(runtime: Runtime, collection: Collection) -> Iterator[Check]:
    """Look at everything. Changes no row and no export, raises nothing.

    What needs a database that does not answer, or a schema that is not there, is left out.
    """
    yield from settings(runtime)
    yield from made("program", program)
    found = list(made("database", partial(database.connection, runtime)))
    yield from found
    answers = not _any_bad(found)
    if answers:
        yield from made("SQLite file", partial(database.sqlite_file, runtime))
        yield from made("requests", partial(_requests, runtime))
    # Where both are one database, what was said of it need not be said again.
    if answers or not runtime.settings.source_is_control:
        found = list(made("sections", partial(database.source, collection)))
        found += made("row security", partial(policies.of_source, collection))
        yield from found
        if not _any_bad(found):
            yield from made("coverage", partial(database.coverage, runtime))
    yield from made("export root", partial(store.root, runtime))
    yield from made("scheduler", partial(requests.heartbeat, runtime))


def _requests(runtime: Runtime) -> Iterator[Check]:
    """What the requests' tables tell, where they may be read and are this release's."""
    if not database.may_read(runtime):
        yield from database.rights(runtime)
        return
    found = list(made("schema", partial(database.schema, runtime)))
    yield from found
    if not _any_bad(found):
        for name, look in (
            ("rights", database.rights),
            ("row security", policies.of_requests),
            ("time", database.time),
            ("requests", requests.requests),
            ("sweeps", requests.sweeping),
            ("owner", store.owner),
        ):
            yield from made(name, partial(look, runtime))


def _any_bad(checks: list[Check]) -> bool:
    return any(check.state == BAD for check in checks)


def program() -> Iterator[Check]:
    """Whether the program itself is whole. Raises ``PackageIncomplete``, which says what to do."""
    require_whole()
    yield ok("program", "all of its files are there")


def settings(runtime: Runtime) -> Iterator[Check]:
    """Whether every setting is read by somebody, and what they are meant for can be done."""
    if unknown := unknown_keys():
        yield warn("settings", f"nobody reads {', '.join(unknown)}", "most likely misspelt")
    else:
        yield ok("settings", "every one is read")
    if os.geteuid() == 0:
        yield warn(
            "user",
            "this runs as root, who may read and write everything",
            "run it as the scheduler's user: what it finds is that user's",
        )
    yield from _metrics(runtime.settings)
    if missing := missing_settings(runtime.settings):
        yield warn(
            "controller",
            f"nobody is named by {', '.join(missing)}",
            "set them: every export tells who answers and where to complain (GDPR Art. 15(1))",
        )
    else:
        yield ok("controller", "named, and the authority to complain to")


def _metrics(settings: Settings) -> Iterator[Check]:
    textfile = settings.metrics_textfile
    if textfile is None and settings.metrics_listen is None:
        return
    if find_spec("prometheus_client") is None:
        key = "DSAR_METRICS_LISTEN" if textfile is None else "DSAR_METRICS_TEXTFILE"
        yield bad(
            "metrics",
            f"{key} is set, and the package prometheus-client is not there: no scheduler starts",
            "pip install 'levqor-dsar[metrics]', or leave the setting out",
        )
    elif textfile is not None and not os.access(textfile.parent, os.W_OK | os.X_OK):
        yield warn(
            "metrics",
            f"{textfile.parent} (DSAR_METRICS_TEXTFILE) is not there, or not this user's to write",
            "make it; under systemd also ReadWritePaths=: see deploy/monitoring/README.md",
        )
