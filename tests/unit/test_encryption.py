"""Encryption with age: what comes out is the ZIP again, and nothing plain goes in between."""

from __future__ import annotations

import errno
import io
import os
import zipfile
from pathlib import Path

import pyrage
import pytest
from click.testing import CliRunner

from backend.cli.dsar_commands import dsar
from backend.errors import NotDecryptable, UsageError
from backend.recipients import parse_recipient
from backend.services.encryption import decrypt_file, encrypted

IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENT = str(IDENTITY.to_public())
CONTENT = b"a person's archive " * 50_000


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.txt"
    path.write_text(f"# created: today\n{IDENTITY}\n")
    return path


def seal(content: bytes, *recipients: str) -> bytes:
    target = io.BytesIO()
    with encrypted(target, recipients) as sink:
        for start in range(0, len(content), 100_000):
            sink.write(content[start : start + 100_000])
    return target.getvalue()


def test_encrypted_without_recipients_passes_bytes_through() -> None:
    assert seal(CONTENT) == CONTENT


def test_encrypted_file_is_readable_by_each_recipient_alone(key: Path, tmp_path: Path) -> None:
    other = pyrage.x25519.Identity.generate()
    sealed = seal(CONTENT, RECIPIENT, str(other.to_public()))
    assert b"a person's archive" not in sealed
    for number, identity in enumerate((IDENTITY, other)):
        key.write_text(str(identity))
        target = tmp_path / f"{number}.zip"
        assert decrypt_file(io.BytesIO(sealed), target, key) == len(CONTENT)
        assert target.read_bytes() == CONTENT
        assert target.stat().st_mode & 0o777 == 0o600
    key.write_text(str(pyrage.x25519.Identity.generate()))
    with pytest.raises(NotDecryptable):
        decrypt_file(io.BytesIO(sealed), tmp_path / "none.zip", key)


@pytest.mark.parametrize("damage", ["cut", "altered", "no header", "empty"])
def test_decrypt_damaged_file_is_refused_and_leaves_nothing(
    damage: str, key: Path, tmp_path: Path
) -> None:
    sealed = bytearray(seal(CONTENT, RECIPIENT))
    if damage == "cut":
        del sealed[-10:]
    elif damage == "altered":
        sealed[len(sealed) // 2] ^= 1
    else:
        sealed = bytearray(b"" if damage == "empty" else b"PK\x03\x04 plain")
    with pytest.raises(NotDecryptable):
        decrypt_file(io.BytesIO(bytes(sealed)), tmp_path / "out.zip", key)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key.txt"]


def test_decrypt_of_a_plain_zip_says_that_it_is_plain(key: Path, tmp_path: Path) -> None:
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("x", "y")

    with pytest.raises(NotDecryptable, match="not encrypted: it is a plain ZIP"):
        decrypt_file(io.BytesIO(plain.getvalue()), tmp_path / "out.zip", key)

    assert not (tmp_path / "out.zip").exists()


def test_decrypt_of_a_file_that_is_not_there_says_so(key: Path) -> None:
    done = CliRunner().invoke(dsar, ["decrypt", "gone.zip.age", "--identity", str(key)])

    assert (done.exit_code, "there is no file gone.zip.age" in done.stderr) == (2, True)


def test_decrypt_overwrites_nothing(key: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.zip"
    target.write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"out\.zip"):
        decrypt_file(io.BytesIO(seal(CONTENT, RECIPIENT)), target, key)
    assert target.read_bytes() == b"mine"


@pytest.mark.parametrize("content", ["", "# nothing\n", "AGE-SECRET-KEY-1NONSENSE", "\udcff"])
def test_decrypt_without_a_usable_key_names_the_file(
    content: str, key: Path, tmp_path: Path
) -> None:
    key.write_bytes(os.fsencode(content))
    with pytest.raises(UsageError, match=r"key\.txt"):
        decrypt_file(io.BytesIO(seal(CONTENT, RECIPIENT)), tmp_path / "out.zip", key)


def test_encrypted_keeps_the_error_of_a_full_disk() -> None:
    class Full(io.BytesIO):
        def write(self, data: object, /) -> int:
            raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(OSError, match="no space") as caught, encrypted(Full(), [RECIPIENT]) as sink:
        while True:
            sink.write(CONTENT)
    assert caught.value.errno == errno.ENOSPC


def test_encrypted_block_that_fails_raises_its_own_error() -> None:
    target = io.BytesIO()
    with pytest.raises(KeyError, match="mine"), encrypted(target, [RECIPIENT]) as sink:
        sink.write(CONTENT)
        raise KeyError("mine")


def test_recipient_private_key_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError, match="private key") as caught:
        parse_recipient(str(IDENTITY))
    assert str(IDENTITY) not in str(caught.value)


@pytest.mark.parametrize("text", ["age1nonsense", "ssh-ed25519 AAAA", "me@example.org"])
def test_recipient_that_is_none_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="no public key") as caught:
        parse_recipient(text)
    assert text not in str(caught.value)
