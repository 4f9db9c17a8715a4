"""A recorded export outlives a power cut at any moment, whole and under its name."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from backend.services.disk_store import DiskStore
from tests.flushed import FlushedDisk

PUBLIC = "exports/levqor-dsar-R.zip"


def content(text: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("root/meta.json", text)
    return packed.getvalue()


def put(store: DiskStore, token: int, data: bytes) -> None:
    with store.stage(1, token) as file:
        file.write(data)


@pytest.fixture
def disk(tmp_path: Path) -> FlushedDisk:
    return FlushedDisk(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "exports")


@pytest.mark.parametrize("names_survive", [True, False])
def test_published_version_outlives_a_cut_from_its_record_on(
    disk: FlushedDisk, store: DiskStore, names_survive: bool
) -> None:
    """The first in a root that is not there yet: its folders' names are flushed, too."""
    first, second = content("first"), content("second")
    recorded: list[tuple[int, bytes]] = []
    lost: list[str] = []

    def look(step: str) -> None:
        left = disk.after_a_cut(names_survive=names_survive)
        for token, data in recorded[-1:]:
            if left.get(f"exports/.versions/1.{token}.zip") != data:
                lost.append(step)

    disk.after_step = look
    with disk.followed():
        for token, data in ((1, first), (2, second)):
            put(store, token, data)
            store.publish("R", 1, token)
            recorded.append((token, data))
            look("commit")
            assert disk.after_a_cut(names_survive=names_survive)[PUBLIC] == data
        store.delete(1, 1)
    assert lost == []


def test_published_name_is_there_whole_at_every_moment(disk: FlushedDisk, store: DiskStore) -> None:
    """Who fetches a file while it is replaced gets the old one or the new one."""
    first, second = content("first"), content("second")
    put(store, 1, first)
    public = Path(store.publish("R", 1, 1))
    put(store, 2, second)
    seen: list[bytes] = []
    # An error raised here would be taken for the store's own.
    disk.after_step = lambda step: seen.append(public.read_bytes() if public.exists() else b"")
    with disk.followed():
        store.publish("R", 1, 2)
    assert set(seen) == {first, second}


def test_version_bears_its_name_only_when_it_is_whole(disk: FlushedDisk, store: DiskStore) -> None:
    data = content("whole")
    store.prepare()

    seen: set[bytes] = set()

    def look(step: str) -> None:
        for left in (disk.after_a_cut(names_survive=True), disk.after_a_cut(names_survive=False)):
            seen.add(left.get("exports/.versions/1.1.zip", b"not there"))

    disk.after_step = look
    with disk.followed():
        put(store, 1, data)
    assert seen == {b"not there", data}


def test_link_that_the_record_took_away_does_not_come_back(
    disk: FlushedDisk, store: DiskStore
) -> None:
    with disk.followed():
        put(store, 1, content("pruned"))
        store.publish("R", 1, 1)
        assert PUBLIC in disk.after_a_cut(names_survive=False)
        assert store.repair_link("R", 1, None)
        assert PUBLIC not in disk.after_a_cut(names_survive=False)


def test_repaired_link_outlives_a_cut(disk: FlushedDisk, store: DiskStore) -> None:
    data = content("there")
    with disk.followed():
        put(store, 1, data)
        assert store.repair_link("R", 1, 1)
    assert disk.after_a_cut(names_survive=False)[PUBLIC] == data


def test_mark_of_the_owner_outlives_a_cut_whole(disk: FlushedDisk, store: DiskStore) -> None:
    marks: set[bytes] = set()

    def look(step: str) -> None:
        left = disk.after_a_cut(names_survive=True)
        marks.add(left.get("exports/.versions/.database", b"one\n"))

    disk.after_step = look
    with disk.followed():
        store.prepare()
        assert store.take("one") == "one"
    assert marks == {b"one\n"}
    assert disk.after_a_cut(names_survive=False)["exports/.versions/.database"] == b"one\n"


def test_root_that_is_taken_is_given_to_nobody_else(store: DiskStore) -> None:
    assert store.take("one") == "one"
    assert store.take("two") == "one" == store.owner()
    assert store.take("two", instead=True) == "two" == store.owner()
    assert [path.name for path in (store.root / ".versions").iterdir()] == [".database"]
