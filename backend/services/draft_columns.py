"""What a draft says of each column: exported, withheld or masked, or for a person to decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from backend.services.base_types import is_structured
from backend.services.credential_names import Secrecy
from backend.services.draft_text import key_text
from backend.services.other_people import Peopled, names_others, peopled
from backend.services.reflection import Name
from backend.services.schema_graph import ForeignKey, Schema, TableShape, Way
from backend.services.sections import Reason
from backend.services.subject_keys import kind_of
from backend.services.telling_names import ACTING, AUDIT, ORIGIN, looks_personal, tells

_DOUBT: Final = "TODO: does it give access? Say why it is withheld, or export it"
_WHOSE: Final = "TODO: whose key is it? Say why it is masked, export it, or add it to owner"
_WHO: Final = "TODO: who is named here? Say why it is masked, or export it if it is the person"
_WHAT: Final = "TODO: is this another person? Say why it is masked, or export it"


@dataclass(frozen=True, slots=True)
class Mask:
    """Why a column is masked, and the column whose key unmasks it."""

    own: str | None = None
    reason: str = str(Reason.OTHER_PERSON)


@dataclass
class Plan:
    """What will be said of one table."""

    table: TableShape
    name: str
    owners: Sequence[Way]
    notes: list[str] = field(default_factory=list)
    exported: list[str] = field(default_factory=list)
    withheld: dict[str, str] = field(default_factory=dict)
    masked: dict[str, Mask] = field(default_factory=dict)
    structured: list[str] = field(default_factory=list)  # exported, and holds what no name tells


class Deciding:
    """Decides about the columns of one table after another."""

    def __init__(self, schema: Schema, person: TableShape, key: str) -> None:
        self._schema = schema
        self._person = person
        self._key = key
        self._leading = schema.distances(person.name)

    def decide(self, plan: Plan) -> Plan:
        """Fill in the plan: every column of its table once."""
        table = plan.table
        keys = {each.columns[0]: each for each in self._schema.keys_of(table.name) if single(each)}
        to_person = [name for name, key in keys.items() if key.target == self._person.name]
        acting = next((name for name in to_person if tells(name, ACTING)), None)
        secret = self._schema.secret(table.name, self._person.name)
        like_keys = self._schema.like_keys(table.name, self._person.name)
        owning = {column for way in plan.owners if way for column in way[0].columns}
        others = names_others(table, to_person)
        for name, column in table.columns.items():
            if name in secret and (table is not self._person or name != self._key):
                sure = secret[name] is Secrecy.SURE
                plan.withheld[name] = str(Reason.CREDENTIAL) if sure else _DOUBT
            elif name in keys:
                self._decide_reference(plan, name, keys[name], to_person)
            elif _is_of_who_acted(table, name, acting):
                plan.masked[name] = Mask(acting)
            elif name in like_keys:
                own = name if self._is_like_the_key(column) else None
                plan.masked[name] = Mask(own, _WHOSE)
            elif name in others and name not in owning:
                plan.masked[name] = Mask(others[name], _WHO)
            else:
                plan.exported.append(name)
            if name in plan.exported and is_structured(column.type):
                plan.structured.append(name)
                plan.notes.append(
                    f"{name} is JSON. Secrets in it: "
                    f'json.{key_text(name)}.withheld = {{ "a.*.b" = "credential" }}'
                )
        return plan

    def _decide_reference(
        self, plan: Plan, name: str, key: ForeignKey, to_person: Sequence[str]
    ) -> None:
        if key.target == self._person.name:
            # With one such column the row is theirs; with several it may name somebody else.
            if len(to_person) > 1 or plan.table is self._person:
                plan.masked[name] = Mask(name)
                return
        elif (found := self._peopled(key.target)) is not Peopled.NO:
            sure = found is Peopled.YES and not key.guessed
            plan.masked[name] = Mask() if sure else Mask(None, _WHAT)
            return
        plan.exported.append(name)

    def _peopled(self, name: Name) -> Peopled:
        target = self._schema.tables.get(name)
        return Peopled.NO if target is None or name in self._leading else peopled(target)

    def _is_like_the_key(self, column: sa.Column[Any]) -> bool:
        return kind_of(column) is kind_of(self._person.columns[self._key])


def single(key: ForeignKey) -> bool:
    """Whether a key is of one column."""
    return len(key.columns) == 1


def _is_of_who_acted(table: TableShape, name: str, acting: str | None) -> bool:
    """Whether a column of an audit log names the person who acted, who may be staff."""
    if not tells(table.name[1], AUDIT):
        return False
    if tells(name, ORIGIN):
        return acting is not None
    return tells(name, ACTING) and looks_personal("", name)
