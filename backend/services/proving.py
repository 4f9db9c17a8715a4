"""Proof by canaries: two people full of tokens in a scratch copy, one of them exported, compared.

The export is made by the code that makes every export. What the declaration says of each column is
then looked up in the archive: an exported token is there as often as declared, a withheld one
nowhere, another person's nowhere, a masked one replaced by its note.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from backend.database_urls import normalise_database_url
from backend.engines import make_control_engine, make_snapshot_engine, named_errors
from backend.errors import UsageError
from backend.services.collection import Collection
from backend.services.packing import build_archive
from backend.services.rendering import json_reader
from backend.services.scratch_copy import ScratchCopy, ScratchRow
from backend.services.scratch_values import Token, in_base64
from backend.services.sections import Exported, Masked, TableSection, Withheld
from backend.services.subject_keys import same_key


class Flaw(StrEnum):
    """What an export may do wrong; stable, for scripts."""

    ROWS = "rows_wrong"
    MISSING = "token_missing"
    DOUBLED = "token_doubled"
    WITHHELD = "withheld_shown"
    OTHER_PERSON = "other_person_shown"
    UNMASKED = "not_masked"


@dataclass(frozen=True, slots=True)
class ProofFinding:
    """One flaw, by section and column."""

    flaw: Flaw
    section: str
    column: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proven: how many rows and tokens; the flaws; and what no token can prove.

    ``not_proven`` names sections and columns, ``reasons`` says why of each.
    """

    sections: int
    rows: int
    tokens: int
    not_proven: Sequence[str]
    findings: Sequence[ProofFinding]
    reasons: Mapping[str, str]


def prove(declared: Collection, scratch_url: str | None = None) -> Proof:
    """Fill a scratch copy of the declared tables, export one of its two people, and compare.

    Without ``scratch_url`` the copy is a SQLite file in a temporary folder. A database that is
    named must hold no table at all; the tables made in it are dropped again. Raises ``UsageError``
    when it holds some, or is one of this program's own; ``DatabaseUnreachable``.
    """
    with ExitStack() as stack:
        url = stack.enter_context(_scratch(declared, scratch_url))
        copy = ScratchCopy(declared, sa.make_url(url).get_dialect().name)
        stack.enter_context(_filled(copy, url))
        source = make_snapshot_engine(url, json_reader(url))
        runtime = replace(declared.runtime, source=source, kept={})
        scratch = Collection(
            runtime=runtime,
            sections=copy.sections,
            account=copy.account,
            request=declared.request,
            key=copy.key,
        )
        try:
            content, _ = build_archive(scratch, copy.people[0], None)
        finally:
            source.dispose()
    comparison = _Comparison(copy, _read(content))
    findings = list(comparison.findings())
    reasons = dict(_not_proven(declared, copy))
    return Proof(
        len(copy.sections), comparison.rows, comparison.tokens, list(reasons), findings, reasons
    )


def _not_proven(declared: Collection, copy: ScratchCopy) -> Iterator[tuple[str, str]]:
    """What no token can prove, and why."""
    for section in declared.sections:
        if not isinstance(section, TableSection):
            yield f"section {section.name}", "a function yields it, from no table here"
            continue
        for column in section.files:
            yield f"{section.name}.{column}", "the files that it names are not in the scratch copy"
    database = declared.runtime.source.dialect.name
    for place, kind in sorted(copy.stand_ins.items()):
        yield (
            place,
            f"{kind} is text in the scratch copy; proven is what becomes of the column, not how "
            f"{database} writes its type",
        )


@contextmanager
def _scratch(declared: Collection, url: str | None) -> Iterator[str]:
    if url is None:
        with tempfile.TemporaryDirectory(prefix="dsar-prove-") as folder:
            yield f"sqlite:///{Path(folder) / 'scratch.sqlite3'}"
        return
    try:
        url = normalise_database_url(url)
    except ValueError as error:
        raise UsageError(f"--scratch-url: {error}") from None
    settings = declared.runtime.settings
    if url in (settings.database_url, settings.source_url):
        raise UsageError("--scratch-url names a database in use; name an empty one made for this")
    yield url


@contextmanager
def _filled(copy: ScratchCopy, url: str) -> Iterator[None]:
    """The copy's tables with its rows in an empty database; dropped at the end."""
    engine = make_control_engine(url, create=True)
    try:
        with named_errors(engine.url, "--scratch-url"):
            if there := sa.inspect(engine).get_table_names():
                raise UsageError(
                    f"the scratch database is not empty: it holds {', '.join(sorted(there)[:5])}; "
                    "name an empty one made for this"
                )
            with _tables(copy, engine):
                yield
    finally:
        engine.dispose()


@contextmanager
def _tables(copy: ScratchCopy, engine: Engine) -> Iterator[None]:
    copy.metadata.create_all(engine, checkfirst=False)
    try:
        with engine.begin() as connection:
            for row in copy.rows:
                connection.execute(sa.insert(row.table).values(row.values))
        yield
    finally:
        copy.metadata.drop_all(engine, checkfirst=True)


