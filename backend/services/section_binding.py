"""A ``sections.toml`` and the database's real schema, put together: the sections of an export.

Everything that the file names must be there, every column of a table must have a disposition, and
every owner path must lead to the person; what does not is a ``SectionError`` that names file,
section and culprit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from backend.engines import make_snapshot_engine
from backend.errors import SectionError
from backend.extensions import Runtime
from backend.services.collection import Collection
from backend.services.comparison import Family, Match, compared_alike, family_of, refusal
from backend.services.file_folders import split
from backend.services.nearest import hint
from backend.services.reflection import VERSIONED, Name, Reflected, plain_name, reflect, shown
from backend.services.row_conditions import ColumnIs, LeftOut
from backend.services.sections import (
    Exemption,
    Hop,
    OwnerPath,
    Section,
    TableSection,
)
from backend.services.sections_file import (
    Owner,
    SectionEntry,
    SectionsFile,
    read_sections_file,
)
from backend.services.subject_age import creation_column
from backend.services.subject_keys import KeyKind, kind_of, type_like
from backend.settings import Settings

KeyType = Callable[[], sa.types.TypeEngine[Any]]

ACCOUNT: Final = "account"
_DEFINITE: Final = frozenset({KeyKind.WHOLE, KeyKind.UUID, KeyKind.OCTETS})


def collection_from_file(runtime: Runtime, path: Path, request: TableSection) -> Collection:
    """The file's sections, read against the source database, and ``request``, which is ours.

    Raises ``SectionError``, ``DatabaseUnreachable`` or ``DatabaseBusy``.
    """
    file = read_sections_file(path)
    binding = Binding.of(path, file, runtime.source)
    sections: list[Section] = [binding.bind(entry) for entry in file.section]
    account = next((each for each in sections if each.name == ACCOUNT), None)
    if not isinstance(account, TableSection) or account.table is not binding.person:
        raise SectionError(
            f"{path}: there is no section {ACCOUNT!r} of the subject's table "
            f"{shown(file.subject.table_name)}; add one, it stands for the person"
        )
    return Collection(
        runtime=runtime,
        sections=(*sections, request),
        account=account,
        request=request,
        key=binding.key,
        exemptions=exemptions_of(file),
    )


def exemptions_of(file: SectionsFile) -> Sequence[Exemption]:
    """What the file exempts from coverage."""
    return tuple(
        Exemption(each.table, each.reason, each.columns, each.schema_, each.history)
        for each in file.exempt
    )


def key_type_of(settings: Settings) -> KeyType | None:
    """How ``dsar migrate`` finds the type of the people's key; None where it is the models' own.

    The function reads the file and the people's table, and raises ``SectionError``,
    ``DatabaseUnreachable`` or ``DatabaseBusy``.
    """
    path = settings.sections_file
    if path is None:
        return None

    def find() -> sa.types.TypeEngine[Any]:
        subject = read_sections_file(path).subject
        engine = make_snapshot_engine(settings.source_url, None)
        try:
            reflected = reflect(engine, [subject.table_name], person=subject.table_name)
        finally:
            engine.dispose()
        return type_like(_key(path, subject.table_name, subject.key, reflected))

    return find


def _key(path: Path, table: Name, key: str, reflected: Reflected) -> sa.Column[Any]:
    found = reflected.find(table)
    if found is None:
        raise SectionError(
            f"{path}: subject: the source database has no table {shown(table)}"
            f"{reflected.hint(table)}"
        )
    if key not in found.c:
        raise _no_column(f"{path}: subject", table, found, key)
    return found.c[key]


@dataclass(frozen=True, slots=True)
class Binding:
    """A file, and the tables that it names as the database has them."""

    path: Path
    file: SectionsFile
    reflected: Reflected
    key: sa.Column[Any]
    dialect: str

    @classmethod
    def of(cls, path: Path, file: SectionsFile, engine: Engine) -> Binding:
        """Reflect what the file names. Raises ``SectionError`` without the people's table."""
        subject = file.subject
        reflected = reflect(
            engine, file.table_names(), person=subject.table_name, ends=list(_ends(file))
        )
        key = _key(path, subject.table_name, subject.key, reflected)
        return cls(path, file, reflected, key, engine.dialect.name)

    @property
    def person(self) -> sa.Table:
        """The people's table."""
        found = self.key.table
        assert isinstance(found, sa.Table)
        return found

    def bind(self, entry: SectionEntry) -> TableSection:
        """One section over its table. Raises ``SectionError``."""
        where = f"{self.path}: section {entry.name!r}"
        table = self._table(where, entry.table_name)
        owners = entry.owner
        is_account = table is self.person and entry.name == ACCOUNT
        created = creation_column(table)
        if table is self.person and not owners:
            owners = (Owner(column=self.key.name),)
        paths = tuple(self._owner_path(where, entry.table_name, owner) for owner in owners)
        deleted = entry.leave_out_deleted
        left_out = None
        if deleted is not None:
            left_out = LeftOut(deleted.column, deleted.reason, deleted.deleted_when or None)
        history = self._history(where, entry, table)
        files = {name: self._folder(where, each) for name, each in entry.files.items()}
        try:
            return TableSection(
                name=entry.name,
                table=table,
                owner_paths=paths,
                columns=entry.dispositions(),
                facts=self.file.facts_of(entry),
                single=entry.single or entry.name == ACCOUNT,
                history=history,
                large_objects=frozenset(entry.large_objects),
                order_by=entry.order_by,
                leave_out_deleted=left_out,
                wording=entry.wording,
                language=entry.language,
                key=self.key.name if is_account else None,
                created=created.name if is_account and created is not None else None,
                files=files,
            )
        except SectionError as error:
            raise SectionError(f"{self.path}: {error}") from None

    def _history(self, where: str, entry: SectionEntry, table: sa.Table) -> bool:
        if entry.history and not table.info.get(VERSIONED):
            raise SectionError(
                f"{where}: history: the database keeps no earlier rows of "
                f"{shown(entry.table_name)} (MariaDB does, of tables WITH SYSTEM "
                "VERSIONING); take it out"
            )
        return entry.history

    def _folder(self, where: str, folder: str) -> str:
        """A folder of files, absolute; one without a leading slash stands beside the file.

        Of one that carries the key the part before it must be there.
        """
        found = str(self.path.absolute().parent / folder)
        try:
            base, _ = split(found)
        except SectionError as error:
            raise SectionError(f"{where}: files: {error}") from None
        if not Path(base).is_dir():
            meant = "; of names in braces only {key} is known" if "{" in base else ""
            raise SectionError(
                f"{where}: files: there is no folder {base}; make or mount it{meant}"
            )
        return found

    def _table(self, where: str, name: Name) -> sa.Table:
        found = self.reflected.find(name)
        if found is None:
            raise SectionError(
                f"{where}: the source database has no table {shown(name)}"
                f"{self.reflected.hint(name)}"
            )
        return found

    def _owner_path(self, where: str, start: Name, owner: Owner) -> OwnerPath:
        at, name = self._table(where, start), start
        hops = []
        for join in owner.path:
            following = self._table(f"{where}: owner", join.table)
            for here, there in join.pairs:
                _require(f"{where}: owner", name, at, here)
                _require(f"{where}: owner", join.table, following, there)
                self._require_comparable(f"{where}: owner", at.c[here], following.c[there])
                if here in join.ignore_case:
                    _require_texts(f"{where}: owner", at.c[here], following.c[there])
            (column, target), *more = join.pairs
            also = tuple((here, following.c[there]) for here, there in more)
            conditions = self._conditions(owner, join.table)
            hops.append(Hop(column, following.c[target], also, join.ignore_case, conditions))
            at, name = following, join.table
        _require(f"{where}: owner", name, at, owner.column)
        end = at.c[owner.column]
        self._require_key(f"{where}: owner", name, end)
        self._require_comparable(f"{where}: owner", end, self.key)
        self._require_passed(f"{where}: owner", owner)
        own = owner.conditions.get(None, ())
        if owner.ignore_case:
            _require_texts(f"{where}: owner", end, self.key)
        match = Match.IGNORE_CASE if owner.ignore_case else self._match(end)
        return OwnerPath(owner.column, tuple(hops), match, own)

    def _conditions(self, owner: Owner, table: Name) -> tuple[ColumnIs, ...]:
        """What the owner path asks of the rows of a table that it passes."""
        default = self.reflected.default_schema
        at = plain_name(table, default)
        named = [(name, found) for name, found in owner.conditions.items() if name is not None]
        return tuple(e for name, found in named if plain_name(name, default) == at for e in found)

    def _require_passed(self, where: str, owner: Owner) -> None:
        """Raise where a condition is on a table that the path does not pass just once."""
        default = self.reflected.default_schema
        passed = [plain_name(join.table, default) for join in owner.path]
        for name in owner.conditions:
            if name is not None and (times := passed.count(plain_name(name, default))) != 1:
                raise SectionError(
                    f"{where}: where: the path passes {shown(name)} {times} times, not once; name "
                    "a table of the path, or a column of the section's own table alone"
                )

    def _match(self, end: sa.Column[Any]) -> Match:
        """How an owner path's last column is compared with the key."""
        if compared_alike(end, self.key):
            return Match.AS_KEY
        is_uuid = kind_of(self.key) in (KeyKind.UUID, KeyKind.OCTETS)
        return Match.UUID_TEXT if is_uuid and kind_of(end) is KeyKind.TEXT else Match.EXACT

    def _require_comparable(self, where: str, here: sa.Column[Any], target: sa.Column[Any]) -> None:
        """Raise where a comparison of the two columns may take two people for one."""
        why = refusal(here, target, self.dialect, is_key=target is self.key)
        if why is not None:
            raise SectionError(
                f"{where}: {here.table.fullname}.{here.name} cannot be compared with "
                f"{target.table.fullname}.{target.name} without taking two values for one: {why}; "
                "make both columns of one type, or name another column"
            )

    def _require_key(self, where: str, name: Name, end: sa.Column[Any]) -> None:
        """Raise where the path's last column cannot hold the person's key."""
        at = (plain_name(name, self.reflected.default_schema), end.name)
        leads_to = self.reflected.elsewhere.get(at)
        subject = shown(self.file.subject.table_name)
        if leads_to is not None and end is not self.key:
            raise SectionError(
                f"{where}: {shown(name)}.{end.name} leads to {shown(leads_to)}, not to the person "
                f"in {subject}; name the joins in between, or another column"
            )
        mine, theirs = kind_of(end), kind_of(self.key)
        if mine in _DEFINITE and theirs in _DEFINITE and mine is not theirs:
            raise SectionError(
                f"{where}: {shown(name)}.{end.name} is {mine}, and the key {subject}."
                f"{self.key.name} {theirs}; it cannot lead to the person"
            )


def _ends(file: SectionsFile) -> Iterator[tuple[Name, str]]:
    """The last table and column of every owner path."""
    for section in file.section:
        for owner in section.owner:
            yield (owner.path[-1].table if owner.path else section.table_name), owner.column


def _require_texts(where: str, here: sa.Column[Any], target: sa.Column[Any]) -> None:
    for column in (here, target):
        if family_of(column) is not Family.TEXT:
            raise SectionError(
                f"{where}: {column.table.fullname}.{column.name} is no text, so it has no capitals "
                "to ignore; write = in place of ~, or leave ignore_case out"
            )


def _require(where: str, name: Name, table: sa.Table, column: str) -> None:
    if column not in table.c:
        raise _no_column(where, name, table, column)


def _no_column(where: str, name: Name, table: sa.Table, column: str) -> SectionError:
    meant = hint([column], table.c.keys())
    return SectionError(f"{where}: the table {shown(name)} has no column {column}{meant}")
