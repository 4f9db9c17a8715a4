"""What ``dsar coverage`` advises of files: folders, and columns with paths. None of it is a gap."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from backend.services.file_folders import KEY, split
from backend.services.path_columns import looks_like_paths
from backend.services.sections import Exemption, Exported, Section, TableSection


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


def advice_on_paths(sections: Iterable[Section], exemptions: Iterable[Exemption]) -> Iterator[str]:
    """Exported columns that look as if they named files, and that no ``files`` names."""
    tables = [s for s in sections if isinstance(s, TableSection) and s.database == "source"]
    settled = {(_name(s.table.schema, s.table.name), name) for s in tables for name in s.files}
    for each in exemptions:
        settled |= {(_name(each.schema, each.table), name) for name in each.columns}
    for section in tables:
        table = section.table
        names = [_name(table.schema, table.name), _name(None, table.name)]
        for name, disposition in section.columns.items():
            if not isinstance(disposition, Exported) or any((n, name) in settled for n in names):
                continue
            if looks_like_paths(name, table.c[name].type):
                yield (
                    f"section {section.name!r}: {name} looks as if it named files, of which the "
                    "export holds the names alone. If they are the person's, declare their folder: "
                    f'files.{name} = "/FOLDER", or let a function yield them (FilesSection); else '
                    f'exempt the column: [[exempt]] table = "{table.name}", columns = ["{name}"], '
                    'reason = "…"'
                )


def _name(schema: str | None, table: str) -> tuple[str, str]:
    return (schema or "").lower(), table.lower()


def _is_empty(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return False
