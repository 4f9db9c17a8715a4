"""From sections and a person to streams of rendered rows, all of one snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from backend.driver_errors import is_refused, is_too_large
from backend.engines import named_errors
from backend.errors import SubjectNotFound, SubjectNotInReplica, SubjectNotUnique
from backend.extensions import Runtime
from backend.services.archive import FileStream, SectionStream
from backend.services.exact_keys import is_exactly
from backend.services.faithful import faithful
from backend.services.file_values import json_columns
from backend.services.folded_owners import require_alone
from backend.services.large_values import too_large
from backend.services.own_request import read_own_request
from backend.services.per_section import PerSection
from backend.services.rendering import Rows, gathered
from backend.services.row_spool import as_array
from backend.services.section_files import Listing, function_files, named_files
from backend.services.section_paths import require_distinct
from backend.services.sections import (
    Exemption,
    FilesSection,
    FunctionSection,
    Section,
    Subject,
    TableSection,
    left_out,
)
from backend.services.snapshot import Snapshot, open_snapshot
from backend.services.subject_age import warn_if_newer
from backend.services.subject_keys import canonical, kind_of, other_writings
from backend.services.table_rendering import function_rows, table_renderer, yielded_by
from backend.services.wording import humanised, in_language

Checkpoint = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Collection:
    """What is exported of a person: the sections, and what no section needs to cover.

    ``account`` is the section of the people's own table, and proves that the person exists;
    ``request`` that of the requests. ``key`` is the column of the people's table by which a
    request names its person.
    """

    runtime: Runtime
    sections: Sequence[Section]
    account: TableSection
    request: TableSection
    key: sa.Column[Any]
    exemptions: Sequence[Exemption] = ()

    def __post_init__(self) -> None:
        require_distinct(self.sections)

    @property
    def created(self) -> sa.Column[Any] | None:
        """The column that says when a row of the people's table was made, if one is known."""
        name = self.account.created
        return None if name is None else self.account.table.c[name]

    def subject(self, user_id: Any, reference_id: str | None) -> Subject:
        """The person with that key, however it is written: as text, number or UUID.

        Raises ``SubjectNotFound`` when it can be nobody's.
        """
        try:
            return Subject(canonical(self.key, user_id), reference_id)
        except ValueError:
            raise SubjectNotFound(
                f"there is no such user: {self.key.table.name}.{self.key.name} is "
                f"{kind_of(self.key)}; name the user by that"
            ) from None


@contextmanager
def open_collection(
    collection: Collection, subject: Subject, checkpoint: Checkpoint
) -> Iterator[tuple[Snapshot, Iterator[SectionStream | FileStream]]]:
    """Open one snapshot and give the streams of sections and of their files.

    They are to be read in order, one at a time; what lists files comes after these.

    ``checkpoint`` is called before every chunk of rows and may raise. Raises what
    ``collect_all_user_data`` says.
    """
    runtime = collection.runtime
    timeout = runtime.settings.export_timeout_seconds
    request_id = subject.request_id
    subject = collection.subject(subject.user_id, subject.reference_id)
    request_row, received_at = read_own_request(
        runtime, collection.request, collection.key, subject, request_id
    )
    request_read_at = runtime.clock.now()
    with open_snapshot(
        runtime.source,
        runtime.clock,
        statement_seconds=timeout,
        rows_per_second=runtime.settings.rows_per_second,
    ) as snapshot:
        _ask_ahead(snapshot, collection.sections, subject, checkpoint)
        subject, created = _find_person(collection, snapshot, subject)
        require_alone(snapshot, collection.sections, collection.key, subject.user_id)
        snapshot.subject_newer = warn_if_newer(
            collection.created, created, received_at, snapshot.connection.dialect.name
        )

        def streams() -> Iterator[SectionStream | FileStream]:
            if not snapshot.is_ahead:  # what proves the person was not the first of these
                _ask_ahead(snapshot, collection.sections, subject, checkpoint)
            for place, section in enumerate(collection.sections):
                checkpoint()
                if not isinstance(section, TableSection):
                    read_at = runtime.clock.now()
                elif section.database == "source":
                    read_at = snapshot.taken_at
                else:
                    read_at = request_read_at
                facts = describe(section, runtime.settings.page_language, read_at)
                if isinstance(section, FilesSection):
                    yield from _function_files(section, facts, subject, checkpoint)
                    continue
                yield _stream(section, facts, snapshot, subject, checkpoint, request_row)
                if isinstance(section, TableSection) and section.files:
                    yield from _named_files(section, snapshot, subject, checkpoint)
                    _ask_ahead(snapshot, collection.sections[place + 1 :], subject, checkpoint)
            snapshot.finish()

        yield snapshot, streams()


