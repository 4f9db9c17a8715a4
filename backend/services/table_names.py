"""Which table a column is called after: ``order_id`` after ``orders``, and after ``app_orders``.

Names are compared word by word, in small letters and without accents: singular or plural (English,
German, French, Spanish), and without a prefix that other tables have as well (``wp_``, ``app_``,
``blog_`` beside ``shop_``). A guess, for a person to look at.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from backend.services.reflection import Name
from backend.services.telling_names import words

_BEFORE: Final = frozenset({"id", "fk", "ref"})
_AFTER: Final = frozenset({"id", "uuid", "guid", "oid", "fk"})
# A number of its own, such as a line's, unless the other table's key is called so, too.
_NUMBERS: Final = frozenset({"nr", "no", "num", "number", "nummer", "ref", "key"})
_JOINED: Final = re.compile(r"(.{2,}?)(id|uuid|guid|fk|nr)")
_MODEL_OF_AN_APP: Final = 2  # words: Django's app_model
_DEEPEST: Final = 2  # words of a prefix
_IRREGULAR: Final = {
    "person": ("people", "persons", "personen", "personnes", "personas"),
    "child": ("children",),
    "man": ("men",),
    "woman": ("women",),
    "mouse": ("mice",),
    "datum": ("data",),
    "medium": ("media",),
    "criterion": ("criteria",),
    "index": ("indices",),
    "analysis": ("analyses",),
    "staff": ("staff",),
    "mitarbeiter": ("mitarbeitende",),
}


@dataclass(frozen=True, slots=True)
class Reference:
    """A column's name without what makes it a key's."""

    base: tuple[str, ...]
    is_number: bool


def referred(column: str) -> Reference | None:
    """What a column that is called as a key is called after; None for any other column."""
    found = words(column)
    number = False
    if len(found) == 1:
        if found[0] in _AFTER | _NUMBERS:
            return None
        joined = _JOINED.fullmatch(found[0])
        return None if joined is None else Reference((joined[1],), joined[2] == "nr")
    is_key = False
    while len(found) > 1 and found[-1] in _AFTER | _NUMBERS:
        number = number or found[-1] in _NUMBERS
        is_key, found = True, found[:-1]
    while len(found) > 1 and found[0] in _BEFORE:
        is_key, found = True, found[1:]
    return Reference(tuple(found), number) if is_key else None


def is_number(column: str) -> bool:
    """Whether a key's column is called a number: ``kunden_nr``."""
    return words(column)[-1:] != [] and words(column)[-1].endswith(tuple(_NUMBERS))


class TableNames:
    """The tables of a database by what columns that refer to them are called."""

    def __init__(self, names: Iterable[Name]) -> None:
        all_names = list(names)
        self._words = {name: _without_mark(words(name[1])) for name in all_names}
        counts = Counter(
            (name[0], tuple(parts[:depth]))
            for name, parts in self._words.items()
            for depth in range(1, min(len(parts), _DEEPEST + 1))
        )
        # Of letters, as words cannot be told apart in ``wpusers``.
        common = os.path.commonprefix([name[1].lower() for name in all_names])  # noqa: RUF071
        self._found: defaultdict[str, list[tuple[int, Name]]] = defaultdict(list)
        for name, parts in self._words.items():
            for rank, rest in self._forms(name, parts, counts):
                self._found[_plain("".join(rest))].append((rank, name))
            joined = name[1].lower()
            for prefix in {common, "tbl"}:
                if len(all_names) > 1 and prefix and joined.startswith(prefix) and joined != prefix:
                    rest = words(name[1][len(prefix) :])
                    self._found[_plain("".join(rest))].append((1, name))

    @staticmethod
    def _forms(
        name: Name, parts: Sequence[str], counts: Counter[tuple[str | None, tuple[str, ...]]]
    ) -> Iterator[tuple[int, Sequence[str]]]:
        yield 0, parts
        for depth in range(1, min(len(parts), _DEEPEST + 1)):
            if counts[name[0], tuple(parts[:depth])] > 1:
                yield depth, parts[depth:]
            elif len(parts) == _MODEL_OF_AN_APP:
                yield _DEEPEST + 1, parts[1:]

    def of(self, name: str) -> list[Name]:
        """The tables of exactly this name, and if there is none, those of a prefix before it."""
        found = [each for each in self._found.get(_plain(name), ()) if each[0] <= _DEEPEST]
        least = min((rank for rank, _ in found), default=0)
        return sorted({name for rank, name in found if rank == least or rank > 0 < least}, key=str)

    def called(self, base: Sequence[str], near: Name) -> Iterator[Name]:
        """The tables that ``base`` is the name of, the likeliest for a column of ``near`` first.

        Then those that its last words are the name of: ``billing_address`` of ``addresses``.
        """
        for start in range(len(base)):
            yield from self._called(base[start:], near)

    def _called(self, base: Sequence[str], near: Name) -> Iterator[Name]:
        mine = self._words[near]
        found: dict[Name, tuple[bool, bool, int]] = {}
        for form in _plurals(base[-1]):
            for rank, name in self._found.get(_plain("".join((*base[:-1], form))), ()):
                theirs = self._words[name]
                apart = rank > 0 and mine[:1] != theirs[:1]
                order = (name[0] != near[0], apart, rank)
                found[name] = min(order, found.get(name, order))
        yield from sorted(found, key=lambda name: (found[name], str(name)))


def _without_mark(parts: list[str]) -> list[str]:
    """A table's words without the one that says that it is a table."""
    kept = [each for each in parts if each not in ("tbl", "table", "tab")]
    return kept or parts


def _plain(name: str) -> str:
    """A name whose umlauts count as none: ``auftraege`` is of ``auftrag``."""
    return re.sub("([aou])e", r"\1", name)


def _plurals(word: str) -> set[str]:
    """A word, and what several of it may be called; the one where the word says several."""
    found = {word, *(f"{word}{end}" for end in ("s", "es", "n", "en", "e", "er", "nen", "x"))}
    found.update(_IRREGULAR.get(word, ()))
    found.update(one for one, several in _IRREGULAR.items() if word in several)
    for end, others in (
        ("y", ("ies",)), ("f", ("ves",)), ("fe", ("ves",)), ("al", ("aux",)), ("z", ("zzes",)),
        ("um", ("en",)), ("us", ("en", "i")), ("a", ("en", "ae")), ("o", ("en",)), ("is", ("es",)),
        ("s", ("",)), ("ies", ("y",)), ("es", ("",)), ("en", ("",)), ("n", ("",)),
    ):  # fmt: skip
        if word.endswith(end) and len(word) > len(end) + 1:
            found.update(word[: -len(end)] + other for other in others)
    return found
