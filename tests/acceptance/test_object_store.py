"""Exports in object storage, against a real S3 server: the fault matrix's rows of the store."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import uuid
import zipfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import obstore
import pyrage
import pytest

from backend.errors import StoreUnavailable
from backend.services.object_store import ObjectStore
from tests.acceptance.test_faults import Broken, past_the_lease
from tests.factories import Person
from tests.harness import World
from tests.recording import recorded
from tests.servers import ObjectStoreServer, an_object_store

PERSON = Person(7, runs=300)


class Bucket:
    """What a world keeps in its prefix of the server."""

    def __init__(self, server: ObjectStoreServer, prefix: str) -> None:
        self.url = f"s3://dsar/{prefix}"
        self.objects = server.objects(prefix)

    def names(self) -> list[str]:
        """What claims have left, without the mark of whose exports these are."""
        found = {entry["path"] for batch in obstore.list(self.objects) for entry in batch}
        return sorted(found - {".database"})

    def read(self, name: str) -> bytes:
        return bytes(obstore.get(self.objects, name).bytes())


@pytest.fixture
def stored(postgresql_world: World, object_store: ObjectStoreServer) -> tuple[World, Bucket]:
    """A world with one person and one pending request, whose exports are objects."""
    prefix = f"exports/{uuid.uuid4().hex[:8]}"
    postgresql_world.environment |= object_store.variables(prefix)
    postgresql_world.people(PERSON)
    postgresql_world.request(PERSON.user_id, "R-7")
    return postgresql_world, Bucket(object_store, prefix)


def version_of(world: World, token: int) -> str:
    return f"{world.row('R-7')['id']}.{token}.zip"


def test_sweep_keeps_the_export_under_a_key_with_its_token(stored: tuple[World, Bucket]) -> None:
    world, bucket = stored
    done = world.sweep()
    assert (done.returncode, done.json["completed"]) == (0, 1), done.stderr
    row = world.row("R-7")
    assert bucket.names() == [version_of(world, 1)]
    assert row["export_storage_path"] == f"{bucket.url}/{version_of(world, 1)}"
    content = bucket.read(version_of(world, 1))
    assert len(content) == row["export_bytes_size"]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        runs = next(name for name in archive.namelist() if name.endswith("workflow_runs.json"))
        assert len(json.loads(archive.read(runs))) == PERSON.runs
    assert not world.exports.exists()


def test_export_again_replaces_the_object_and_verify_reads_it(
    stored: tuple[World, Bucket],
) -> None:
    world, bucket = stored
    assert world.sweep().returncode == 0
    again = world.dsar("export", "R-7")
    assert again.json["file_path"] == f"{bucket.url}/{version_of(world, 2)}"
    assert bucket.names() == [version_of(world, 2)]
    assert world.dsar("verify").json["counts"] == {"good": 1}

    obstore.put(bucket.objects, version_of(world, 2), bucket.read(version_of(world, 2)) + b"x")
    assert world.dsar("verify", "R-7").json["findings"][0]["state"] == "differs"
    obstore.put(bucket.objects, version_of(world, 2), b"PK nonsense")
    assert world.dsar("verify", "R-7").json["findings"][0]["state"] == "damaged"
    obstore.delete(bucket.objects, version_of(world, 2))
    assert world.dsar("verify", "R-7").json["findings"][0]["state"] == "missing"


@pytest.mark.parametrize("point", ["packing", "staged", "published-before-commit"])
def test_killed_before_the_record_is_rerun_and_leaves_one_object(
    stored: tuple[World, Bucket], point: str
) -> None:
    world, bucket = stored
    done = Broken(world, point, "kill").end()
    assert done.returncode == -signal.SIGKILL
    # An upload that was cut off is not visible; one that was finished waits for its record.
    assert bucket.names() == ([] if point == "packing" else [version_of(world, 1)])
    past_the_lease(world)
    after = world.sweep()
    assert (after.json["completed"], after.json["reclaimed"]) == (1, 1), after.stderr
    assert bucket.names() == [version_of(world, 2)]


def test_export_that_raises_in_mid_upload_leaves_no_object(stored: tuple[World, Bucket]) -> None:
    world, bucket = stored
    done = Broken(world, "packing", "raise").end()
    assert done.json["retried"] == 1, done.stderr
    assert bucket.names() == []


@pytest.mark.parametrize("point", ["packing", "staged"])
def test_stopped_past_its_lease_doubles_and_loses_nothing_when_it_wakes(
    stored: tuple[World, Bucket], point: str
) -> None:
    world, bucket = stored
    frozen = Broken(world, point, "stop")
    frozen.wait()
    past_the_lease(world)
    after = world.sweep()
    assert (after.json["completed"], after.json["reclaimed"]) == (1, 1), after.stderr
    before, content = world.row("R-7"), bucket.read(version_of(world, 2))

    frozen.process.send_signal(signal.SIGCONT)
    frozen.end()

    assert world.row("R-7") == before
    assert bucket.names() == [version_of(world, 2)]
    assert bucket.read(version_of(world, 2)) == content
    outcomes = [attempt["outcome"] for attempt in world.attempts(before["id"])]
    assert outcomes == ["lost", "completed"]


def test_killed_reexport_leaves_the_earlier_object_on_record(stored: tuple[World, Bucket]) -> None:
    world, bucket = stored
    assert world.sweep().json["completed"] == 1
    before, content = world.row("R-7"), bucket.read(version_of(world, 1))

    command = ("backend.cli.dsar_commands", "export", "R-7")
    done = Broken(world, "published-before-commit", "kill", *command).end()
    assert done.returncode == -signal.SIGKILL
    assert bucket.names() == [version_of(world, 1), version_of(world, 2)]
    past_the_lease(world)
    assert world.sweep().json["reclaimed"] == 1

    after = world.row("R-7")
    assert {k for k in after if after[k] != before[k]} == {"claim_token", "crashes"}
    assert bucket.names() == [version_of(world, 1)]
    assert bucket.read(version_of(world, 1)) == content


@pytest.mark.parametrize("damage", ["cut", "a byte of its content"])
def test_object_damaged_after_its_upload_is_no_export(
    stored: tuple[World, Bucket], damage: str
) -> None:
    world, bucket = stored
    uploaded = Broken(world, "staged", "wait", lease_seconds=30)
    uploaded.wait()
    name = version_of(world, 1)
    content = bytearray(bucket.read(name))
    content[200] ^= 1
    obstore.put(bucket.objects, name, content[:-100] if damage == "cut" else bytes(content))
    uploaded.go()

    done = uploaded.end()

    assert done.json["retried"] == 1, done.stderr
    assert world.row("R-7")["last_error"].startswith("version_damaged ")
    assert bucket.names() == []


def test_prune_interrupted_is_finished_by_the_next(stored: tuple[World, Bucket]) -> None:
    world, bucket = stored
    world.request(PERSON.user_id, "KEPT")
    assert world.sweep().json["completed"] == 2
    kept = f"{world.row('KEPT')['id']}.1.zip"
    world.update("R-7", exported_at=datetime.now(UTC) - timedelta(days=31))

    command = ("backend.cli.dsar_commands", "prune")
    done = Broken(world, "pruned-before-delete", "kill", *command).end()
    assert done.returncode == -signal.SIGKILL
    assert bucket.names() == sorted([version_of(world, 1), kept])

    assert world.dsar("prune").json["leftovers"] == 1
    assert bucket.names() == [kept]
    assert world.row("R-7")["export_state"] == "pruned"


UPLOAD: Final = """
import os, sys
from backend.services.object_store import ObjectStore
url, options, blocks = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = ObjectStore(url, dict(each.split("=", 1) for each in options.split()))
block = os.urandom(1_000_000)
with store.stage(1, 1, encrypted=True) as target:
    target.write(b"age-encryption.org/v1\\n")
    for _ in range(blocks):
        target.write(block)