def _ask_ahead(
    snapshot: Snapshot, sections: Sequence[Section], subject: Subject, checkpoint: Checkpoint
) -> None:
    """Ask for the next sections' first rows: of those up to one with files, read after its rows."""
    tables = [s for s in sections if isinstance(s, TableSection) and s.database == "source"]
    with_files = (place for place, section in enumerate(tables, start=1) if section.files)
    snapshot.ask_ahead(tables[: next(with_files, None)], subject, checkpoint)


def find_subject(
    collection: Collection, subject: Subject, received_at: datetime | None = None
) -> tuple[Subject, str | None]:
    """The person as the people's table writes their key; whether they are newer than the receipt.

    See ``subject_age.is_newer``. Raises ``SubjectNotFound``, ``SubjectNotInReplica``,
    ``DatabaseUnreachable``, ``DatabaseBusy``.
    """
    runtime = collection.runtime
    timeout = runtime.settings.export_timeout_seconds
    with open_snapshot(runtime.source, runtime.clock, statement_seconds=timeout) as snapshot:
        found, created = _find_person(collection, snapshot, subject)
        return found, warn_if_newer(
            collection.created, created, received_at, snapshot.connection.dialect.name
        )


@dataclass(frozen=True, slots=True)
class RowCounts:
    """How many rows an export holds of a person, by section.

    ``left_out`` has the sections that leave out deleted rows, with the number of those.
    """

    sections: dict[str, int]
    left_out: dict[str, int]


def count_rows(collection: Collection, subject: Subject) -> dict[str, int]:
    """How many rows each section holds of a person, in one snapshot; writes nothing."""
    return preview_rows(collection, subject).sections


def preview_rows(collection: Collection, subject: Subject) -> RowCounts:
    """As ``count_rows``, with the rows that are left out."""
    runtime = collection.runtime
    timeout = runtime.settings.export_timeout_seconds
    subject = collection.subject(subject.user_id, subject.reference_id)
    counts = RowCounts({}, {})
    with open_snapshot(runtime.source, runtime.clock, statement_seconds=timeout) as snapshot:
        try:
            subject, _ = _find_person(collection, snapshot, subject)
            require_alone(snapshot, collection.sections, collection.key, subject.user_id)
        except SubjectNotFound:
            raise SubjectNotFound(
                f"user {subject.user_id} does not exist in the source database; check the id"
            ) from None
        for section in collection.sections:
            if not isinstance(section, TableSection):
                counts.sections[section.name] = sum(1 for _ in yielded_by(section, subject))
            elif section.database == "source":
                counts.sections[section.name], left_out = snapshot.count_both(section, subject)
                if section.single and counts.sections[section.name] > 1:
                    raise SubjectNotUnique(section.name)
                if section.leave_out_deleted:
                    counts.left_out[section.name] = left_out
            else:
                counts.sections[section.name] = 1 if subject.reference_id else 0
    return counts


def _function_files(
    section: FilesSection, facts: dict[str, Any], subject: Subject, checkpoint: Checkpoint
) -> Iterator[SectionStream | FileStream]:
    """The files that a function yields, then the section that lists them."""
    listing = Listing(section.name)
    yield from function_files(listing, _yielded(section, subject), checkpoint)
    yield SectionStream(
        section.name,
        False,
        listing.rendered(),
        facts,
        included=listing.included,
        absent=listing.absent,
        absent_more=listing.absent_more,
    )


def _yielded(section: FilesSection, subject: Subject) -> Iterator[tuple[str, Iterable[bytes]]]:
    """What a section's function yields; called once the first file is asked for."""
    yield from section.files(subject)


def _named_files(
    section: TableSection, snapshot: Snapshot, subject: Subject, checkpoint: Checkpoint
) -> Iterator[FileStream]:
    """The files that a section's rows name, then a list of them."""
    listing = Listing(f"{section.name}_files")
    yield from named_files(
        listing,
        snapshot.file_paths(section, subject, checkpoint),
        section.files,
        key=subject.user_id,
        json_columns=json_columns(section),
        checkpoint=checkpoint,
    )
    yield FileStream(
        f"{section.name}_files.json",
        as_array(listing.rendered()),
        included=listing.included,
        absent=listing.absent,
        absent_more=listing.absent_more,
    )


def _stream(
    section: TableSection | FunctionSection,
    facts: dict[str, Any],
    snapshot: Snapshot,
    subject: Subject,
    checkpoint: Checkpoint,
    request_row: list[bytes],
) -> SectionStream:
    if not isinstance(section, TableSection):
        rows = gathered(function_rows(section, subject))
    elif section.database == "control":
        rows = gathered(request_row)
    else:
        rows = table_rows(section, snapshot, subject, checkpoint)
    return SectionStream(section.name, section.single, rows, facts)


