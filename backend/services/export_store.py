"""What an export store is: versions, and how the recorded one is found by whoever hands it over.

A *version* is one claim's archive, named by request id and claim token, never rewritten. A folder
as ``DSAR_EXPORT_ROOT`` is a ``DiskStore``, with a public link beside the versions; a URL such as
``s3://bucket/prefix`` is an ``ObjectStore``, whose keys carry the token themselves.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol

from backend.errors import VersionDamaged
from backend.services.zip_writer import Target

if TYPE_CHECKING:
    from backend.settings import Settings

# The claim token that an adopted export's file goes by; claims count from 1.
ADOPTED_TOKEN: Final = 0

ENCRYPTED_SUFFIX: Final = ".age"
# The first line of every age file (age-encryption.org/v1, "Header").
_AGE_HEADER: Final = b"age-encryption.org/v1\n"
_VERSION_NAME: Final = re.compile(r"(\d+)\.(\d+)\.(?:zip(?:\.age)?|part)")
_READ_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Version:
    """A durable, checked file: whose claim's it is, its size in bytes and its SHA-256 (hex).

    Of an encrypted version both are of the encrypted bytes, so it is verified without a key.
    """

    request_id: int
    token: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A version's file, finished or not, as found in the store."""

    request_id: int
    token: int
    name: str

    @property
    def is_version(self) -> bool:
        """Whether it is a finished version, not a staged file or a half-made link."""
        return self.name.endswith((".zip", ENCRYPTED_SUFFIX))


class ExportStore(Protocol):
    """The store of one control database's exports.

    Every method that reads or writes raises ``StoreUnavailable`` (``DiskFull`` where room is what
    is missing), naming the place and what to do. Making a store touches nothing.
    """

    @property
    def location(self) -> str:
        """The root, for messages."""
        ...

    @property
    def public_prefix(self) -> str | None:
        """What public links' paths begin with, up to the reference; None: there are none."""
        ...

    def prepare(self) -> None:
        """Find out that exports can be kept here. May be repeated."""
        ...

    def owner(self) -> str | None:
        """The name of the database whose exports are kept here; None: nobody has taken it yet."""
        ...

    def take(self, owner: str, *, instead: bool = False) -> str:
        """Make this a database's store, unless it is one already, and return whose it is now.

        ``instead``: even if it is another's. In one step: of two at once one has taken it.
        """
        ...

    def stage(
        self, request_id: int, token: int, *, encrypted: bool = False
    ) -> AbstractContextManager[Target]:
        """Open this claim's version for writing; durable once it is published as well.

        On any exception nothing of it stays. ``encrypted`` says so in the version's name.
        """
        ...

    def check(self, request_id: int, token: int) -> Version:
        """Read a version back: its size and digest, and that it opens as what it is.

        Raises ``VersionDamaged`` when it is missing or does not open.
        """
        ...

    def open_version(self, request_id: int, token: int) -> AbstractContextManager[IO[bytes]]:
        """A version for reading, seekable. Raises ``VersionDamaged`` when it is missing."""
        ...

    def publish(
        self, reference_id: str, request_id: int, token: int, *, keep_adopted: bool = False
    ) -> str:
        """Make a version the one that the reference leads to; return where it is.

        Call it with the request's row locked. May be repeated. ``keep_adopted``: see ``DiskStore``.
        """
        ...

    def repair_link(self, reference_id: str, request_id: int, recorded_token: int | None) -> bool:
        """Make the reference lead where the record says; return whether that was changed."""
        ...

    def delete(self, request_id: int, *tokens: int) -> None:
        """Delete the files of claims, staged or finished; what is not there is no error."""
        ...

    def stored_files(self) -> Iterator[StoredFile]:
        """Every version, and whatever else a claim left."""
        ...

    def delete_file(self, found: StoredFile) -> None:
        """Delete one file that ``stored_files`` named."""
        ...

    def public_references(self) -> Iterator[str]:
        """The references that have a public link."""
        ...

    def unlink_public(self, reference_id: str) -> None:
        """Delete a public link. Deleting what is not there is no error."""
        ...

    def has_version(self, request_id: int, token: int) -> bool:
        """Whether a version is there, whatever is in it."""
        ...

    def links_to(self, reference_id: str, version: tuple[int, int]) -> bool:
        """Whether the reference leads to that (request id, token)'s version."""
        ...

    def has_link(self, reference_id: str) -> bool:
        """Whether the reference leads anywhere by a public link."""
        ...

    def free_bytes(self) -> int | None:
        """Room that is left; None where that cannot be known."""
        ...

    def require_room(self, minimum: int) -> None:
        """Raise ``DiskFull`` when fewer than ``minimum`` bytes are free."""
        ...


def open_store(settings: Settings) -> ExportStore:
    """The store that ``DSAR_EXPORT_ROOT`` names. Connects to nothing yet.

    Raises ``ConfigurationError`` where an object store's package is not installed,
    ``SettingsError`` where its options are wrong.
    """
    if isinstance(settings.export_root, Path):
        from backend.services.disk_store import DiskStore

        return DiskStore(settings.export_root)
    from backend.services.object_store import ObjectStore

    return ObjectStore(settings.export_root, dict(settings.store_options))


def version_name(request_id: int, token: int, *, encrypted: bool) -> str:
    """A version's name in its store."""
    return f"{request_id}.{token}.zip{ENCRYPTED_SUFFIX if encrypted else ''}"


def version_names(request_id: int, token: int) -> tuple[str, str]:
    """The two names that a claim's version may have; it has one of them."""
    return (
        version_name(request_id, token, encrypted=False),
        version_name(request_id, token, encrypted=True),
    )


def parse_version_name(name: str) -> StoredFile | None:
    """Whose claim's a file in the store is, by its name; None: not a claim's."""
    match = _VERSION_NAME.fullmatch(name)
    return None if match is None else StoredFile(int(match[1]), int(match[2]), name)


class Written:
    """A sink that remembers what went into it, for comparing with what is read back.

    Writes go on to ``sink``, with its exceptions.
    """

    def __init__(self, sink: Target) -> None:
        self._sink = sink
        self._size = 0
        self._digest = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        self._sink.write(data)
        self._digest.update(data)
        self._size += len(data)
        return len(data)

    def require(self, version: Version) -> None:
        """Raise ``VersionDamaged`` unless the store has these very bytes."""
        if (version.size, version.sha256) != (self._size, self._digest.hexdigest()):
            raise VersionDamaged("the export that was read back is not the one that was written")


def read_back(file: IO[bytes], request_id: int, token: int, *, encrypted: bool) -> Version:
    """Read a version to its end: size and digest, and that it opens. Leaves ``file`` open.

    Raises ``VersionDamaged`` when it does not open. An encrypted one is opened no further than its
    header: the key is not here.
    """
    digest = hashlib.sha256()
    size = 0
    start = b""
    while block := file.read(_READ_BYTES):
        start = start or bytes(block[: len(_AGE_HEADER)])
        digest.update(block)
        size += len(block)
    if encrypted:
        if start != _AGE_HEADER:
            raise VersionDamaged("the version is not an encrypted file")
    else:
        file.seek(0)
        _require_members(file)
    return Version(request_id, token, size, digest.hexdigest())


def _require_members(file: IO[bytes]) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            if not archive.infolist():
                raise VersionDamaged("the version holds no members")
    except zipfile.BadZipFile:
        raise VersionDamaged("the version does not open as a ZIP") from None
