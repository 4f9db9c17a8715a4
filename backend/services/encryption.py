"""Exports encrypted to the keys of those who hand them over, with age (age-encryption.org/v1).

Where ``DSAR_EXPORT_RECIPIENTS`` is set, an archive is encrypted as it is packed: no plain byte of
it reaches a disk or a store. The private key need not be, and should not be, on this machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from backend.errors import NotDecryptable, UsageError
from backend.recipients import load_pyrage, parse_recipient
from backend.services.pump import Pump, pumped
from backend.services.zip_writer import Target

# What every ZIP with a member in it begins with (APPNOTE.TXT, 4.3.7).
_ZIP: Final = b"PK\x03\x04"


@contextmanager
def encrypted(sink: Target, recipients: Sequence[str]) -> Iterator[Target]:
    """A sink whose bytes reach ``sink`` encrypted to every recipient; without any, as they are.

    Memory stays flat. A block that fails leaves ``sink`` with half a file, which is the store's to
    throw away.
    """
    if not recipients:
        yield sink
        return
    pyrage = load_pyrage()
    keys = [parse_recipient(text) for text in recipients]
    target = _Guarded(sink)

    def encrypt(source: Pump) -> None:
        try:
            pyrage.encrypt_io(source, target, keys)
        except pyrage.EncryptError:
            # The library keeps of a full disk's error nothing but its text.
            if target.failure is not None:
                raise target.failure from None
            raise

    with pumped(encrypt, "dsar-age") as pump:
        yield pump


class _Guarded:
    """A sink as the file that the library writes to; remembers why it could not."""

    def __init__(self, sink: Target) -> None:
        self._sink = sink
        self.failure: BaseException | None = None

    def write(self, data: bytes) -> int:
        try:
            self._sink.write(data)
        except BaseException as error:
            self.failure = error
            raise
        return len(data)

    def flush(self) -> None:
        """The store flushes."""


def decrypt_file(source: IO[bytes], target: Path, identity: Path) -> int:
    """Decrypt ``source`` into a new file ``target`` (0600), in one step; return its size in bytes.

    ``identity`` is a file with private keys: ``AGE-SECRET-KEY-1…`` lines, or an OpenSSH key without
    a passphrase. Raises ``UsageError`` when it holds none or when ``target`` exists (nothing is
    overwritten), ``NotDecryptable``; of a failed decryption nothing stays. ``source`` is seekable.
    """
    if source.read(len(_ZIP)) == _ZIP:
        raise NotDecryptable("the export is not encrypted: it is a plain ZIP; open it as it is")
    source.seek(0)
    pyrage = load_pyrage()
    keys = _identities(identity)
    part = target.with_name(target.name + ".part")
    if target.exists():
        raise UsageError(f"{target} is there already; name another file with --output")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
            pyrage.decrypt_io(source, file, keys)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        part.rename(target)
    except pyrage.DecryptError:
        raise _not_decryptable() from None
    except OSError as error:
        if error.errno is None:  # the library's own, of a body that is cut or altered
            raise _not_decryptable() from None
        raise UsageError(f"{target} cannot be written ({error.strerror})") from None
    finally:
        with suppress(OSError):
            part.unlink()
    return size


def _not_decryptable() -> NotDecryptable:
    return NotDecryptable(
        "the export is not encrypted to this key, or is cut or altered; see: dsar verify"
    )


def _identities(path: Path) -> list[Any]:
    pyrage = load_pyrage()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})") from None
    try:
        if b"PRIVATE KEY" in content:
            return [pyrage.ssh.Identity.from_buffer(content)]
        lines = [line.strip() for line in content.decode().splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and line[0] != "#"]
    except (pyrage.IdentityError, UnicodeDecodeError):
        found = []
    if not found:
        raise UsageError(f"{path} holds no private key; make one with: age-keygen -o {path.name}")
    return found
