"""What an archive holds beside the data: the page that a person reads, and the JSON Schemas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

from backend.services.archive import SCHEMA_VERSION, FileStream, PrecompressedFile, SectionStream
from backend.services.json_schemas import META, printed_meta_schema, printed_schemas
from backend.services.page.catalogue import spoken
from backend.services.page.preview import PAGE_ROWS, Preview
from backend.services.per_section import PerSection
from backend.services.sections import Section, TableSection
from backend.services.zip_writer import Precompressed

PAGE: Final = "index.html"


class Enclosures:
    """The enclosures of one archive, made of its sections as they go by.

    ``page`` says whether there is to be one; ``language`` is its language where the person's own
    is not known or has no catalogue.
    """

    def __init__(self, sections: Sequence[Section], *, page: bool, language: str) -> None:
        self._sections = sections
        self._page = page
        self._language = language
        self._previews: dict[str, Preview] = {}
        self._absent: list[tuple[str, str]] = []
        self._absent_count = 0

    def watch(
        self, streams: Iterable[SectionStream | FileStream]
    ) -> Iterator[SectionStream | FileStream]:
        """The same streams; the first rows of each section are kept for the page."""
        for stream in streams:
            self._absent += stream.absent[: PAGE_ROWS - len(self._absent)]
            self._absent_count += len(stream.absent) + stream.absent_more
            if self._page and isinstance(stream, SectionStream):
                preview = self._previews[stream.name] = Preview()
                yield replace(stream, rows=preview.watching(stream.rows))
            else:
                yield stream

    def closing(self, meta: Mapping[str, Any]) -> Iterator[FileStream | PrecompressedFile]:
        """The members that follow ``meta.json``, which ``meta`` is, complete."""
        for section in self._sections:
            yield from _schemas_of(section)
        yield _meta_schema()
        if self._page:
            # Its template engine is only needed, and read from disk, here.
            from backend.services.page.document import render_page

            language = self._persons_language()
            more = self._absent_count - len(self._absent)
            page = render_page(self._sections, self._previews, meta, language, self._absent, more)
            yield FileStream(PAGE, (page,))

    def _persons_language(self) -> str:
        """The person's own language, by the section that has a column for it."""
        for section in self._sections:
            if isinstance(section, TableSection) and section.language:
                for row in self._previews.get(section.name, Preview()).rows[:1]:
                    return spoken(str(row.get(section.language) or ""), self._language)
        return self._language


_schemas: Final[PerSection[list[PrecompressedFile]]] = PerSection()


def _schemas_of(section: Section) -> list[PrecompressedFile]:
    """A section's schemas. To pack all of them anew took a small person's export 0.5 ms."""
    return _schemas.get(
        section,
        SCHEMA_VERSION,
        lambda: [_schema(*each) for each in printed_schemas(section, SCHEMA_VERSION).items()],
    )


@cache
def _meta_schema() -> PrecompressedFile:
    return _schema(META, printed_meta_schema(SCHEMA_VERSION))


def _schema(name: str, text: bytes) -> PrecompressedFile:
    return PrecompressedFile(f"schemas/{name}.schema.json", Precompressed.of(text))
