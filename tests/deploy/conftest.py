"""One Debian for all tests of this folder: made once, booted by some, others' base image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.deploy.debian import download_wheels, make_root
from tests.deploy.release import command


@dataclass(frozen=True)
class Debian:
    """``root`` is changed by who boots it; ``tar`` is what it was; ``wheels`` fit its Python."""

    root: Path
    tar: Path
    wheels: Path


@pytest.fixture(scope="session")
def debian() -> Iterator[Debian]:
    with TemporaryDirectory(prefix="dsar-debian-") as folder:
        made = Debian(Path(folder) / "root", Path(folder) / "root.tar", Path(folder) / "wheels")
        packages = ("systemd", "systemd-sysv", "dbus", "python3-venv", "ca-certificates")
        make_root(made.root, *packages)
        command("tar", "--create", "--file", made.tar, "--directory", made.root, ".")
        download_wheels(made.root, made.wheels)
        yield made
