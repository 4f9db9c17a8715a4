"""What the page says of a section whoever's data it shows: made once a section and language."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import sqlalchemy as sa
from markupsafe import Markup, escape

from backend.services.base_types import stored_type
from backend.services.page.catalogue import Catalogue
from backend.services.page.phrases import Phrases, isolated
from backend.services.page.templates import template
from backend.services.page.values import Kind, clean, kind_of
from backend.services.per_section import PerSection
from backend.services.sections import (
    Exported,
    Masked,
    Section,
    TableSection,
    Withheld,
    is_stated,
    left_out,
)
from backend.services.telling_names import words
from backend.services.wording import humanised, in_language


@dataclass(frozen=True, slots=True)
class ColumnWords:
    """A column's label with its unit, and how its values are written.

    ``cell`` is what stands before a value in a table's row, ``row_header`` before one that names
    the row. All of it is escaped.
    """

    label: Markup
    kind: Kind
    row_header: str
    cell: str

    @classmethod
    def of(cls, label: Markup, kind: Kind) -> ColumnWords:
        return cls(
            label,
            kind,
            f'<th scope="row" role="rowheader" data-label="{label}">',
            f'<td role="cell" data-label="{label}">',
        )


class SectionWords:
    """A section's heading with its facts, its labels and its notes, in one language."""

    def __init__(self, section: Section, words: Catalogue, phrases: Phrases) -> None:
        self._section = section
        self._words = words
        self._phrases = phrases
        wording, language = section.wording, words.language
        path = clean(f"{section.name}.json")
        self.anchor = f"section-{quote(path, safe='')}"
        self.title = clean(in_language(wording.title, language) or humanised(section.name))
        self.file = Markup('<a href="{}">{}</a>').format(quote(path), path)
        self.left_out = list(self._left_out())
        self.notes = dict(self._notes())
        self.head = self._head()
        self.foot = Markup('<p class="file">{} <a href="#contents">{}</a></p>').format(
            phrases("section.all", file=self.file), phrases("page.top")
        )
        self._columns: dict[str, ColumnWords] = {}

    def _head(self) -> Markup:
        """The section's heading, description and facts."""
        language = self._words.language
        deleted = getattr(self._section, "leave_out_deleted", None)
        text = template("section_head.html.j2", self._phrases).render(
            section={
                "anchor": self.anchor,
                "title": self.title,
                "description": clean(in_language(self._section.wording.description, language)),
                "deleted": None if deleted is None else clean(deleted.reason),
                "facts": [
                    (self._phrases(f"facts.{name}"), clean(fact) if is_stated(fact) else None)
                    for name, fact in self._section.facts.told(language).items()
                ],
            },
        )
        return Markup(text)  # noqa: S704  the template escapes

    def column(self, name: str) -> ColumnWords:
        """A column's words."""
        found = self._columns.get(name)
        if found is None:
            found = ColumnWords.of(self._label(name), self._kind(name))
            # A function's rows may bring any names; a table's columns are few.
            if isinstance(self._section, TableSection):
                self._columns[name] = found
        return found

    def _label(self, name: str) -> Markup:
        label = escape(self._name(name))
        unit = in_language(self._section.wording.units.get(name, ""), self._words.language)
        if not unit:
            return label
        return self._phrases("section.shown_as", label=label, unit=escape(clean(unit)))

    def _name(self, name: str) -> str:
        own = in_language(self._section.wording.labels.get(name, ""), self._words.language)
        if own:
            return clean(own)
        plain = "_".join(words(name))  # FirstName is first_name
        common = self._words.get(f"columns.{plain}", "")
        if common and not self._is_number(name):
            common = self._words.get(f"keys.{plain}", common)
        return clean(common or humanised(name))

    def _is_number(self, name: str) -> bool:
        """Whether a column's declared type is a whole number's; a function's values may be."""
        if not isinstance(self._section, TableSection):
            return True
        column = self._section.table.columns.get(name)
        return column is None or isinstance(stored_type(column.type), (sa.Integer, sa.Numeric))

    def _kind(self, name: str) -> Kind:
        if isinstance(self._section, TableSection):
            return kind_of(self._section.table.columns.get(name))
        return Kind.TEXT

    def _left_out(self) -> Iterator[Markup]:
        """What is withheld and masked, in sentences: one a reason."""
        if not isinstance(self._section, TableSection):
            return
        for key, places in zip(("withheld", "masked"), left_out(self._section), strict=True):
            by_reason: dict[str, list[Markup]] = {}
            for place, reason in places.items():
                by_reason.setdefault(str(reason), []).append(self._place(place))
            for why, names in by_reason.items():
                fields = escape(self._words["format.list"]).join(names)
                # A reason in the declarer's own words fits into no sentence of ours.
                form = "" if f"reason.{why}" in self._words else "_own"
                yield self._phrases(f"section.{key}{form}", reason=self._reason(why), fields=fields)

    def _place(self, place: str) -> Markup:
        """A column, or a place within one: ``What it does › connections › … › secret``."""
        name, *path = place.split(".")
        steps = ("…" if step == "*" else step for step in path)
        return isolated(" › ".join((self._name(name), *steps)))

    def _reason(self, reason: str) -> str:
        return self._words.get(f"reason.{reason}", reason)

    def _notes(self) -> Iterator[tuple[str, str]]:
        """What stands in the rows for values that were withheld or masked; the words for it."""
        if not isinstance(self._section, TableSection):
            return
        for disposition in self._section.columns.values():
            parts = disposition.paths.values() if isinstance(disposition, Exported) else ()
            for part in (disposition, *parts):
                if isinstance(part, (Masked, Withheld)):
                    key = "masked" if isinstance(part, Masked) else "withheld"
                    words = self._words[f"section.{key}_value"]
                    yield part.note, words.format(reason=self._reason(str(part.reason)))


_made: Final[PerSection[SectionWords]] = PerSection()


def section_words(section: Section, words: Catalogue, phrases: Phrases) -> SectionWords:
    """A section's words in a language; made once a process."""
    return _made.get(section, words.language, lambda: SectionWords(section, words, phrases))
