"""Sections and files → ZIP. Knows no database and no file system: rendered rows in, bytes out.

A member is packed as its rows come; nothing but a buffer is held (see ``zip_writer``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final

from backend.errors import SectionError, SubjectNotUnique
from backend.services.member_names import TakenNames, is_portable
from backend.services.rendering import Rows, dump_object
from backend.services.zip_writer import Member, Precompressed, Target, ZipWriter

SCHEMA_VERSION: Final = "2025-11-DSAR-01"

_META: Final = "meta.json"
# Of the files that lists in the archive name, ``meta.json`` names so many as well.
_LISTED_FILES: Final = 1_000


@dataclass(frozen=True, slots=True)
class SectionStream:
    """One section to be packed: its rendered rows, some at a time, and what to say of it.

    Of a list of files ``included``, ``absent`` and ``absent_more`` say what ``FileStream``'s do.
    """

    name: str
    single: bool
    rows: Iterable[Rows]
    facts: Mapping[str, Any] = field(default_factory=dict)
    included: int | None = None
    absent: Sequence[tuple[str, str]] = ()
    absent_more: int = 0

    @property
    def path(self) -> str:
        """The path of its JSON file."""
        return f"{self.name}.json"


@dataclass(frozen=True, slots=True)
class FileStream:
    """One file to be packed as it is: its path below the archive's root folder, its content.

    The path is relative, with ``/`` between its parts, each of them a name that every system takes
    (see ``member_names``); no two members' paths may be one on any of them. Names that somebody
    else chose (an upload's) must be made such a path before.

    Of a list of files ``included`` says how many are in, ``absent`` the names of those that are
    not and why, ``absent_more`` how many there are beside these. A file that a list names has a
    ``told``, which gets its bytes and SHA-256 once it is packed.
    """

    path: str
    chunks: Iterable[bytes]
    absent: Sequence[tuple[str, str]] = ()
    absent_more: int = 0
    included: int | None = None
    told: Callable[[Mapping[str, Any]], None] | None = None


@dataclass(frozen=True, slots=True)
class PrecompressedFile:
    """One file that is the same in every archive, whoever's: packed once. See ``FileStream``."""

    path: str
    content: Precompressed


@dataclass(slots=True)
class Packed:
    """What was packed.

    ``sections``: rows, bytes, SHA-256 and facts of each. ``files``: bytes and SHA-256 of each,
    those of ``closing`` aside, and of what lists name the first 1,000. ``included``, ``absent``:
    how many files each list says are in, and are not. ``rows``: of all sections. ``size``: the
    whole archive's. ``person_newer``: whether the person's row was made after their request's
    receipt.
    """

    rows: int = 0
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    included: dict[str, int] = field(default_factory=dict)
    absent: dict[str, int] = field(default_factory=dict)
    size: int = 0
    person_newer: str | None = None

    @property
    def files_not_included(self) -> int:
        """How many files are not in, whatever list names them."""
        return sum(self.absent.values())


def root_folder(key: str, generated_at: datetime) -> str:
    """The archive's one root folder, for a reference (or a user id) and an aware UTC instant."""
    return f"levqor-dsar-{key}-{generated_at:%Y%m%d-%H%M%S}"


def no_files(meta: dict[str, Any]) -> Iterable[FileStream | PrecompressedFile]:
    """Close an archive with nothing after ``meta.json``."""
    return ()


def write_archive(
    target: Target,
    streams: Iterable[SectionStream | FileStream],
    *,
    root: str,
    meta: dict[str, Any],
    generated_at: datetime,
    checkpoint: Callable[[], None],
    progress: Callable[[str, int], None] = lambda section, rows: None,
    closing: Callable[[dict[str, Any]], Iterable[FileStream | PrecompressedFile]] = no_files,
) -> Packed:
    """Pack sections and files in their order, ``meta.json``, then what ``closing`` yields.

    ``target`` is only written to, from front to back. ``meta`` is completed in place, before
    ``meta.json`` is written: ``sections`` (their names), ``section_details`` (rows, bytes,
    SHA-256 and facts of each), ``files`` (bytes and SHA-256 of each, by path; see ``Packed``),
    ``files_included`` and ``files_not_included`` (how many, by the path of the list that names
    them). ``closing`` gets it complete; what it makes of it is not in it.

    ``checkpoint`` is called once a buffer and may raise; ``progress`` is told a section's name and
    rows so far, as they come and at its end. Raises ``SubjectNotUnique`` when a section that must
    be one object has more than one row, ``SectionError`` for a path that no member may have.
    """
    packing = _Packing(ZipWriter(target, modified_at=generated_at, checkpoint=checkpoint), root)
    packed = packing.packed
    for stream in streams:
        if isinstance(stream, SectionStream):
            packing.section(stream, progress)
        else:
            packing.named_file(stream)
        if stream.included is not None:
            packed.included[stream.path] = stream.included
        if absent := len(stream.absent) + stream.absent_more:
            packed.absent[stream.path] = absent
    meta["sections"] = list(packed.sections)
    meta["section_details"] = packed.sections
    meta["files"] = packed.files
    meta["files_included"] = packed.included
    meta["files_not_included"] = packed.absent
    packing.file(FileStream(_META, (dump_object(meta), b"\n")))
    for closed in closing(meta):
        if isinstance(closed, PrecompressedFile):
            packing.precompressed(closed)
        else:
            packing.file(closed)
    packing.close()
    return packed


class _Packing:
    """An archive on its way: what was packed, and which paths are taken."""

    def __init__(self, archive: ZipWriter, root: str) -> None:
        self._archive = archive
        self._root = root
        self._taken = TakenNames()
        self._listed = 0
        self.packed = Packed()

    def section(self, section: SectionStream, progress: Callable[[str, int], None]) -> None:
        with self._archive.member(self._place(section.path)) as member:
            rows = _write_rows(section, member, progress)
        self.packed.rows += rows
        self.packed.sections[section.name] = {"rows": rows, **_facts(member), **section.facts}

    def named_file(self, stream: FileStream) -> None:
        """Pack a file that ``meta.json`` names, unless a list does and there are too many."""
        facts = self.file(stream)
        if stream.told is not None:
            stream.told(facts)
            self._listed += 1
        if stream.told is None or self._listed <= _LISTED_FILES:
            self.packed.files[stream.path] = facts

    def file(self, stream: FileStream) -> dict[str, Any]:
        with self._archive.member(self._place(stream.path)) as member:
            for chunk in stream.chunks:
                member.write(chunk)
        return _facts(member)

    def precompressed(self, file: PrecompressedFile) -> None:
        self._archive.add(self._place(file.path), file.content)

    def close(self) -> None:
        self._archive.close()
        self.packed.size = self._archive.size

    def _place(self, path: str) -> str:
        """A member's full path. Two of a name would be one file wherever they are unpacked."""
        if not is_portable(path) or not self._taken.take(path):
            raise SectionError(
                f"no member may be called {path!r}: it is taken, or no name on every system"
            )
        return f"{self._root}/{path}"


def _facts(member: Member) -> dict[str, Any]:
    return {"bytes": member.size, "sha256": member.digest.hexdigest()}


def _write_rows(
    section: SectionStream, member: Member, progress: Callable[[str, int], None]
) -> int:
    if section.single:
        return _write_single(section, member)
    count = 0
    for rows in section.rows:
        member.write(b",\n  " if count else b"[\n  ")
        member.write(rows.text)
        count += rows.count
        progress(section.name, count)
    progress(section.name, count)
    member.write(b"\n]\n" if count else b"[]\n")
    return count


def _write_single(section: SectionStream, member: Member) -> int:
    found = list(islice(section.rows, 2))
    if sum(rows.count for rows in found) > 1:
        raise SubjectNotUnique(section.name)
    # A raw line break never stands inside a JSON string, so this shifts the margin alone.
    member.write((found[0].text.replace(b"\n  ", b"\n") if found else b"{}") + b"\n")
    return len(found)
