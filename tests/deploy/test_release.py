"""The sdist and the wheel: what is in them, and that each works where nothing else of ours is."""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
from collections.abc import Iterator

import pytest

from backend.settings import CHECKOUT_ROOT
from tests.deploy.release import VERSION, Environment, Release, a_release, tracked

ADD_PERSON = """
import sqlite3
with sqlite3.connect("dsar.sqlite3") as connection:
    person = (7, "a@example.org", "A")
    connection.execute("INSERT OR IGNORE INTO users (id, email, name) VALUES (?, ?, ?)", person)
"""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def release() -> Iterator[Release]:
    with a_release() as built:
        yield built


def test_sdist_holds_every_tracked_file(release: Release) -> None:
    root = f"levqor_dsar-{VERSION}/"
    with tarfile.open(release.sdist) as archive:
        names = {each.name.removeprefix(root) for each in archive if each.isfile()}

    made = {name for name in names if name.startswith("levqor_dsar.egg-info/")}
    assert names - made == tracked() | {"PKG-INFO", "setup.cfg"}


def test_wheel_holds_the_two_packages_with_their_data_and_the_licence(release: Release) -> None:
    info = f"levqor_dsar-{VERSION}.dist-info/"
    with zipfile.ZipFile(release.wheel) as archive:
        names = set(archive.namelist())

    ours = {name for name in names if not name.startswith(info)}
    assert ours == tracked("backend", "scheduler")
    assert f"{info}licenses/LICENSE" in names


def test_wheel_and_sbom_built_twice_are_the_same(release: Release) -> None:
    with a_release() as again:
        assert again.wheel.read_bytes() == release.wheel.read_bytes()
        assert again.sbom.read_bytes() == release.sbom.read_bytes()


def test_sbom_lists_every_locked_package_with_its_version(release: Release) -> None:
    told = json.loads(release.sbom.read_bytes())
    lock = (CHECKOUT_ROOT / "requirements.lock").read_text()

    assert told["bomFormat"] == "CycloneDX"
    assert told["metadata"]["component"]["version"] == VERSION
    listed = {(each["name"], each["version"]) for each in told["components"]}
    assert listed == set(re.findall(r"^([a-z0-9-]+)==([^ ]+)", lock, re.MULTILINE))
    assert all(each["purl"].startswith("pkg:pypi/") for each in told["components"])


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("release"))


def test_lock_names_no_yanked_release(environment: Environment) -> None:
    # pip warns of one, and installs it all the same.
    assert "yanked" not in environment.install_log.lower()


def test_sdist_installs_the_very_files_of_the_wheel(
    release: Release, environment: Environment
) -> None:
    environment.install(release.sdist)
    of_sdist = environment.installed_files()
    environment.install(release.wheel)

    assert of_sdist == environment.installed_files()
    assert tracked("backend", "scheduler") <= set(of_sdist)


def test_release_in_an_environment_of_its_own_exports(
    release: Release, environment: Environment
) -> None:
    environment.install(release.wheel)

    for program in ("dsar", "dsar-scheduler"):
        assert environment.run(program, "--version") == f"levqor-dsar {VERSION}\n"
    assert environment.json("dsar", "migrate", "--demonstration")["ok"]
    environment.run("python", "-c", ADD_PERSON)
    opened = environment.json("dsar", "request", "--user-id", "7", "--reference", "R-7")
    assert opened["status"] == "pending"
    assert environment.json("dsar-scheduler", "sweep", "--once")["completed"] == 1
    assert environment.json("dsar", "verify", "R-7")["counts"] == {"good": 1}
    assert environment.json("flask", "--app", "backend.app", "dsar", "list")["requests"] == []
    with zipfile.ZipFile(environment.work / "exports/levqor-dsar-R-7.zip") as archive:
        assert archive.testzip() is None
