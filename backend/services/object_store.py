"""Versions in an object store: S3 and what speaks it, Google Cloud Storage, Azure.

There is no public link and no rename: a key is written once, carries the claim token, and the
request's record (``export_storage_path``) names it. An upload becomes visible whole or not at all;
what a killed worker leaves unfinished is hidden, and goes by the bucket's own rule for incomplete
multipart uploads (see the runbook).
"""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import IO, Any, Final

from backend.errors import (
    ConfigurationError,
    DSARError,
    StoreUnavailable,
    VersionDamaged,
)
from backend.package_files import require_whole
from backend.services import store_errors
from backend.services.export_store import (
    ENCRYPTED_SUFFIX,
    StoredFile,
    Version,
    parse_version_name,
    read_back,
    version_name,
    version_names,
)
from backend.services.pump import Pump, pumped
from backend.services.zip_writer import Target

# S3 allows 10,000 parts: at this size an archive may have 80 GB. Two parts travel at a time, so an
# upload holds some 32 MiB whatever its size.
_PART_BYTES: Final = 8 * 1024 * 1024
_PARTS_AT_A_TIME: Final = 2
# Bears the name of the database whose exports these are.
_OWNER: Final = ".database"
_REQUEST_TIMEOUT: Final = timedelta(seconds=60)
_CONNECT_TIMEOUT: Final = timedelta(seconds=10)
# A store that stumbles is asked again inside one attempt; one that is down is the sweep's affair.
_RETRIES: Final = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}


