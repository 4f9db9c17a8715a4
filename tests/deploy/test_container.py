"""The image: built from its Containerfile on a Debian of the test's own, and run as the docs say.

Without a network, without capabilities, and with a read-only root.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from backend.settings import CHECKOUT_ROOT
from tests.deploy.conftest import Debian
from tests.deploy.release import VERSION, command
from tests.harness import wait_for

pytestmark = pytest.mark.timeout(900)

BASE: Final = "docker.io/library/debian:bookworm-slim"
IMAGE: Final = "localhost/levqor-dsar:test"
AGAIN: Final = "localhost/dsar-again"
HARDENED: Final = ("--read-only", "--tmpfs=/tmp", "--cap-drop=all", "--network=none")
MOST_MEGABYTES: Final = 120
STORAGE: Final = '[storage]\ndriver = "vfs"\ngraphroot = "{0}/graph"\nrunroot = "{0}/run"\n'
# runc and cgroupfs: with them it runs in a container as well, where CI may be.
ENGINE: Final = """
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""
OFFLINE: Final = "[global]\nno-index = true\nfind-links = /wheels\n"
ADD_PERSON: Final = """
import sqlite3
with sqlite3.connect("/var/lib/dsar/dsar.sqlite3") as connection:
    connection.execute("INSERT INTO users (id, email, name) VALUES (7, 'a@example.org', 'A')")
"""
PREPARE: Final = """
dsar --version
dsar migrate --demonstration
python3 -c "$1"
dsar request --user-id 7 --reference R-7
"""


@dataclass(frozen=True)
class Engine:
    """buildah and podman with a storage of their own."""

    folder: Path

    def run(self, *arguments: str | Path, timeout: float = 600) -> str:
        assert shutil.which(str(arguments[0])), (
            f"{arguments[0]} is not installed; .ci/run does that"
        )
        places = {
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
        }
        return command(*arguments, timeout=timeout, env=os.environ | places)

    def image(self, name: str) -> dict[str, Any]:
        (found,) = json.loads(self.run("podman", "image", "inspect", name))
        assert isinstance(found, dict)
        return found


@pytest.fixture(scope="module")
def engine(debian: Debian) -> Iterator[Engine]:
    """An engine that has built the image."""
    with TemporaryDirectory(prefix="dsar-image-") as name:
        folder = Path(name)
        (folder / "storage.conf").write_text(STORAGE.format(folder))
        (folder / "containers.conf").write_text(ENGINE)
        (folder / "pip.conf").write_text(OFFLINE)
        engine = Engine(folder)
        engine.run("podman", "import", "--quiet", debian.tar, BASE)
        mounts = [f"--volume={debian.wheels}:/wheels:ro"]
        mounts += [f"--volume={folder}/pip.conf:/etc/pip.conf:ro"]
        options = ["--isolation=chroot", "--network=host", "--pull-never", "--format=docker"]
        options += ["--timestamp=1700000000", f"--build-arg=BASE={BASE}", "--no-cache", *mounts]
        options += ["-f", str(CHECKOUT_ROOT / "deploy" / "container" / "Containerfile")]
        for tag in (IMAGE, AGAIN):
            engine.run("buildah", "bud", *options, f"--tag={tag}", CHECKOUT_ROOT)
        yield engine


class Container:
    """How the image is run: with a volume, and the database's URL as a secret's file."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._options: list[str] = [*HARDENED, "--security-opt=no-new-privileges"]
        for name in ("state", "secrets"):
            (folder / name).mkdir(mode=0o700)
        secret = folder / "secrets" / "DSAR_DATABASE_URL"
        secret.write_text("sqlite:////var/lib/dsar/dsar.sqlite3")
        for path in (folder / "state", folder / "secrets", secret):
            os.chown(path, 10001, 10001)
        self._options += [f"--volume={folder}/state:/var/lib/dsar"]
        self._options += [f"--volume={folder}/secrets:/run/secrets:ro"]
        self._options += ["--env=DSAR_SECRETS_DIR=/run/secrets", "--env=DSAR_MIN_FREE_BYTES=0"]

    def once(self, entrypoint: str, *arguments: str) -> str:
        named = [f"--entrypoint={entrypoint}", "--no-healthcheck", IMAGE]
        return self._engine.run("podman", "run", "--rm", *self._options, *named, *arguments)

    @contextmanager
    def started(self, name: str) -> Iterator[None]:
        """The scheduler, running; gone at the end, however that comes, or its mounts would stay."""
        self._engine.run("podman", "run", "--detach", f"--name={name}", *self._options, IMAGE)
        try:
            yield
        except BaseException:
            print(self._engine.run("podman", "logs", name))
            raise
        finally:
            self._engine.run("podman", "rm", "--force", "--time=0", name)


def test_image_is_small_and_says_what_it_is(engine: Engine) -> None:
    image = engine.image(IMAGE)
    added = (image["Size"] - engine.image(BASE)["Size"]) / 1_000_000

    assert image["Config"]["User"] == "10001:10001"
    assert image["Config"]["StopSignal"] == "SIGTERM"
    assert image["Labels"]["org.opencontainers.image.version"] == VERSION
    assert 10 < added < MOST_MEGABYTES, f"{added:.0f} MB on its base"


def test_image_built_again_is_the_same(engine: Engine) -> None:
    built, again = (engine.image(name)["RootFS"]["Layers"] for name in (IMAGE, AGAIN))

    assert built == again


def test_image_run_hardened_exports_is_healthy_and_drains(engine: Engine, tmp_path: Path) -> None:
    container = Container(engine, tmp_path)
    # In one container: this storage copies the whole image for each, and deletes it again.
    said = container.once("sh", "-ec", PREPARE, "sh", ADD_PERSON).splitlines()
    assert said[0] == f"levqor-dsar {VERSION}"
    assert json.loads(said[1])["ok"]
    assert json.loads(said[2])["status"] == "pending"

    with container.started("dsar"):
        export = tmp_path / "state/exports/levqor-dsar-R-7.zip"
        wait_for(export.exists, "the export", 240)
        assert (export.stat().st_uid, export.stat().st_mode & 0o777) == (10001, 0o600)
        engine.run("podman", "healthcheck", "run", "dsar")
        refused = "touch /opt/dsar/x 2>&1 || true"
        assert "Read-only file system" in engine.run("podman", "exec", "dsar", "sh", "-c", refused)
        assert engine.run("podman", "exec", "dsar", "id", "-u") == "10001\n"

        engine.run("podman", "stop", "--time=100", "dsar")

        state = json.loads(engine.run("podman", "inspect", "dsar"))[0]["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 0)
        logs = engine.run("podman", "logs", "dsar")
        # The signal came through: it drained, and was not killed.
        assert '"scheduler_stopped"' in logs
        assert "R-7" not in logs
