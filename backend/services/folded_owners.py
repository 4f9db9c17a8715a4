"""Owner paths that ignore capitals: they may lead to one person alone.

A declaration says that the capitals of an e-mail address do not matter. Where two people's differ
by nothing else, their rows cannot be told apart, and nothing is exported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from backend.errors import SubjectAmbiguous
from backend.services.comparison import Match, joining, matching
from backend.services.keyed_statements import keyed
from backend.services.sections import OwnerPath, Section, TableSection
from backend.services.snapshot import Snapshot
from backend.services.subject_keys import bound

_Others = Callable[[Any], ColumnElement[bool]]  # by a person's key: rows that are like theirs


def require_alone(
    snapshot: Snapshot, sections: Iterable[Section], key: sa.Column[Any], user_id: Any
) -> None:
    """Raise ``SubjectAmbiguous`` where another person is this one but for ignored capitals.

    Costs nothing where no owner path ignores any.
    """
    for section in sections:
        if not isinstance(section, TableSection):
            continue
        for number, (table, columns, others) in enumerate(_folded(section, key)):
            if _any(snapshot, section, f"alike {number}", table, others, user_id):
                raise SubjectAmbiguous(
                    f"section {section.name!r} ignores capitals in {', '.join(columns)}, and "
                    f"another row of {table.name} that is not this person's has the same text but "
                    "for capitals; correct that row, or declare the owner path with ="
                )


def _any(
    snapshot: Snapshot,
    section: TableSection,
    use: str,
    table: sa.Table,
    others: _Others,
    user_id: Any,
) -> bool:
    def build(key: Any) -> sa.Select[Any]:
        return sa.select(sa.literal(1)).select_from(table).where(others(key)).limit(1)

    snapshot.settle()
    query, parameters = keyed(snapshot.connection.engine, section, use, build).about(user_id)
    return snapshot.connection.execute(query, parameters).first() is not None


def _folded(
    section: TableSection, key: sa.Column[Any]
) -> Iterator[tuple[sa.Table, list[str], _Others]]:
    """Each comparison that ignores capitals: the table it leads to, its columns, and the others."""
    for path in section.owner_paths:
        left = path
        while left.hops:
            hop, left = left.hops[0], left.beyond_first()
            if hop.ignore_case:
                pairs = [
                    (target, target, name in hop.ignore_case)
                    for name, target in zip(hop.columns, hop.targets, strict=True)
                ]
                names = [str(target.name) for _, target, folded in pairs if folded]
                yield hop.table, names, _alike(left, hop.table, pairs)
        if path.match is Match.IGNORE_CASE and isinstance(key.table, sa.Table):
            yield key.table, [str(key.name)], _alike_key(key)


def _alike(path: OwnerPath, table: sa.Table, pairs: list[Any]) -> _Others:
    def others(key: Any) -> ColumnElement[bool]:
        owned = path.condition(table, key)
        return sa.and_(sa.not_(owned), joining(pairs, owned))

    return others


def _alike_key(column: sa.Column[Any]) -> _Others:
    def others(key: Any) -> ColumnElement[bool]:
        parameter = bound(column, key)
        if parameter is None:
            return sa.false()
        own = matching(column, parameter, Match.EXACT)
        return sa.and_(sa.not_(own), matching(column, parameter, Match.IGNORE_CASE))

    return others
