"""Whom a table is about, and which of its columns name somebody else: by names alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Final

import sqlalchemy as sa

from backend.services.base_types import stored_type
from backend.services.reflection import Name
from backend.services.schema_graph import Schema, Way
from backend.services.table_shapes import ForeignKey, TableShape
from backend.services.telling_names import (
    ACTING,
    ADDRESSED,
    LIKE_A_PERSON,
    NAMES,
    OFFICES,
    ORIGIN,
    PEOPLE,
    RELATED,
    TEAMS,
    WHOM,
    apart,
    is_handed,
    looks_personal,
    tells,
    words,
)

# What a text is sorted or chosen by is no person.
_BY_NOBODY: Final = frozenset(
    {"sort", "sorted", "order", "ordered", "group", "grouped", "filter", "http"}
)


class Peopled(Enum):
    """Whether each row of a table is a person."""

    NO = "no"
    PERHAPS = "perhaps"
    YES = "yes"


def peopled(table: TableShape, *, beside: Iterable[str] = ()) -> Peopled:
    """Whether each row is a person. An e-mail address alone does not say so: a team has one.

    Nor do the columns that ``beside`` names.
    """
    like = [name for name in table.columns if tells(name, LIKE_A_PERSON)]
    if not like:
        return Peopled.NO
    if is_team(table):
        return Peopled.PERHAPS
    more = [name for name in like if name not in beside and not tells(name, ADDRESSED)]
    return Peopled.YES if more or tells(table.name[1], PEOPLE) else Peopled.PERHAPS


def is_team(table: TableShape) -> bool:
    """Whether a table is called as one of teams, tenants or others that several people share."""
    return bool(TEAMS.intersection(words(table.name[1])[-1:]))


def through_team(schema: Schema, way: Way, person: Name) -> Name | None:
    """The table of teams that a way to the person passes, so that its rows may be several's."""
    for key in way:
        target = schema.tables.get(key.target)
        if key.target != person and target is not None and is_team(target):
            return key.target
    return None


def names_others(table: TableShape, to_person: Sequence[str]) -> dict[str, str | None]:
    """The columns of text that name or address somebody by a role, such as ``created_by``.

    With each the column that holds the same one's key, if one of ``to_person`` does. Where that is
    the only key to a person the text is the person's own, and not among them.
    """
    found: dict[str, str | None] = {}
    for name, column in table.columns.items():
        role = _role(name)
        if role is None or not _may_name(name, column.type):
            continue
        own = next((each for each in to_person if role in words(each)), None)
        if own is None or len(to_person) > 1:
            found[name] = own
    return found


def _role(column: str) -> str | None:
    """The word of a name that says as what somebody is named there; None if it names nobody."""
    found = apart(column)
    if "useragent" in "".join(found[-2:]):
        found = [*found[:-2], "useragent"] if found[-1] == "agent" else found
    if not found or _BY_NOBODY.intersection(found) or found[0] in _ASKING:
        return None
    if (role := _named_last(found)) is not None:
        return role
    roles = [each for n, each in enumerate(found) if each in _ROLES or is_handed(found[: n + 1])]
    if not roles:
        return None
    role = roles[0]
    rest = " ".join(each for each in found if each != role)
    named = NAMES.intersection(found[-1:]) or looks_personal("", rest)
    return role if named else None


def _named_last(found: Sequence[str]) -> str | None:
    """The role of a name that ends in it: ``created_by``, ``assigned_to``, ``line_manager``."""
    last, before = found[-1], found[-2] if len(found) > 1 else ""
    if before in _BY and last in PEOPLE | ACTING | WHOM | OFFICES | _WHO:
        return last
    joined = {last, before + last, "".join(found[-3:])}
    if joined & (WHOM | OFFICES | _NEXT_TO | _CONTACTS) or (last == "contact" and before in _ROLES):
        return last
    if last in ACTING or is_handed(found):
        # "editor" alone may be a text's own, and "von" a time's.
        return before or None
    return None


_BY: Final = frozenset({"by", "von", "durch", "par", "por"})
_WHO: Final = frozenset({"who", "whom"})
# Who stands next to the person, by a word that alone says so.
_NEXT_TO: Final = RELATED - {"emergency", "notfall", "urgence", "emergencia", "rep", "referrer"}
_CONTACTS: Final = frozenset(
    {"emergencycontact", "emergencyperson", "icecontact", "contactperson", "contactourgence"}
    | {"personacontacto", "contactoemergencia", "trustedcontact"}
)
# Such a word names somebody beside a name or an address alone.
_AROUND: Final = frozenset(
    {"partner", "parent", "child", "kid", "son", "friend", "neighbour", "neighbor", "sponsor"}
    | {"buddy", "verifier", "counterparty", "freund", "freundin", "kind", "enfant", "hijo"}
)
_ROLES: Final = WHOM | ACTING | RELATED | OFFICES | _AROUND
_ASKING: Final = frozenset({"is", "has", "can", "may", "needs", "allow", "allows", "ist", "hat"})


def _may_name(name: str, kind: sa.types.TypeEngine[Any]) -> bool:
    """Whether values of a column, or the items of its arrays, may name or address somebody."""
    kind = stored_type(kind)
    if isinstance(kind, sa.ARRAY):
        return _may_name(name, kind.item_type)
    return _is_text(kind) or _is_address(name, kind)


def _is_text(kind: sa.types.TypeEngine[Any]) -> bool:
    kind = stored_type(kind)
    text = isinstance(kind, sa.String) and not isinstance(kind, sa.Enum)
    return text or isinstance(kind, sa.types.NullType) or kind.__visit_name__ == "CITEXT"


def _is_address(name: str, kind: sa.types.TypeEngine[Any]) -> bool:
    """Whether values are addresses of machines, which say who used them; of any type, by name."""
    kind = stored_type(kind)
    if kind.__visit_name__ in ("INET", "CIDR", "INET4", "INET6", "MACADDR", "MACADDR8"):
        return True
    written = isinstance(kind, (sa.types._Binary, sa.Integer, sa.Numeric))
    return written and tells(" ".join(apart(name)), ORIGIN)


# What people are known by in other tables, class by class.
_ADDRESSES: Final = (
    frozenset({"email", "emailaddress", "mail", "mailaddress", "courriel", "correo", "emailid"}),
    frozenset({"username", "login", "userlogin", "loginname", "benutzername", "nutzername"}),
)


def by_address(table: TableShape, people: TableShape, known: Iterable[str]) -> list[ForeignKey]:
    """Guessed keys by columns that hold an e-mail address or a user name, as the people's do."""
    found: list[ForeignKey] = []
    for listed in _ADDRESSES:
        theirs = next((n for n, c in people.columns.items() if _is_one(n, c, listed)), None)
        if theirs is None or table.name == people.name:
            continue
        found += [
            ForeignKey((name,), people.name, (theirs,), guessed=True)
            for name, column in table.columns.items()
            if name not in known and _is_one(name, column, listed)
        ]
    return found


def _is_one(name: str, column: sa.Column[Any], listed: frozenset[str]) -> bool:
    found = words(name)
    return _is_text(column.type) and any(
        "".join(found[-length:]) in listed for length in (1, 2) if length <= len(found)
    )
