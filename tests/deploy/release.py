"""The release as its users get it: an sdist and a wheel, and environments they are installed in."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from backend.settings import CHECKOUT_ROOT

VERSION: Final[str] = tomllib.loads((CHECKOUT_ROOT / "pyproject.toml").read_text())["project"][
    "version"
]


def command(*arguments: str | Path, timeout: float = 300, **options: Any) -> str:
    """Run a program to its end and return what it printed. Fails with all of its output."""
    done = subprocess.run(
        [str(each) for each in arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )
    output = str(done.stdout)
    assert done.returncode == 0, f"{arguments}: exit code {done.returncode}\n{output[-4000:]}"
    return output


@dataclass(frozen=True)
class Release:
    wheel: Path
    sdist: Path
    sbom: Path

    def __getitem__(self, kind: str) -> Path:
        return {"wheel": self.wheel, "sdist": self.sdist}[kind]


@contextmanager
def a_release() -> Iterator[Release]:
    """Built as ``make dist`` does, out of the tracked files, in a temporary folder."""
    with TemporaryDirectory(prefix="dsar-release-") as folder:
        names = command("git", "ls-files", "-z", cwd=CHECKOUT_ROOT).split("\0")
        for name in filter(None, names):
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_bytes((CHECKOUT_ROOT / name).read_bytes())
        # The checkout's own environment, which has the build backend from the lock.
        (Path(folder) / ".venv").symlink_to(sys.prefix, target_is_directory=True)
        # And what describes a release, which `make test-deploy` has installed there.
        own = CHECKOUT_ROOT / ".venv-release"
        (Path(folder) / ".venv-release").symlink_to(own, target_is_directory=True)
        old = ("--assume-old=.venv/.runtime", "--assume-old=.venv-release/.stamp")
        command("make", "dist", *old, cwd=folder)
        dist = Path(folder) / "dist"
        wheel, sdist, sbom = (next(dist.glob(f"*{end}")) for end in (".whl", ".tar.gz", ".json"))
        yield Release(wheel, sdist, sbom)


def tracked(*under: str) -> set[str]:
    return set(command("git", "ls-files", *under, cwd=CHECKOUT_ROOT).split())


class Environment:
    """An environment of the locked dependencies alone, far from the checkout."""

    def __init__(self, folder: Path) -> None:
        self._bin = folder / "venv" / "bin"
        self.work = folder / "work"
        self.work.mkdir()
        command(sys.executable, "-m", "venv", folder / "venv")
        lock = CHECKOUT_ROOT / "requirements.lock"
        self.install_log = self._pip(
            "install", "--require-hashes", "--only-binary", ":all:", "-r", lock
        )

    def _pip(self, *arguments: str | Path) -> str:
        pip = self._bin / "pip"
        return command(pip, "--disable-pip-version-check", *arguments, timeout=600)

    def install(self, artefact: Path) -> None:
        """Install one release, in place of another; needs no network."""
        self._pip(
            "install",
            "--no-build-isolation",
            "--no-deps",
            "--no-index",
            "--force-reinstall",
            artefact,
        )
        self._pip("check")

    def installed_files(self) -> dict[str, str]:
        """The release's files by their path, with their digests."""
        packages = next(self._bin.parent.glob("lib/python*/site-packages"))
        (record,) = packages.glob("levqor_dsar-*.dist-info/RECORD")
        rows = csv.reader(record.read_text().splitlines())
        return {path: digest for path, digest, _ in rows if path.startswith(("backend/", "sched"))}

    def run(self, program: str, *arguments: str) -> str:
        """A program of the environment, from a folder with nothing in it of ours."""
        settings = {
            "DSAR_DATABASE_URL": f"sqlite:///{self.work / 'dsar.sqlite3'}",
            "DSAR_EXPORT_ROOT": str(self.work / "exports"),
            "DSAR_MIN_FREE_BYTES": "0",
            "DSAR_LOG_LEVEL": "ERROR",
        }
        kept = {"PATH": os.environ["PATH"], "HOME": str(self.work)}
        return command(
            self._bin / program, *arguments, cwd=self.work, env=kept | settings, timeout=120
        )

    def json(self, program: str, *arguments: str) -> dict[str, Any]:
        value = json.loads(self.run(program, *arguments))
        assert isinstance(value, dict)
        return value
