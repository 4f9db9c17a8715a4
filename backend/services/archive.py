"""Sections → ZIP. Knows no database and no file system: rendered rows in, bytes out.

A member is packed as its rows come; nothing but one buffer is held. The target must be seekable:
sizes are written into each member's header after the fact, which every ZIP reader understands,
where the streaming form of ZIP64 is refused by Java's ``ZipInputStream``.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any, Final

from backend.errors import TransientError
from backend.services.rendering import dump_object

SCHEMA_VERSION: Final = "2025-11-DSAR-01"
NOTES: Final = (
    "This export is provided under GDPR / UK GDPR data access rights.",
    "Some fields may be redacted or omitted where the law requires.",
)

# zlib's fastest level: 1.2 times the size of its default for a quarter of the time.
_LEVEL: Final = 1
# Compressors work badly on crumbs, and a call a row costs more than the row.
_BUFFER_BYTES: Final = 256 * 1024
# Zip64 is used for a member only where it may be needed: below this, its size is known first.
_SMALL_BYTES: Final = 4 * 1024 * 1024

_PROGRESS_ROWS: Final = 1000

_MODE_0600: Final = 0o100600 << 16


@dataclass(frozen=True, slots=True)
class SectionStream:
    """One section to be packed: its rendered rows (one JSON object each), and what to say of it."""

    name: str
    single: bool
    rows: Iterable[bytes]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Packed:
    """What was packed: per section, and in all."""

    rows: int = 0
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)


def root_folder(key: str, generated_at: datetime) -> str:
    """The archive's one root folder, for a reference (or a user id) and an aware UTC instant."""
    return f"levqor-dsar-{key}-{generated_at:%Y%m%d-%H%M%S}"


def write_archive(
    target: IO[bytes],
    sections: Iterable[SectionStream],
    *,
    root: str,
    meta: dict[str, Any],
    generated_at: datetime,
    checkpoint: Callable[[], None],
    progress: Callable[[str, int], None] = lambda section, rows: None,
) -> Packed:
    """Pack every section, then ``meta.json``, into ``target`` (seekable, empty).

    ``meta`` is completed with ``sections`` (their names) and ``section_details`` (rows, bytes,
    SHA-256 and facts of each), in place. ``checkpoint`` is called once a buffer and may raise;
    ``progress`` is told a section's name and rows so far, every thousand rows and at its end.
    Raises ``TransientError`` when a section that must be one object has not exactly one row.
    """
    packed = Packed()
    stamp = generated_at.timetuple()[:6]
    with _closing_quietly(zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED)) as archive:
        for section in sections:
            with _Member(archive, f"{root}/{section.name}.json", stamp, checkpoint) as member:
                rows = _write_rows(section, member, progress)
            packed.rows += rows
            packed.sections[section.name] = {
                "rows": rows,
                "bytes": member.size,
                "sha256": member.digest.hexdigest(),
                **section.facts,
            }
        meta["sections"] = list(packed.sections)
        meta["section_details"] = packed.sections
        with _Member(archive, f"{root}/meta.json", stamp, checkpoint) as member:
            member.write(dump_object(meta) + b"\n")
    return packed


@contextmanager
def _closing_quietly(archive: zipfile.ZipFile) -> Iterator[zipfile.ZipFile]:
    """Close the archive; where the block failed, let no second error hide the first."""
    try:
        yield archive
    except BaseException:
        with suppress(OSError, ValueError):
            archive.close()
        raise
    archive.close()


def _write_rows(
    section: SectionStream, member: _Member, progress: Callable[[str, int], None]
) -> int:
    if section.single:
        found = list(_at_most_two(section.rows))
        if len(found) > 1:
            raise TransientError(f"section {section.name!r} must be one row; there are more")
        member.write((found[0] if found else b"{}") + b"\n")
        return len(found)
    count = 0
    for row in section.rows:
        # A row is indented by itself; a raw line break never stands inside a JSON string.
        lead = b",\n  " if count else b"[\n  "
        member.write(lead + row.replace(b"\n", b"\n  "))
        count += 1
        if count % _PROGRESS_ROWS == 0:
            progress(section.name, count)
    progress(section.name, count)
    member.write(b"\n]\n" if count else b"[]\n")
    return count


def _at_most_two(rows: Iterable[bytes]) -> Iterator[bytes]:
    for index, row in enumerate(rows):
        yield row
        if index == 1:
            return


class _Member:
    """One member: small ones are written whole, larger ones streamed with ZIP64 headers."""

    def __init__(
        self,
        archive: zipfile.ZipFile,
        name: str,
        stamp: tuple[int, ...],
        checkpoint: Callable[[], None],
    ) -> None:
        self._archive = archive
        self._info = zipfile.ZipInfo(name, date_time=stamp)  # type: ignore[arg-type]
        self._info.compress_type = zipfile.ZIP_DEFLATED
        # Public as compress_level from Python 3.13 on; a level given to ZipFile itself is not
        # applied to a ZipInfo.
        self._info._compresslevel = _LEVEL  # type: ignore[attr-defined]
        self._info.external_attr = _MODE_0600
        self._info.create_system = 3  # Unix, or the mode above means nothing
        self._checkpoint = checkpoint
        self._buffer = bytearray()
        self._stream: IO[bytes] | None = None
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._buffer += data
        limit = _SMALL_BYTES if self._stream is None else _BUFFER_BYTES
        if len(self._buffer) >= limit:
            self._flush()

    def _flush(self) -> None:
        self._checkpoint()
        if self._stream is None:
            self._stream = self._archive.open(self._info, "w", force_zip64=True)
        self._account()
        self._stream.write(self._buffer)
        self._buffer.clear()

    def _account(self) -> None:
        self.size += len(self._buffer)
        self.digest.update(self._buffer)

    def close(self) -> None:
        if self._stream is None:
            self._checkpoint()
            self._account()
            self._archive.writestr(self._info, bytes(self._buffer))
            return
        self._flush()
        self._stream.close()

    def __enter__(self) -> _Member:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        elif self._stream is not None:
            with suppress(OSError):
                self._stream.close()
