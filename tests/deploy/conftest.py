"""One Debian for all tests of this folder: made once, booted by some, others' base image."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from tests.deploy.debian import download_wheels, make_root
from tests.deploy.release import command

# Where the processes of a run find what one of them has made.
_SHARED: Final = "DSAR_TEST_DEPLOY_FOLDER"


@dataclass(frozen=True)
class Debian:
    """``root`` is changed by who boots it; ``tar`` is what it was; ``wheels`` fit its Python."""

    root: Path
    tar: Path
    wheels: Path


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        folder = TemporaryDirectory(prefix="dsar-debian-")
        os.environ[_SHARED] = folder.name
        config.add_cleanup(folder.cleanup)


@pytest.fixture(scope="session")
def debian() -> Debian:
    folder = Path(os.environ[_SHARED])
    made = Debian(folder / "root", folder / "root.tar", folder / "wheels")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            packages = ("systemd", "systemd-sysv", "dbus", "python3-venv", "ca-certificates")
            make_root(made.root, *packages)
            command("tar", "--create", "--file", made.tar, "--directory", made.root, ".")
            download_wheels(made.root, made.wheels)
            (folder / "made").touch()
    return made