size = store.check(1, 1).size
# Not getrusage: its peak begins with that of whoever started this process.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(size, peak.split()[1])
"""


def test_upload_and_reading_back_hold_the_same_memory_whatever_the_size(
    object_store: ObjectStoreServer,
) -> None:
    """What an export of so many rows costs in all is for the benchmark: tests.benchmarks.stores."""
    peaks = []
    for blocks in (30, 150):
        told = object_store.variables(f"memory/{blocks}")
        arguments = [told["DSAR_EXPORT_ROOT"], told["DSAR_STORE_OPTIONS"], str(blocks)]
        done = subprocess.run(
            [sys.executable, "-c", UPLOAD, *arguments],
            env=os.environ | told,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        size, kilobytes = map(int, done.stdout.split())
        assert size == 22 + blocks * 1_000_000
        peaks.append(kilobytes / 1000)
    assert peaks[1] - peaks[0] < 20, peaks


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ({"server_side_encryption": "AES256"}, {"x-amz-server-side-encryption": "AES256"}),
        (
            {"server_side_encryption": "aws:kms", "sse_kms_key_id": "key-17"},
            {
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id": "key-17",
            },
        ),
    ],
)
def test_encryption_by_the_server_is_asked_of_it(
    object_store: ObjectStoreServer, options: dict[str, str], headers: dict[str, str]
) -> None:
    """Read off the wire: whether a server has a key is its own affair."""
    with recorded(object_store.endpoint) as recording:
        keys = {
            "access_key_id": object_store.access_key,
            "secret_access_key": object_store.secret_key,
        }
        own = {"endpoint": recording.url, "region": "us-east-1"}
        store = ObjectStore("s3://dsar/sse", own | keys | options)
        with suppress(StoreUnavailable), store.stage(1, 1) as target:
            target.write(b"x")

    begun = [each for each in recording.requests if each.path.startswith("/dsar/sse/1.1.zip")]
    assert (begun[0].method, begun[0].path.partition("?")[2]) == ("POST", "uploads=")
    assert headers.items() <= begun[0].headers.items()


def test_retention_deletes_the_object_and_prune_the_leftovers(
    stored: tuple[World, Bucket],
) -> None:
    world, bucket = stored
    assert world.sweep().returncode == 0
    row = world.row("R-7")
    obstore.put(bucket.objects, f"{row['id']}.99.zip.age", b"left over")
    obstore.put(bucket.objects, "notes.txt", b"not ours")
    assert world.dsar("prune").json["leftovers"] == 1
    assert bucket.names() == [version_of(world, 1), "notes.txt"]

    world.update("R-7", exported_at=row["exported_at"].replace(year=2020))
    assert world.dsar("prune").json["pruned"] == 1
    assert bucket.names() == ["notes.txt"]
    assert world.row("R-7")["export_state"] == "pruned"


def test_store_that_is_down_ends_the_sweep_and_uses_no_attempt(
    postgresql_world: World,
) -> None:
    world = postgresql_world
    world.people(PERSON)
    world.request(PERSON.user_id, "R-7")
    with an_object_store() as server:
        world.environment |= server.variables("down")
        assert world.sweep().json["completed"] == 1
        world.request(PERSON.user_id, "R-8")
        server.stop()
        done = world.sweep()
        assert (done.returncode, done.json["error_code"]) == (69, "store_unavailable")
        assert "s3://dsar/down" in done.stderr
        row = world.row("R-8")
        assert (row["status"], row["attempts"]) == ("pending", 0)
        assert world.dsar("verify").returncode == 69
        server.start()
        assert world.sweep().json["completed"] == 1
        assert world.dsar("verify").json["counts"] == {"good": 2}


@pytest.mark.parametrize(
    ("variable", "value", "code", "word"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", 69, "credentials"),
        ("DSAR_STORE_OPTIONS", "nonsense=1", 78, "nonsense"),
        ("DSAR_STORE_OPTIONS", "nonsense", 78, "NAME=VALUE"),
        ("DSAR_EXPORT_ROOT", "ftp://host/x", 78, "DSAR_EXPORT_ROOT"),
        ("DSAR_EXPORT_ROOT", "s3://", 78, "DSAR_EXPORT_ROOT"),
    ],
)
def test_wrong_store_setting_is_one_line(
    stored: tuple[World, Bucket], variable: str, value: str, code: int, word: str
) -> None:
    world, _ = stored
    world.environment[variable] = value
    done = world.dsar("export", "R-7")
    assert done.returncode == code, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert word in errors[0]
    assert "Traceback" not in done.stderr
    assert world.row("R-7")["status"] == "pending"


@pytest.mark.parametrize("where", ["disk", "objects"])
def test_encrypted_export_is_never_plain_and_is_read_with_the_key(
    stored: tuple[World, Bucket], where: str, tmp_path: Path
) -> None:
    world, bucket = stored
    identity = pyrage.x25519.Identity.generate()
    world.environment["DSAR_EXPORT_RECIPIENTS"] = str(identity.to_public())
    if where == "disk":
        world.environment["DSAR_EXPORT_ROOT"] = str(world.exports)
    # The staged file as a killed worker leaves it: what a disk holds of it is no ZIP.
    assert Broken(world, "staged", "kill").end().returncode == -signal.SIGKILL
    name = version_of(world, 1) + ".age"
    left = bucket.read(name) if where == "objects" else _version(world, name).read_bytes()
    assert left.startswith(b"age-encryption.org/v1\n")
    assert b"PK\x03\x04" not in left

    past_the_lease(world)
    assert world.sweep().json["completed"] == 1
    assert world.dsar("verify").json["counts"] == {"good": 1}
    key = tmp_path / "key.txt"
    key.write_text(str(identity))
    target = tmp_path / "plain.zip"
    done = world.dsar("decrypt", "R-7", "--identity", str(key), "--output", str(target))
    assert (done.returncode, done.json["bytes"]) == (0, target.stat().st_size), done.stderr
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
    if where == "disk":
        public = world.exports / "levqor-dsar-R-7.zip.age"
        assert public.samefile(_version(world, version_of(world, 2) + ".age"))
        _switch_off_and_on(world, public, str(identity.to_public()))


def _version(world: World, name: str) -> Path:
    return world.exports / ".versions" / name


def _switch_off_and_on(world: World, public: Path, recipient: Any) -> None:
    """One reference has one file, encrypted or not, as its latest export is."""
    world.environment["DSAR_EXPORT_RECIPIENTS"] = ""
    assert world.dsar("export", "R-7").returncode == 0
    assert not public.exists()
    world.check_invariants()
    world.environment["DSAR_EXPORT_RECIPIENTS"] = recipient
    assert world.dsar("export", "R-7").returncode == 0
    assert [path.name for path in world.exports.glob("*.zip*")] == [public.name]
