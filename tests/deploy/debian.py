"""A small Debian in a folder, and one that is booted: systemd as PID 1, in its own namespaces."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from backend.settings import CHECKOUT_ROOT
from tests.deploy.release import command
from tests.harness import wait_for

MIRROR: Final = os.environ.get("DSAR_TEST_DEBIAN_MIRROR", "http://deb.debian.org/debian")
BOOT_SECONDS: Final = 60
_PATH: Final = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PYTHON: Final = "import sys; print('%d.%d' % sys.version_info[:2])"


def make_root(root: Path, *packages: str) -> Path:
    """The essential packages of Debian 12 and these, without what they merely recommend."""
    assert os.geteuid() == 0, "a root file system is made as root"
    assert shutil.which("mmdebstrap"), "mmdebstrap is not installed; .ci/run does that"
    named = f"--include={','.join(packages)}"
    quiet = ["--quiet", "--mode=root", "--variant=essential"]
    quiet += ["--dpkgopt=path-exclude=/usr/share/doc/*"]
    command("mmdebstrap", *quiet, named, "bookworm", str(root), MIRROR, timeout=600)
    return root


def download_wheels(root: Path, folder: Path) -> None:
    """What the lock names, for the Python of a root; installed there without a network."""
    version = command("chroot", root, "python3", "-c", _PYTHON).strip()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download"]
    lock = str(CHECKOUT_ROOT / "requirements.lock")
    hashed = ["--require-hashes", "--only-binary", ":all:", "--python-version", version, "-r", lock]
    command(*pip, "--no-deps", *hashed, "--dest", folder, timeout=600)


class Machine:
    """A booted root. Its programs are run in its namespaces, as its root."""

    def __init__(self, leader: int) -> None:
        self._leader = leader

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a program to its end; returns what it printed to stdout."""
        enter = [
            "nsenter",
            f"--target={self._leader}",
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            "--net",
        ]
        done = subprocess.run(
            [*enter, "--root", "--wd=/", "env", "-i", f"PATH={_PATH}", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def shows(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def journal(self, unit: str) -> str:
        """What a unit, or systemd of it, has written since the boot."""
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    def wait_shows(self, unit: str, name: str, value: str, seconds: float = 60) -> None:
        wait_for(lambda: self.shows(unit, name) == value, f"{unit}: {name}={value}", seconds)


@contextmanager
def booted(root: Path, console: Path) -> Iterator[Machine]:
    """Boot a root, without a network, and end it at the end. What it prints goes to ``console``."""
    assert shutil.which("systemd-nspawn"), "systemd-container is not installed; .ci/run does that"
    nspawn = ["systemd-nspawn", "--quiet", f"--directory={root}", "--boot", "--register=no"]
    nspawn += ["--keep-unit", "--console=pipe", "--private-network", "--link-journal=no"]
    with console.open("wb") as output:
        process = subprocess.Popen(
            nspawn, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        leader = wait_for(lambda: _leader(process, console), "the machine's PID 1")
        machine = Machine(leader)
        wait_for(lambda: _is_up(machine), f"the boot; see {console}", BOOT_SECONDS)
        yield machine
    finally:
        process.terminate()  # nspawn asks PID 1 to power off
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _leader(process: subprocess.Popen[bytes], console: Path) -> int | None:
    """The host's number of the machine's PID 1: nspawn's child with that number within."""
    assert process.poll() is None, console.read_text(errors="replace")[-3000:]
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        status = Path(f"/proc/{child}/status").read_text()
        numbers = re.search(r"^NSpid:\s+(.*)$", status, re.MULTILINE)
        if numbers and numbers[1].split()[1:] == ["1"]:
            return int(child)
    return None


def _is_up(machine: Machine) -> bool:
    try:
        return machine.run("systemctl", "is-active", "multi-user.target") == "active\n"
    except AssertionError:
        time.sleep(0.1)
        return False
