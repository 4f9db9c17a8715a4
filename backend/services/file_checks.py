"""What keeps a ``sections.toml``, or a section of it, from being used at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from backend.errors import SectionError
from backend.extensions import Runtime
from backend.services.dsar_collectors import collection
from backend.services.findings import Finding, Problem
from backend.services.section_binding import Binding
from backend.services.sections_file import SectionsFile


def unusable(
    runtime: Runtime, path: Path, file: SectionsFile, findings: Sequence[Finding]
) -> Iterator[Finding]:
    """What else keeps the file, or a section of it, from being used."""
    told = {each.section for each in findings if each.problem in _EXPLAINED}
    try:
        collection(runtime)
        return
    except SectionError as error:
        whole = error
    try:
        binding = Binding.of(path, file, runtime.source)
    except SectionError as error:
        yield Finding(Problem.SECTION_WRONG, str(error))
        return
    for entry in file.section:
        if entry.name in told:
            continue
        try:
            binding.bind(entry)
        except SectionError as error:
            told.add(entry.name)
            yield Finding(Problem.SECTION_WRONG, str(error), section=entry.name)
    if not told:
        yield Finding(Problem.SECTION_WRONG, str(whole))


_EXPLAINED = frozenset({Problem.COLUMN_UNCOVERED, Problem.COLUMN_GONE, Problem.TABLE_GONE})
