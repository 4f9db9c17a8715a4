"""``index.html``: the archive's contents for the person whose data it is.

Calls nobody, runs nothing: no script, no link out, a Content-Security-Policy that would refuse
them. Every text is escaped by the template (autoescape) or by ``ValueWriter``.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from itertools import chain, islice
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from backend.services.disclosure import RIGHTS
from backend.services.page.catalogue import Catalogue, catalogue
from backend.services.page.phrases import Phrases, isolated
from backend.services.page.preview import PAGE_ROWS, Preview
from backend.services.page.section_words import section_words
from backend.services.page.templates import FOLDER, template
from backend.services.page.values import ValueWriter, clean
from backend.services.sections import Section


@cache
def _style() -> tuple[Markup, str]:
    """The style, and its hash for the policy."""
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return Markup(style), f"sha256-{digest}"  # noqa: S704  our own file


@cache
def _phrases(language: str) -> Phrases:
    return Phrases(catalogue(language))


@lru_cache(maxsize=64)
def _answers(language: str, controller: tuple[tuple[str, str | None], ...]) -> Markup:
    """Who answers, and the rights: the same on every page of one controller's."""
    text = template("answers.html.j2", _phrases(language)).render(
        controller=dict(controller),
        rights=[name for name in RIGHTS if name != "complaint"],
    )
    return Markup(text)  # noqa: S704  the template escapes


def render_page(
    sections: Sequence[Section],
    previews: Mapping[str, Preview],
    meta: Mapping[str, Any],
    language: str,
    absent: Sequence[tuple[str, str]] = (),
    more_absent: int = 0,
) -> bytes:
    """The page as UTF-8. ``meta`` is the archive's completed one; ``language`` has a catalogue.

    ``absent`` names the files that are not in the archive, and why; ``more_absent`` says how many
    there are beside these.
    """
    words, phrases = catalogue(language), _phrases(language)
    style, style_hash = _style()
    writer = ValueWriter(words)
    details = meta["section_details"]
    files, more_files = _own_files(writer, meta)
    text = template("index.html.j2", phrases).render(
        language=language,
        style=style,
        style_hash=style_hash,
        sections=[
            _SectionView(section, previews.get(section.name, Preview()), details, words, phrases)
            for section in sections
            if section.name in details
        ],
        files=files,
        counted_files=phrases.count("section.files", len(files) + more_files),
        more_files=more_files,
        lists=isolated(", ".join(meta.get("files_included", {}))),
        absent=[
            (clean(name), words.get(f"problem.{problem}", problem)) for name, problem in absent
        ],
        more_absent=more_absent,
        controller=meta["controller"],
        answers=_answers(language, tuple(meta["controller"].items())),
        reference=clean(str(meta["reference_id"] or "")),
        made_at=_time(writer, meta["generated_at"]),
        read_at=_time(writer, meta["snapshot_at"]),
        read_apart=_read_apart(sections, meta, words, phrases),
    )
    return text.encode("utf-8", "replace")


def _own_files(writer: ValueWriter, meta: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """The first of the person's own files, and how many more there are."""
    # The list of a section's files is none of them.
    named = {path: facts for path, facts in meta.get("files", {}).items() if "/" in path}
    files = [
        {"path": clean(path), "href": quote(clean(path)), "size": writer.size(facts["bytes"])}
        for path, facts in islice(named.items(), PAGE_ROWS)
    ]
    count = max(len(named), sum(meta.get("files_included", {}).values()))
    return files, count - len(files)


def _read_apart(
    sections: Sequence[Section], meta: Mapping[str, Any], words: Catalogue, phrases: Phrases
) -> Markup:
    """The sections that were read at another instant than the rest: from another database, say."""
    titles = [
        isolated(section_words(each, words, phrases).title)
        for each in sections
        if each.name in meta["section_details"]
        and meta["section_details"][each.name]["snapshot_at"] != meta["snapshot_at"]
    ]
    return escape(words["format.list"]).join(titles)


def _time(writer: ValueWriter, text: str) -> Markup:
    shown = writer.instant(datetime.fromisoformat(text))
    return Markup('<time datetime="{}">{}</time>').format(text, shown)


class _SectionView:
    """One section of one person's, as the template shows it."""

    def __init__(
        self,
        section: Section,
        preview: Preview,
        details: Mapping[str, Mapping[str, Any]],
        words: Catalogue,
        phrases: Phrases,
    ) -> None:
        self.words = section_words(section, words, phrases)
        self._rows = preview.rows
        self._writer = ValueWriter(words, self.words.notes)
        self.single = section.single
        self.count: int = details[section.name]["rows"]
        self.counted = phrases.count("section.rows", self.count)
        self.size = self._writer.size(details[section.name]["bytes"])
        self.too_large = preview.too_large and not preview.rows
        self.shown = len(preview.rows)
        names = dict.fromkeys(chain.from_iterable(preview.rows))
        self._columns = {name: self.words.column(name) for name in names}
        self.labels = [column.label for column in self._columns.values()]
        self.body = self._single() if section.single else self._table()
        self.cut = self._writer.cut

    # Rows are written here and not by the template, which takes several times as long. Labels come
    # escaped, and so do values.

    def _single(self) -> Markup:
        """The one row's names and values."""
        write = self._writer.html
        lines = [
            f"<div><dt>{column.label}</dt><dd>{write(row[name], column.kind)}</dd></div>"
            for row in self._rows
            for name, column in self._columns.items()
        ]
        return Markup("\n".join(lines))  # noqa: S704  of escaped parts alone

    def _table(self) -> Markup:
        """The rows of the table's body, put together of columns.

        The roles are the elements' own. They are said because a narrow screen shows the rows as
        cards, and some browsers forget a table that is not displayed as one.
        """
        columns: list[list[str]] = []
        for name, column in self._columns.items():
            # The first column names the row, for whoever has it read aloud.
            start, end = (column.cell, "</td>") if columns else (column.row_header, "</th>")
            values = self._writer.column([row.get(name) for row in self._rows], column.kind)
            columns.append([f"{start}{value}{end}" for value in values])
        lines = [
            '<tr role="row">\n' + "\n".join(cells) + "\n</tr>"
            for cells in zip(*columns, strict=True)
        ]
        return Markup("\n".join(lines))  # noqa: S704  of escaped parts alone
