"""The members that sections make in an archive: no two of them one file, on any system."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from backend.errors import SectionError
from backend.services.member_names import TakenNames, is_portable
from backend.services.sections import FilesSection, Section, TableSection

# Members of the archive's own.
RESERVED: Final = frozenset({"meta", "index", "schemas"})


def require_distinct(sections: Iterable[Section]) -> None:
    """Raise ``SectionError`` for a section whose files are another's, or none on some system."""
    taken = TakenNames()
    for section in sections:
        usable = is_portable(section.name) and "/" not in section.name
        if not usable or section.name.casefold() in RESERVED:
            raise SectionError(
                f"section {section.name!r}: no file can have this name on every system, or it is "
                "the archive's own; rename the section"
            )
        for path in _paths(section):
            if not taken.take(path):
                raise SectionError(
                    f"section {section.name!r}: {path.removesuffix('/file')} is another section's "
                    "in the archive; rename one of them"
                )


def _paths(section: Section) -> Iterator[str]:
    """The section's members, and one file in each of its folders."""
    yield f"{section.name}.json"
    if isinstance(section, FilesSection):
        yield f"{section.name}/file"
    elif isinstance(section, TableSection) and section.files:
        yield f"{section.name}_files.json"
        yield f"{section.name}_files/file"
