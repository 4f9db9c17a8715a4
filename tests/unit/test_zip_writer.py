"""The ZIP is written front to back, and everybody's reader opens it: ours are none of them."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import re
import shutil
import subprocess
import threading
import zipfile
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.services import zip_writer
from backend.services.pump import Pump, pumped
from backend.services.zip_writer import BUFFER_BYTES, SMALL_BYTES, Precompressed, ZipWriter

MODIFIED_AT = datetime(2026, 3, 4, 5, 6, 8, tzinfo=UTC)
JAVA = Path(__file__).parents[1] / "ReadZip.java"


class Pipe:
    """A target that can only be written to."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.parts.append(bytes(data))

    @property
    def content(self) -> bytes:
        return b"".join(self.parts)


def nothing() -> None:
    """A checkpoint that never stops anything."""


def text(length: int, seed: int = 1) -> bytes:
    """Text as JSON of people's data is: it packs to about a quarter."""
    chance = random.Random(seed)
    words = [b'"stored": %d, "name": "M\xc3\xa4rz %d"' % (n, n * n) for n in range(500)]
    found = bytearray()
    while len(found) < length:
        found += chance.choice(words)
    return bytes(found[:length])


def noise(length: int) -> bytes:
    return random.Random(2).randbytes(length)


MEMBERS: dict[str, bytes] = {
    "root/empty.json": b"",
    "root/one.json": b"x",
    "root/größe-日本.json": text(10_000),
    "root/photograph.jpg": noise(10_000),
    "root/limit.json": text(SMALL_BYTES),
    "root/streamed.json": text(SMALL_BYTES + 1),
    "root/noise.bin": noise(SMALL_BYTES + 3 * BUFFER_BYTES),
    "root/last.json": b"[]\n",
}


def packed(members: Mapping[str, bytes], piece: int = 100_000) -> bytes:
    target = Pipe()
    archive = ZipWriter(target, modified_at=MODIFIED_AT, checkpoint=nothing)
    for name, content in members.items():
        with archive.member(name) as member:
            for start in range(0, len(content), piece):
                member.write(content[start : start + piece])
        assert member.size == len(content)
        assert member.digest.digest() == hashlib.sha256(content).digest()
    archive.close()
    assert archive.size == len(target.content)
    return target.content


@pytest.mark.parametrize("content", [b"", b"x", text(10_000), noise(10_000)])
def test_precompressed_member_is_written_as_one_that_is_packed_now(content: bytes) -> None:
    target = Pipe()
    archive = ZipWriter(target, modified_at=MODIFIED_AT, checkpoint=nothing)
    content_packed = Precompressed.of(content)
    archive.add("root/first.json", content_packed)
    archive.add("root/second.json", content_packed)
    archive.close()
    assert target.content == packed({"root/first.json": content, "root/second.json": content})


def test_precompressed_member_asks_whether_to_go_on() -> None:
    asked: list[None] = []
    archive = ZipWriter(Pipe(), modified_at=MODIFIED_AT, checkpoint=lambda: asked.append(None))
    archive.add("root/first.json", Precompressed.of(b"{}"))
    assert len(asked) == 1


@pytest.fixture(scope="module")
def archive_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zip") / "members.zip"
    path.write_bytes(packed(MEMBERS))
    return path


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_members_of_every_size_come_back_with_mode_and_time(archive_path: Path) -> None:
    assert unpacked(archive_path.read_bytes()) == MEMBERS
    with zipfile.ZipFile(archive_path) as archive:
        for info in archive.infolist():
            assert info.external_attr >> 16 == 0o100600
            assert info.create_system == 3
            assert info.date_time == (2026, 3, 4, 5, 6, 8)
            assert info.extract_version == 20  # no ZIP64 where none is needed
            streamed = len(MEMBERS[info.filename]) > SMALL_BYTES
            assert bool(info.flag_bits & 8) == streamed
        assert archive.getinfo("root/photograph.jpg").compress_type == zipfile.ZIP_STORED
        assert archive.getinfo("root/one.json").compress_type == zipfile.ZIP_STORED
        assert archive.getinfo("root/streamed.json").compress_type == zipfile.ZIP_DEFLATED


