"""Row-level security: whether PostgreSQL shows this program every row."""

from __future__ import annotations

from collections.abc import Iterator

from backend.engines import CONTROL_KEY
from backend.extensions import Runtime
from backend.models import DSARAttempt, DSARRequest, DSARSweep
from backend.services.collection import Collection
from backend.services.doctor.checks import Check, bad
from backend.services.row_security import hidden_tables, remedy, tables_of
from backend.services.sections import TableSection


def of_source(collection: Collection) -> Iterator[Check]:
    """Tables of the people's data of which a policy hides rows from this role; nothing if none."""
    runtime = collection.runtime
    names = [
        name
        for section in collection.sections
        if isinstance(section, TableSection) and section.database == "source"
        for name in tables_of(section)
    ]
    hidden = hidden_tables(runtime.source, runtime.settings.source_key, names)
    if hidden:
        said = "; ".join(hidden.values())
        yield bad("row security", f"no export can be made: {said}", remedy(runtime.source))


def of_requests(runtime: Runtime) -> Iterator[Check]:
    """The same of the requests' own tables, whose rows would never be claimed."""
    names = [(None, model.__tablename__) for model in (DSARRequest, DSARAttempt, DSARSweep)]
    hidden = hidden_tables(runtime.control, CONTROL_KEY, names)
    if hidden:
        yield bad("row security", f"no sweep can be made: {'; '.join(hidden.values())}", _policy())


def _policy() -> str:
    return (
        "ALTER TABLE … DISABLE ROW LEVEL SECURITY for our own tables, or as a superuser give this "
        "role BYPASSRLS"
    )