class ObjectStore:
    """A prefix in a bucket. Making one connects to nothing.

    ``url`` is ``s3://bucket/prefix`` and the like, ``options`` the names and values of obstore's
    configuration, which come before the provider's own environment variables. Raises
    ``SettingsError`` when one of them is wrong, ``ConfigurationError`` without the package, and
    ``StoreUnavailable``, naming the URL and what to do, from every method that reads or writes.
    """

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        self._url = url.rstrip("/")
        self._obstore, self._store = _connect(self._url, options)

    @property
    def location(self) -> str:
        return self._url

    @property
    def public_prefix(self) -> str | None:
        return None

    # -- writing -------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Find out that objects can be made and deleted here. May be repeated."""
        probe = f".probe-{socket.gethostname()}-{os.getpid()}"
        with self._named():
            self._obstore.put(self._store, probe, b"probe")
            self._obstore.delete(self._store, probe)

    def owner(self) -> str | None:
        with self._named(), suppress(self._obstore.exceptions.NotFoundError, FileNotFoundError):
            found = bytes(self._obstore.get(self._store, _OWNER).bytes())
            return found.decode("ascii", "replace").strip()
        return None

    def take(self, owner: str, *, instead: bool = False) -> str:
        content = f"{owner}\n".encode()
        exceptions = self._obstore.exceptions
        with self._named(), suppress(exceptions.AlreadyExistsError):
            try:
                mode = "overwrite" if instead else "create"
                self._obstore.put(self._store, _OWNER, content, mode=mode)
            except (NotImplementedError, exceptions.NotSupportedError, exceptions.GenericError):
                # A server without conditional writes (If-None-Match): whoever wrote last has it.
                if instead or self.owner() is None:
                    self._obstore.put(self._store, _OWNER, content)
        return self.owner() or ""

    @contextmanager
    def stage(self, request_id: int, token: int, *, encrypted: bool = False) -> Iterator[Target]:
        """Upload this claim's version while the block writes it; visible when the block ended well.

        Memory stays flat. A block that raises leaves no object.
        """
        name = version_name(request_id, token, encrypted=encrypted)
        other = version_name(request_id, token, encrypted=not encrypted)

        def upload(source: Pump) -> None:
            self._obstore.put(
                self._store,
                name,
                iter(source),
                attributes={"Content-Type": "application/octet-stream" if encrypted else _ZIP},
                use_multipart=True,
                chunk_size=_PART_BYTES,
                max_concurrency=_PARTS_AT_A_TIME,
            )

        with self._named():
            self._delete(other)
            with pumped(upload, "dsar-upload") as pump:
                yield pump

    def publish(
        self, reference_id: str, request_id: int, token: int, *, keep_adopted: bool = False
    ) -> str:
        """Where the version is: its key is its public name."""
        name = self._name_of(request_id, token)
        if name is None:
            raise VersionDamaged("the version's object is missing")
        return f"{self._url}/{name}"

    def repair_link(self, reference_id: str, request_id: int, recorded_token: int | None) -> bool:
        """Nothing: the record itself names the version."""
        return False

    def delete(self, request_id: int, *tokens: int) -> None:
        with self._named():
            for token in tokens:
                for name in version_names(request_id, token):
                    self._delete(name)

    def delete_file(self, found: StoredFile) -> None:
        with self._named():
            self._delete(found.name)

    def unlink_public(self, reference_id: str) -> None:
        """Nothing: there are no public links."""

    # -- reading -------------------------------------------------------------------------------

    def check(self, request_id: int, token: int) -> Version:
        """Read a version back as the store gives it out: size, digest, and that it opens."""
        name = self._name_of(request_id, token)
        if name is None:
            raise VersionDamaged("the version's object is missing")
        with self._reader(name) as file:
            encrypted = name.endswith(ENCRYPTED_SUFFIX)
            return read_back(file, request_id, token, encrypted=encrypted)

    @contextmanager
    def open_version(self, request_id: int, token: int) -> Iterator[IO[bytes]]:
        name = self._name_of(request_id, token)
        if name is None:
            raise VersionDamaged("the version's object is missing")
        with self._reader(name) as file:
            yield file

    @contextmanager
    def _reader(self, name: str) -> Iterator[IO[bytes]]:
        with self._named():
            try:
                source = self._obstore.open_reader(self._store, name, buffer_size=_PART_BYTES)
            except (self._obstore.exceptions.NotFoundError, FileNotFoundError):
                raise VersionDamaged("the version's object is missing") from None
            with io.BufferedReader(_Readable(source), _PART_BYTES) as file:
                yield file

    def stored_files(self) -> Iterator[StoredFile]:
        with self._named():
            for batch in self._obstore.list(self._store):
                for entry in batch:
                    if found := parse_version_name(entry["path"]):
                        yield found

    def public_references(self) -> Iterator[str]:
        return iter(())

    def has_version(self, request_id: int, token: int) -> bool:
        return self._name_of(request_id, token) is not None

    def links_to(self, reference_id: str, version: tuple[int, int]) -> bool:
        return self.has_version(*version)

    def has_link(self, reference_id: str) -> bool:
        return False

    def free_bytes(self) -> int | None:
        return None

    def require_room(self, minimum: int) -> None:
        """Nothing: an object store has no size that it tells."""

    def _name_of(self, request_id: int, token: int) -> str | None:
        for name in version_names(request_id, token):
            with self._named(), suppress(self._obstore.exceptions.NotFoundError, FileNotFoundError):
                self._obstore.head(self._store, name)
                return name
        return None

    def _delete(self, name: str) -> None:
        with suppress(self._obstore.exceptions.NotFoundError, FileNotFoundError):
            self._obstore.delete(self._store, name)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Turn the library's errors into this program's; its messages may quote a response."""
        exceptions = self._obstore.exceptions
        where = f"{self._url} (DSAR_EXPORT_ROOT)"
        try:
            yield
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise StoreUnavailable(
                f"{where}: the store refused the credentials; check them, and that they may put, "
                "get, list and delete under this prefix"
            ) from error
        except exceptions.NotFoundError as error:
            raise StoreUnavailable(f"{where}: there is no such bucket; check the name") from error
        except exceptions.BaseError as error:
            raise store_errors.while_using(error, self._url) from error
        except OSError as error:
            if isinstance(error, DSARError):
                raise
            require_whole()  # the block may have read a file of the program's own
            raise StoreUnavailable(f"{where}: the transfer broke; check the network") from error


_ZIP: Final = "application/zip"


class _Readable(io.RawIOBase):
    """The library's reader as a file that ``zipfile`` can open."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self._source = source

    def readinto(self, buffer: Any, /) -> int:
        block = self._source.read(len(buffer))
        size = len(block)
        memoryview(buffer).cast("B")[:size] = memoryview(block)
        return size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return int(self._source.seek(offset, whence))

    def tell(self) -> int:
        return int(self._source.tell())


def _connect(url: str, options: Mapping[str, str]) -> tuple[Any, Any]:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ModuleNotFoundError:
        raise ConfigurationError(
            "DSAR_EXPORT_ROOT names an object store, which needs obstore; "
            "pip install 'levqor-dsar[objectstore]'"
        ) from None
    plain = any("endpoint" in key and value.startswith("http:") for key, value in options.items())
    client: dict[str, Any] = {
        "timeout": _REQUEST_TIMEOUT,
        "connect_timeout": _CONNECT_TIMEOUT,
        # Only where the operator wrote an http:// endpoint with their own hands.
        "allow_http": plain,
    }
    try:
        # Which options there are depends on the URL's scheme, which the overloads cannot follow.
        make: Any = obstore.store.from_url
        store = make(url, config=dict(options), client_options=client, retry_config=_RETRIES)
    except (obstore.exceptions.BaseError, ValueError) as error:
        raise store_errors.while_making(error, url) from None
    return obstore, store
