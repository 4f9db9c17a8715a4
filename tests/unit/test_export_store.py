"""Versions and links on a real file system: durable, private, and nowhere but under the root."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.errors import DiskFull, StoreUnavailable, VersionDamaged
from backend.services.disk_store import DiskStore
from backend.services.export_store import ADOPTED_TOKEN, parse_version_name


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "deep" / "exports")


@pytest.fixture
def versions(store: DiskStore) -> Path:
    return store.root / ".versions"


def put(store: DiskStore, request_id: int, token: int, text: str = "x") -> None:
    with store.stage(request_id, token) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("root/meta.json", text)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o277])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_stage_and_publish_are_private_whatever_the_umask(
    store: DiskStore, versions: Path, umask: int
) -> None:
    put(store, 1, 1)
    path = Path(store.publish("R-1", 1, 1))
    assert mode(path) == mode(versions / "1.1.zip") == 0o600
    assert mode(versions) == mode(store.root) == mode(store.root.parent) == 0o700


def test_stage_existing_root_keeps_its_owners_mode(tmp_path: Path) -> None:
    root = tmp_path / "exports"
    root.mkdir()
    root.chmod(0o750)
    put(DiskStore(root), 1, 1)
    assert mode(root) == 0o750
    assert mode(root / ".versions") == 0o700


def test_stage_that_fails_leaves_nothing(store: DiskStore, versions: Path) -> None:
    with pytest.raises(KeyError), store.stage(1, 1) as file:
        file.write(b"half")
        raise KeyError
    assert list(versions.iterdir()) == []


def test_stage_meets_no_leftover_of_a_deleted_request(store: DiskStore) -> None:
    put(store, 1, 1, "the old one")
    put(store, 1, 1, "the new one")
    version = store.check(1, 1)
    assert version.size > 0


def test_check_reads_size_and_digest_back(store: DiskStore, versions: Path) -> None:
    put(store, 1, 1)
    version = store.check(1, 1)
    assert version.size == (versions / "1.1.zip").stat().st_size
    assert len(version.sha256) == 64


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "no zip", "link", "folder", "pipe"])
def test_check_damaged_version_is_refused(store: DiskStore, versions: Path, damage: str) -> None:
    put(store, 1, 1)
    path = versions / "1.1.zip"
    content = path.read_bytes()
    path.unlink()
    if damage == "link":
        put(store, 2, 1)
        path.symlink_to(versions / "2.1.zip")
    elif damage == "folder":
        path.mkdir()
    elif damage == "pipe":
        os.mkfifo(path)
    elif damage != "missing":
        path.write_bytes({"empty": b"", "cut": content[:-9], "no zip": b"x" * 99}[damage])
    with pytest.raises((VersionDamaged, StoreUnavailable)):
        store.check(1, 1)


def test_check_zip_without_members_is_refused(store: DiskStore) -> None:
    with store.stage(1, 1) as file, zipfile.ZipFile(file, "w"):
        pass
    with pytest.raises(VersionDamaged, match="members"):
        store.check(1, 1)


def test_publish_replaces_the_link_in_one_step(store: DiskStore, versions: Path) -> None:
    put(store, 1, 1)
    put(store, 1, 2)
    path = Path(store.publish("R-1", 1, 1))
    assert path.samefile(versions / "1.1.zip")
    for _ in range(2):  # between two links to one file rename does nothing
        assert Path(store.publish("R-1", 1, 2)) == path
        assert path.samefile(versions / "1.2.zip")
    assert sorted(found.name for found in store.stored_files()) == ["1.1.zip", "1.2.zip"]


@pytest.mark.parametrize("planted", ["public", "version", "part", "folder"])
def test_planted_link_is_never_written_through(
    store: DiskStore, versions: Path, tmp_path: Path, planted: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    victim = outside / "victim"
    victim.write_text("untouched")
    store.prepare()
    if planted == "public":
        (store.root / "levqor-dsar-R-1.zip").symlink_to(victim)
    elif planted == "version":
        (versions / "1.1.zip").symlink_to(victim)
    elif planted == "part":
        (versions / "1.1.part").symlink_to(victim)
    else:
        versions.rmdir()
        versions.symlink_to(outside, target_is_directory=True)
    if planted == "folder":
        with pytest.raises(StoreUnavailable):
            put(store, 1, 1)
    else:
        put(store, 1, 1)
        path = Path(store.publish("R-1", 1, 1))
        assert not path.is_symlink()
    assert victim.read_text() == "untouched"
    assert [path.name for path in outside.iterdir()] == ["victim"]


def test_repair_link_makes_it_what_the_record_says(store: DiskStore, versions: Path) -> None:
    put(store, 1, 1)
    put(store, 1, 2)
    public = store.root / "levqor-dsar-R-1.zip"
    assert store.repair_link("R-1", 1, 1) is True
    assert public.samefile(versions / "1.1.zip")
    assert store.repair_link("R-1", 1, 1) is False
    assert store.repair_link("R-1", 1, 2) is True
    assert store.links_to("R-1", (1, 2))
    assert store.repair_link("R-1", 1, 99) is True
    assert not public.exists()
    assert store.repair_link("R-1", 1, None) is False


def test_publish_over_an_adopted_export_can_be_undone(store: DiskStore) -> None:
    store.prepare()
    public = store.root / "levqor-dsar-R-1.zip"
    public.write_text("the old export")
    assert store.repair_link("R-1", 1, ADOPTED_TOKEN) is False
    put(store, 1, 1)
    for _ in range(2):
        store.publish("R-1", 1, 1, keep_adopted=True)
    assert public.read_text("latin-1") != "the old export"
    assert store.repair_link("R-1", 1, ADOPTED_TOKEN) is True
    assert public.read_text() == "the old export"


def test_delete_takes_a_claims_files_and_minds_no_absence(store: DiskStore) -> None:
    put(store, 1, 1)
    store.delete(1, 1, 2)
    store.delete(1, 1)
    assert list(store.stored_files()) == []


def test_listing_passes_over_what_is_not_ours(store: DiskStore, versions: Path) -> None:
    put(store, 12, 3)
    store.publish("R-1", 12, 3)
    (versions / "notes.txt").write_text("")
    (store.root / "other.zip").write_text("")
    (versions / ".link-12.4").write_text("")
    found = {(each.request_id, each.token, each.name) for each in store.stored_files()}
    assert found == {(12, 3, "12.3.zip"), (12, 4, ".link-12.4")}
    assert list(store.public_references()) == ["R-1"]
    store.unlink_public("R-1")
    assert list(store.public_references()) == []
    assert store.has_version(12, 3) and not store.has_version(12, 5)


def test_prepare_leaves_nothing_behind(store: DiskStore, versions: Path) -> None:
    store.prepare()
    store.prepare()
    assert list(versions.iterdir()) == []
    assert [path.name for path in store.root.iterdir()] == [".versions"]


def test_require_room_names_the_setting(store: DiskStore) -> None:
    store.require_room(1)
    with pytest.raises(DiskFull, match="DSAR_MIN_FREE_BYTES"):
        store.require_room(2**62)


def test_root_that_cannot_be_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="DSAR_EXPORT_ROOT"):
        put(DiskStore(tmp_path / "file" / "exports"), 1, 1)
    with pytest.raises(StoreUnavailable, match="mounted"):
        DiskStore(tmp_path / "gone").has_version(1, 1)


def test_check_encrypted_version_of_another_kind_is_refused(
    store: DiskStore, versions: Path
) -> None:
    with store.stage(1, 1, encrypted=True) as file:
        file.write(b"PK\x03\x04 in the clear")
    with pytest.raises(VersionDamaged, match="not an encrypted file"):
        store.check(1, 1)
    with store.stage(1, 2, encrypted=True) as file:
        file.write(b"age-encryption.org/v1\n-> X25519 ...")
    assert store.check(1, 2).size == 35


@pytest.mark.parametrize(
    ("name", "is_version"),
    [("1.2.zip", True), ("1.2.zip.age", True), ("1.2.part", False)],
)
def test_stored_file_that_is_half_made_is_no_version(name: str, is_version: bool) -> None:
    found = parse_version_name(name)
    assert found is not None and found.is_version is is_version