@pytest.mark.parametrize(
    "command",
    [
        ("unzip", "-tqq"),
        ("zip", "-T"),
        ("7z", "t", "-bd"),
        ("bsdtar", "-xOf"),
        ("jar", "tf"),
    ],
    ids=lambda command: command[0],
)
def test_others_tools_open_it(archive_path: Path, command: tuple[str, ...]) -> None:
    require(command[0])
    done = subprocess.run([*command, archive_path], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == b""


def test_bsdtar_reads_it_from_a_pipe(archive_path: Path) -> None:
    require("bsdtar")
    with archive_path.open("rb") as file:
        done = subprocess.run(
            ["bsdtar", "-xOf", "-"], stdin=file, capture_output=True, timeout=60, check=True
        )
    assert done.stdout == b"".join(MEMBERS.values())


def test_java_reads_it_by_directory_and_as_a_stream(archive_path: Path) -> None:
    require("java")
    wanted = [f"{name} {len(content)} {zlib.crc32(content)}" for name, content in MEMBERS.items()]
    command = ["java", str(JAVA), str(archive_path)]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert done.stdout.decode().splitlines() == wanted + wanted, done.stderr.decode()


def require(program: str) -> None:
    if not shutil.which(program) and not os.environ.get("CI"):
        pytest.skip(f"{program} is not installed")


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.binary(max_size=300), max_size=6),
    st.integers(1, 100),
    st.sampled_from([0, 1, 40, 1000]),
)
def test_any_members_in_any_pieces_come_back(contents: list[bytes], piece: int, small: int) -> None:
    members = {f"root/{index}": content for index, content in enumerate(contents)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zip_writer, "SMALL_BYTES", small)
        patch.setattr(zip_writer, "BUFFER_BYTES", 16)
        assert unpacked(packed(members, piece)) == members


# -- ZIP64, with the limits lowered: what comes out is a ZIP64 archive as good as any ----------


def test_sizes_and_offsets_past_the_limit_go_to_zip64_records(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(zip_writer, "SMALL_BYTES", 5000)
    monkeypatch.setattr(zip_writer, "LIMIT_32", 3000)
    members = {"a": text(100), "b": text(2999), "c": text(3000), "d": text(20_000), "e": b"end"}
    content = packed(members)
    assert unpacked(content) == members
    with zipfile.ZipFile(BytesIO(content)) as archive:
        wide = {info.filename for info in archive.infolist() if info.extract_version == 45}
    assert wide == {"c", "d", "e"}  # the last one by its offset alone
    # Only the member that was streamed has a descriptor, and it is a wide one.
    (descriptor,) = re.finditer(rb"PK\x07\x08", content)
    sizes = content[descriptor.start() + 8 : descriptor.start() + 24]
    assert int.from_bytes(sizes[8:], "little") == 20_000
    path = tmp_path / "wide.zip"
    path.write_bytes(content)
    for command in (["unzip", "-tqq"], ["7z", "t", "-bd"], ["zip", "-T"]):
        if shutil.which(command[0]):
            subprocess.run([*command, path], capture_output=True, timeout=60, check=True)


def test_more_members_than_sixteen_bits_count_open(tmp_path: Path) -> None:
    members = {f"root/{number}": b"" for number in range(0x10000)}
    path = tmp_path / "many.zip"
    path.write_bytes(packed(members))
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 0x10000
    if shutil.which("unzip"):
        listed = subprocess.run(["unzip", "-Z1", path], capture_output=True, check=True)
        assert listed.stdout.count(b"\n") == 0x10000


# -- failing ------------------------------------------------------------------------------------


def test_checkpoint_that_raises_stops_the_writing_and_is_the_error_seen() -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    target = Pipe()
    archive = ZipWriter(target, modified_at=MODIFIED_AT, checkpoint=stop)
    with pytest.raises(Stop), archive.member("root/a.json") as member:
        member.write(text(SMALL_BYTES + 1))
    assert target.content == b""


def test_block_that_raises_leaves_no_second_error() -> None:
    target = Pipe()
    archive = ZipWriter(target, modified_at=MODIFIED_AT, checkpoint=nothing)
    with pytest.raises(KeyError), archive.member("root/a.json") as member:
        member.write(b"x")
        raise KeyError
    assert target.content == b""


def test_target_that_is_full_says_so() -> None:
    class Full:
        def write(self, data: bytes) -> None:
            raise OSError(28, "No space left on device")

    archive = ZipWriter(Full(), modified_at=MODIFIED_AT, checkpoint=nothing)
    with pytest.raises(OSError, match="No space"), archive.member("root/a.json") as member:
        member.write(b"x")


# -- the packing thread ---------------------------------------------------------------------------


def packing_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "dsar-pack"]


