"""What ``dsar coverage`` advises of declared folders of files. None of it is a gap."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from backend.services.file_folders import KEY, split
from backend.services.sections import Section, TableSection


def advice_on_files(sections: Iterable[Section]) -> Iterator[str]:
    """What to look at: a folder that all people share, or that is empty."""
    for section in sections:
        if not isinstance(section, TableSection):
            continue
        for column, folder in section.files.items():
            where = f"section {section.name!r}: files.{column}"
            base, persons = split(folder)
            if not persons:
                yield (
                    f"{where}: all people's files are below {folder}, so a row that names another "
                    "person's file would export it. If each person has a folder of their own, "
                    f'declare it: files.{column} = "{folder.rstrip("/")}/{KEY}"'
                )
            if _is_empty(base):
                yield f"{where}: {base} is empty here; if files belong there, mount it"


def _is_empty(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return False
