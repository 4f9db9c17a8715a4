"""Settings, sections and secrets that another ordinary user could have written are refused."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.errors import SettingsError
from backend.services.sections_file import read_sections_file
from backend.settings import load_settings
from backend.trusted_files import _is_own_group, require_trusted

_ANOTHER = 54321


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir(mode=0o755)
    return made


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a file another ordinary user's; without root's rights, make this process another's."""
    if os.geteuid() == 0:
        os.chown(path, _ANOTHER, -1, follow_symlinks=False)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: _ANOTHER)


def opened(path: Path, mode: int) -> None:
    path.chmod(mode)


def linked(path: Path) -> None:
    """Put a link to a file that everybody may write in a file's place."""
    target = path.with_name("target")
    path.rename(target)
    target.chmod(0o666)
    path.symlink_to(target.name)


@pytest.mark.parametrize(
    ("spoil", "remedy"),
    [
        (lambda path: opened(path, 0o666), "chmod o-w {}"),
        (lambda path: opened(path, 0o602), "chmod o-w {}"),
        (lambda path: opened(path, 0o1666), "chmod o-w {}"),
        (lambda path: opened(path.parent, 0o777), "chmod o-w {folder}"),
        (lambda path: opened(path.parent.parent, 0o733), "chmod o-w {above}"),
        (linked, "chmod o-w {folder}/target"),
    ],
)
def test_file_that_everybody_may_change_is_refused_with_the_remedy(
    folder: Path, spoil: Callable[[Path], None], remedy: str
) -> None:
    path = folder / "file"
    path.write_text("")
    path.chmod(0o600)
    require_trusted(path, "a file")
    spoil(path)

    with pytest.raises(SettingsError) as refused:
        require_trusted(path, "a file")

    names = {"folder": folder, "above": folder.parent}
    assert str(refused.value).startswith("a file: ")
    assert str(refused.value).endswith(remedy.format(path, **names))
    folder.parent.chmod(0o700)


@pytest.mark.parametrize("what", ["file", "folder", "link"])
def test_file_that_another_user_owns_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = folder / "file"
    path.write_text("")
    path.chmod(0o444)
    if what == "link":
        (folder / "link").symlink_to(path)
        path = folder / "link"
    culprit = folder if what == "folder" else path
    require_trusted(path, "a file")
    give_away(culprit, monkeypatch)

    with pytest.raises(SettingsError, match="belongs to the user") as refused:
        require_trusted(path, "a file")

    if os.geteuid() == 0:
        assert f"{culprit} belongs to the user {_ANOTHER}" in str(refused.value)
        assert f"chown root {culprit}" in str(refused.value)


def test_file_in_a_sticky_folder_of_everybodys_is_taken_if_it_is_ones_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kubernetes mounts secrets, and as /tmp is."""
    folder.chmod(0o1777)
    data = folder / "..2026_11_29"
    data.mkdir(mode=0o755)
    (data / "DSAR_DATABASE_URL").write_text("x")
    (folder / "..data").symlink_to(data.name)
    secret = folder / "DSAR_DATABASE_URL"
    secret.symlink_to("..data/DSAR_DATABASE_URL")
    require_trusted(secret, "a secret")

    give_away(secret, monkeypatch)
    with pytest.raises(SettingsError, match="belongs to"):
        require_trusted(secret, "a secret")


def test_file_that_a_group_may_write_is_taken_only_if_the_group_is_ones_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "file"
    path.write_text("")
    path.chmod(0o664)
    if os.geteuid() == 0:
        require_trusted(path, "a file")  # of root's group
        os.chown(path, -1, _ANOTHER)
    monkeypatch.setattr("backend.trusted_files._is_own_group", lambda path, gid: False)
    with pytest.raises(SettingsError, match=r"written by the group .*; chmod g-w "):
        require_trusted(path, "a file")


def test_group_of_a_file_is_ones_own_by_its_name_and_members(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = pwd.getpwuid(os.geteuid()).pw_name
    groups = {1: (me, []), 2: (me, [me, "root"]), 3: (me, [me, "eve"]), 4: ("staff", [me])}
    monkeypatch.setattr(
        grp, "getgrgid", lambda gid: grp.struct_group((groups[gid][0], "x", gid, groups[gid][1]))
    )
    path = str(folder)
    assert [_is_own_group(path, gid) for gid in (0, 1, 2, 3, 4)] == [True, True, True, False, False]
    monkeypatch.setattr(os, "getxattr", lambda path, name: b"an ACL")
    assert not _is_own_group(path, 1) and not _is_own_group(path, 0)


@pytest.mark.skipif(shutil.which("setfacl") is None, reason="needs setfacl")
def test_file_that_an_acl_opens_to_another_user_is_refused(folder: Path) -> None:
    path = folder / "file"
    path.write_text("")
    path.chmod(0o640)
    if subprocess.run(["setfacl", "-m", f"u:{_ANOTHER}:rw", path], check=False).returncode:
        pytest.skip("this file system has no ACLs")
    with pytest.raises(SettingsError, match="written by the group"):
        require_trusted(path, "a file")


def test_file_that_is_not_there_is_no_concern(folder: Path) -> None:
    require_trusted(folder / "none" / "file", "a file")
    (folder / "loop").symlink_to("loop")
    require_trusted(folder / "loop", "a file")
    (folder / "astray").symlink_to("/nowhere/at/all")
    require_trusted(folder / "astray", "a file")


@pytest.mark.parametrize("kind", ["env file", "secret", "folder of secrets", "sections file"])
def test_settings_that_another_user_could_have_written_are_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for name in ("CREDENTIALS_DIRECTORY", "DSAR_SECRETS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    culprit = folder / {"env file": ".env", "sections file": "s.toml"}.get(kind, "DSAR_WORKERS")
    culprit.write_text("DSAR_WORKERS=3\n" if kind == "env file" else "3")
    culprit.chmod(0o644)
    if "secret" in kind:
        monkeypatch.setenv("DSAR_SECRETS_DIR", str(folder))
    if kind != "sections file":
        assert load_settings().workers == 3
    (folder if kind == "folder of secrets" else culprit).chmod(0o777)

    with pytest.raises(SettingsError, match="may be written by every user"):
        if kind == "sections file":
            read_sections_file(culprit)
        else:
            load_settings()


def _made(path: Path, kind: str) -> None:
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    elif kind == "a device":
        path.symlink_to("/dev/null")
    else:
        path.symlink_to(f"/proc/self/fd/{kind.rpartition(' ')[2]}")


@pytest.mark.parametrize("kind", ["a FIFO", "a folder", "a socket", "a device", "a pipe of ours"])
@pytest.mark.parametrize("name", [".env", "s.toml", "DSAR_WORKERS", "dsar_workers"])
def test_settings_that_are_no_regular_file_are_refused_without_opening_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    """A FIFO would be waited for without end."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DSAR_SECRETS_DIR", str(folder))
    reading, writing = os.pipe()
    if kind == "a pipe of ours":
        _made(folder / name, f"{kind} {reading}")
        kind = "a FIFO"
    else:
        _made(Path(name), kind)  # a socket's path may be short alone
    try:
        with pytest.raises(SettingsError, match=f"{name} is {kind}, not a regular file; put"):
            if name == "s.toml":
                read_sections_file(folder / name)
            else:
                load_settings()
    finally:
        os.close(reading)
        os.close(writing)
