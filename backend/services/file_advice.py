"""What ``dsar coverage`` advises: of folders, columns with paths, and JSON. None of it is a gap."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Set

import sqlalchemy as sa

from backend.services.base_types import is_structured
from backend.services.draft_text import key_text, quoted
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
    tables = _of_source(sections)
    settled = {(_name(s.table.schema, s.table.name), name) for s in tables for name in s.files}
    settled |= _exempted(exemptions)
    for section in tables:
        table = section.table
        for name, disposition in section.columns.items():
            if not isinstance(disposition, Exported) or _is_settled(settled, table, name):
                continue
            if looks_like_paths(name, table.c[name].type):
                yield (
                    f"section {section.name!r}: {name} looks as if it named files, of which the "
                    "export holds the names alone. If they are the person's, declare their folder: "
                    f'files.{name} = "/FOLDER", or let a function yield them (FilesSection); else '
                    f"exempt the column: {_exemption(table, [name])}"
                )


def advice_on_json(sections: Iterable[Section], exemptions: Iterable[Exemption]) -> Iterator[str]:
    """Columns of JSON that a section exports whole: once a section, with what to do."""
    settled = _exempted(exemptions)
    for section in _of_source(sections):
        table = section.table
        whole = [
            name
            for name, disposition in section.columns.items()
            if isinstance(disposition, Exported)
            and not disposition.paths
            and (disposition.as_json or is_structured(table.c[name].type))
            and not _is_settled(settled, table, name)
        ]
        if whole:
            yield (
                f"section {section.name!r}: {', '.join(whole)}: JSON that is exported whole may "
                "hold credentials or other people. Withhold or mask such parts: "
                f'json.{key_text(whole[0])}.withheld = {{ "a.*.b" = "credential" }}; else exempt '
                f"what has none: {_exemption(table, whole)}"
            )


def _of_source(sections: Iterable[Section]) -> list[TableSection]:
    return [s for s in sections if isinstance(s, TableSection) and s.database == "source"]


def _exempted(exemptions: Iterable[Exemption]) -> set[tuple[tuple[str, str], str]]:
    return {(_name(each.schema, each.table), name) for each in exemptions for name in each.columns}


def _is_settled(settled: Set[tuple[tuple[str, str], str]], table: sa.Table, column: str) -> bool:
    names = (_name(table.schema, table.name), _name(None, table.name))
    return any((name, column) in settled for name in names)


def _exemption(table: sa.Table, columns: Iterable[str]) -> str:
    listed = ", ".join(quoted(column) for column in columns)
    schema = "" if table.schema is None else f"schema = {quoted(table.schema)}, "
    return f'[[exempt]] {schema}table = {quoted(table.name)}, columns = [{listed}], reason = "…"'


def _name(schema: str | None, table: str) -> tuple[str, str]:
    return (schema or "").lower(), table.lower()


def _is_empty(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return False