def table_rows(
    section: TableSection, snapshot: Snapshot, subject: Subject, checkpoint: Checkpoint
) -> Iterator[Rows]:
    """A table section's rows of that person, read and rendered some at a time.

    ``checkpoint`` is called before every chunk and may raise to stop. Raises ``ValueTooLarge``.
    """
    render = table_renderer(section, subject, any_type=snapshot.any_type)
    size = snapshot.chunk_size()
    names = [each.name for each in (*section.read_columns(), *section.extra_columns())]
    try:
        for chunk in snapshot.chunks(section, subject, size, checkpoint):
            own = snapshot.own_rows(section, subject, chunk, names)
            if not own:
                continue
            rows = render(own)
            size.told(rows.count, len(rows.text))
            yield rows
    except DBAPIError as error:
        if is_too_large(error):
            raise too_large(snapshot.connection, section, subject) from error
        raise


def describe(section: Section, language: str, read_at: datetime) -> dict[str, Any]:
    """What ``meta.json`` says of a section, rows or none.

    That it was searched and at what instant, what it is, the Art. 15(1) facts, and what is withheld
    and masked.
    """
    told = _told.get(section, language, lambda: _tell(section, language))
    # What whoever gets it may change is its own.
    copied = {name: dict(fact) if isinstance(fact, dict) else fact for name, fact in told.items()}
    return {"searched": True, "snapshot_at": read_at.isoformat(), **copied}


_told: Final[PerSection[dict[str, Any]]] = PerSection()


def _tell(section: Section, language: str) -> dict[str, Any]:
    """What there is to say of a section whoever is exported, and whenever."""
    facts: dict[str, Any] = {
        "title": in_language(section.wording.title, language) or humanised(section.name),
        "description": in_language(section.wording.description, language),
        **section.facts.told(language),
    }
    if isinstance(section, TableSection):
        withheld, masked = left_out(section)
        facts |= {
            "withheld": {place: str(reason) for place, reason in withheld.items()},
            "masked": {place: str(reason) for place, reason in masked.items()},
        }
        if section.leave_out_deleted:
            facts["deleted_rows_left_out"] = section.leave_out_deleted.reason
    return facts


def _find_person(
    collection: Collection, snapshot: Snapshot, subject: Subject
) -> tuple[Subject, Any]:
    """The person as the people's table writes their key, and when their row was made.

    Raises unless they are there, by the very key; tells a lagging replica from a person who is
    gone.
    """
    for key in (subject.user_id, *other_writings(collection.key, subject.user_id)):
        found = subject if key == subject.user_id else Subject(key, subject.reference_id)
        row = _row_of_person(collection, snapshot, found)
        if row is not None:
            return found, row[1] if len(row) > 1 else None
    runtime = collection.runtime
    if runtime.settings.source_may_lag and _may_be_in_primary(collection, subject):
        raise SubjectNotInReplica("the user is not in the replica yet; it will be tried again")
    if subject.reference_id is None:
        column = collection.key
        raise SubjectNotFound(
            f"the user does not exist: nobody in {column.table.name} has that {column.name}"
        )
    raise SubjectNotFound("the request's user does not exist (any more); cancel the request")


def _row_of_person(
    collection: Collection, snapshot: Snapshot, subject: Subject
) -> Sequence[Any] | None:
    """The key of the row with that person's very key, and when that was made where it is known."""
    key, created, dialect = collection.key, collection.created, snapshot.connection.dialect.name
    names = [str(each.name) for each in (key, created) if each is not None]
    return snapshot.first_row(
        collection.account,
        subject,
        names,
        lambda row: is_exactly(key, subject.user_id, row[0], dialect),
    )


def _exists(connection: Connection, collection: Collection, subject: Subject) -> bool:
    dialect = connection.dialect.name
    query = sa.select(faithful(collection.key, dialect)).where(
        collection.account.owned_by(subject.user_id)
    )
    found = connection.execute(query).scalars()
    return any(is_exactly(collection.key, subject.user_id, each, dialect) for each in found)


def _may_be_in_primary(collection: Collection, subject: Subject) -> bool:
    """Whether the control database, where it is the replica's primary, has the person; or does not
    tell this role, which is no reason to believe that the person is gone.
    """
    engine = collection.runtime.control
    # In a transaction, in which no policy hides the person: it is an error.
    with named_errors(engine.url), engine.begin() as connection:
        try:
            return _exists(connection, collection, subject)
        except DBAPIError as error:
            # Or no such table, or one of another shape: not this application's primary.
            return is_refused(error)