class Brittle(Pipe):
    """A target that takes so many bytes, then raises."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.refused = 0

    def write(self, data: bytes) -> None:
        self.room -= len(data)
        if self.room < 0:
            self.refused += 1
            raise OSError(errno.ENOSPC, "full")
        super().write(data)


def stream_noise_into(target: zip_writer.Target, blocks: int = 40) -> None:
    archive = ZipWriter(target, modified_at=MODIFIED_AT, checkpoint=nothing)
    with archive.member("root/large.bin") as member:
        for _ in range(blocks):
            member.write(noise(BUFFER_BYTES))
    archive.close()


def test_member_gets_a_thread_once_it_is_large() -> None:
    archive = ZipWriter(Pipe(), modified_at=MODIFIED_AT, checkpoint=nothing)
    with archive.member("root/small.json") as small:
        small.write(text(SMALL_BYTES))
        assert packing_threads() == []
    with archive.member("root/large.json") as large:
        large.write(text(SMALL_BYTES + 1))
        assert len(packing_threads()) == 1
    assert packing_threads() == []


@pytest.mark.parametrize("room", [0, 1_000, 3 * BUFFER_BYTES, SMALL_BYTES + 20 * BUFFER_BYTES])
def test_streamed_member_whose_target_fails_raises_that_and_writes_no_more(room: int) -> None:
    target = Brittle(room)
    with pytest.raises(OSError, match="full") as raised:
        stream_noise_into(target)
    assert raised.value.errno == errno.ENOSPC
    assert target.refused == 1
    assert packing_threads() == []


def test_streamed_member_into_a_pump_whose_reader_fails_raises_the_readers_error() -> None:
    def consume(source: Pump) -> None:
        source.read()
        raise KeyError("upload")

    with pytest.raises(KeyError, match="upload"), pumped(consume, "test", capacity=1) as pump:
        stream_noise_into(pump)
    assert packing_threads() == []


@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt("mine")])
def test_streamed_member_whose_block_fails_raises_that_and_writes_no_more(
    error: BaseException,
) -> None:
    target = Pipe()
    archive = ZipWriter(target, modified_at=MODIFIED_AT, checkpoint=nothing)
    with pytest.raises(type(error), match="mine"), archive.member("root/large.bin") as member:
        member.write(noise(SMALL_BYTES + 1))
        raise error
    assert packing_threads() == []
    assert b"PK\x07\x08" not in target.content


def test_small_members_ask_whether_to_go_on_as_well() -> None:
    asked: list[int] = []
    archive = ZipWriter(Pipe(), modified_at=MODIFIED_AT, checkpoint=lambda: asked.append(1))
    for number in range(3):
        with archive.member(f"root/{number}.json") as member:
            member.write(b"{}")
    assert len(asked) == 3


def test_as_many_members_as_sixteen_bits_count_need_a_zip64_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All ones in the field says that the number stands in the record."""
    monkeypatch.setattr(zip_writer, "LIMIT_16", 3)
    assert b"PK\x06\x06" not in packed(dict.fromkeys("ab", b""))
    assert b"PK\x06\x06" in packed(dict.fromkeys("abc", b""))


def test_time_before_zips_calendar_is_its_first_year() -> None:
    target = Pipe()
    archive = ZipWriter(target, modified_at=datetime(1970, 2, 3, 4, 5, 6), checkpoint=nothing)  # noqa: DTZ001
    with archive.member("a") as member:
        member.write(b"x")
    archive.close()
    with zipfile.ZipFile(BytesIO(target.content)) as opened:
        assert opened.infolist()[0].date_time == (1980, 2, 3, 4, 5, 6)