def _read(content: bytes) -> dict[str, str]:
    """The archive's members by their paths, without the root folder."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return {
            name.split("/", 1)[1]: archive.read(name).decode("utf-8", "replace")
            for name in archive.namelist()
        }


class _Comparison:
    """An archive beside what the declarations say."""

    def __init__(self, copy: ScratchCopy, members: dict[str, str]) -> None:
        self._copy = copy
        self._members = members
        self._texts = {each.name: members[f"{each.name}.json"] for each in copy.sections}
        self._files = {name: json.loads(text) for name, text in self._texts.items()}
        self._me = copy.people[0]
        self.rows = 0
        self.tokens = 0

    def findings(self) -> Iterator[ProofFinding]:
        """Every flaw."""
        mine: set[int] = set()
        for section in self._copy.sections:
            rows = self._copy.rows_of(section, self._me)
            mine.update(map(id, rows))
            shown = self._files.get(section.name)
            cells = shown if isinstance(shown, list) else [shown] if shown else []
            self.rows += len(cells)
            if len(cells) != len(rows):
                yield ProofFinding(
                    Flaw.ROWS, section.name, None, f"{len(rows)} rows declared, {len(cells)} shown"
                )
            for name, disposition in section.columns.items():
                if isinstance(disposition, Withheld) and any(name in row for row in cells):
                    yield ProofFinding(Flaw.WITHHELD, section.name, name, "the column is there")
                column = [row.get(name) for row in cells if isinstance(row, dict)]
                yield from self._column(section, name, disposition, rows, column)
        for row in self._copy.rows:
            if id(row) not in mine:
                yield from self._nowhere(row)
        yield from self._other_keys()

    def _column(
        self,
        section: TableSection,
        name: str,
        disposition: Any,
        rows: Sequence[ScratchRow],
        cells: Sequence[Any],
    ) -> Iterator[ProofFinding]:
        wanted: Counter[str] = Counter()
        anywhere: set[str] = set()
        for row in rows:
            token = row.tokens[name]
            if isinstance(disposition, Withheld):
                yield from self._hidden(section.name, name, token, Flaw.WITHHELD)
            elif isinstance(disposition, Masked) and not self._is_own(row, disposition):
                wanted[disposition.note] += 1
                yield from self._hidden(section.name, name, token, Flaw.UNMASKED)
            elif name in row.parts:
                assert isinstance(disposition, Exported)
                yield from self._json(section.name, name, disposition, row)
            else:
                wanted[token.text] += 1
                if token.anywhere:
                    anywhere.add(token.text)
                yield from self._once(section.name, name, token)
        shown = Counter(_as_text(cell, anywhere) for cell in cells)
        for text, count in wanted.items():
            self.tokens += 1
            if shown[text] != count:
                yield ProofFinding(
                    Flaw.UNMASKED if text.startswith("[masked") else Flaw.MISSING,
                    section.name,
                    name,
                    f"declared {count} times, shown {shown[text]} times",
                )

    def _is_own(self, row: ScratchRow, mask: Masked) -> bool:
        return mask.unless_own is not None and same_key(row.values[mask.unless_own], self._me)

    def _json(
        self, section: str, name: str, exported: Exported, row: ScratchRow
    ) -> Iterator[ProofFinding]:
        for path, token in row.parts[name].items():
            self.tokens += 1
            where = f"{name}.{path}" if path else name
            part = exported.paths.get(path)
            if part is not None and not (isinstance(part, Masked) and self._is_own(row, part)):
                flaw = Flaw.WITHHELD if isinstance(part, Withheld) else Flaw.UNMASKED
                yield from self._hidden(section, where, token, flaw)
            elif self._texts.get(section, "").count(token.text) != 1:
                yield ProofFinding(Flaw.MISSING, section, where, "its token is not there once")

    def _once(self, section: str, name: str, token: Token) -> Iterator[ProofFinding]:
        """A token that would be known anywhere may stand in its own section alone, and once."""
        if not token.anywhere:
            return
        sharing = sum(each.table is self._table(section) for each in self._copy.sections)
        times = sum(text.count(token.text) for text in self._texts.values())
        if times > sharing:
            yield ProofFinding(Flaw.DOUBLED, section, name, f"its token is there {times} times")

    def _table(self, section: str) -> sa.Table:
        return next(each.table for each in self._copy.sections if each.name == section)

    def _hidden(self, section: str, name: str, token: Token, flaw: Flaw) -> Iterator[ProofFinding]:
        if not token.anywhere:
            return
        self.tokens += 1
        if places := [where for where, text in self._members.items() if token.text in text]:
            yield ProofFinding(flaw, section, name, f"its token is in {', '.join(places)}")

    def _nowhere(self, row: ScratchRow) -> Iterator[ProofFinding]:
        """No token of a row that is not theirs is anywhere."""
        parts = [(name, t) for name, each in row.parts.items() for t in each.values()]
        for name, token in (*row.tokens.items(), *parts):
            yield from self._hidden(row.table.name, name, token, Flaw.OTHER_PERSON)

    def _other_keys(self) -> Iterator[ProofFinding]:
        """Nobody else's key is anywhere."""
        others = {text for key in self._copy.people[1:] for text in _texts_of_key(key)}
        for section in self._copy.sections:
            shown = self._files.get(section.name)
            rows = shown if isinstance(shown, list) else [shown]
            for name in section.columns:
                cells = [row.get(name) for row in rows if isinstance(row, dict)]
                if others.intersection(map(str, cells)):
                    yield ProofFinding(
                        Flaw.OTHER_PERSON,
                        section.name,
                        name,
                        "it shows another person's key; mask it, with unless_own where it may be "
                        "the person's own",
                    )


def _texts_of_key(key: Any) -> Iterator[str]:
    yield str(key)
    if isinstance(key, UUID):
        yield in_base64(key.bytes)


def _as_text(cell: Any, anywhere: Iterable[str]) -> str:
    """A cell as the text of the token that it holds (of an instant its day, of a range its lower
    bound, of an array its one value), else as it is.
    """
    only = cell[0] if isinstance(cell, list) and len(cell) == 1 else cell
    text = str(only)
    return next((each for each in anywhere if each in text), text)
