"""Pushes turned into pulls: all bytes in order, and an end on both sides whatever fails."""

from __future__ import annotations

import errno
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.services.pump import Abandoned, Pump, pumped


@given(blocks=st.lists(st.binary(max_size=300)), size=st.integers(1, 100))
def test_pumped_bytes_arrive_in_order_whatever_the_reads(blocks: list[bytes], size: int) -> None:
    arrived = bytearray()

    def consume(source: Pump) -> None:
        while block := source.read(size):
            assert len(block) <= size
            arrived.extend(block)

    with pumped(consume, "test") as pump:
        for block in blocks:
            pump.write(block)
    assert bytes(arrived) == b"".join(blocks)


def test_pumped_more_than_fits_waits_for_the_reader() -> None:
    sizes: list[int] = []

    def consume(source: Pump) -> None:
        sizes.extend(len(block) for block in source)

    with pumped(consume, "test") as pump:
        for _ in range(12):
            pump.write(bytearray(8 * 1024 * 1024))
            assert pump.held <= 12 * 1024 * 1024
    assert sum(sizes) == 12 * 8 * 1024 * 1024


def test_pumped_writer_that_fails_makes_the_reader_raise() -> None:
    seen: list[type[BaseException]] = []

    def consume(source: Pump) -> None:
        try:
            list(source)
        except BaseException as error:
            seen.append(type(error))
            raise

    with pytest.raises(KeyError, match="mine"), pumped(consume, "test") as pump:
        pump.write(b"x")
        raise KeyError("mine")
    assert seen == [Abandoned]


def test_pumped_reader_that_fails_ends_a_writer_that_waits_for_room() -> None:
    def consume(source: Pump) -> None:
        source.read()
        raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(OSError, match="no space"), pumped(consume, "test") as pump:
        while True:
            pump.write(bytes(1024 * 1024))


def test_pumped_reader_that_fails_at_the_end_is_raised() -> None:
    def consume(source: Pump) -> None:
        list(source)
        raise OSError(errno.EIO, "at the end")

    with pytest.raises(OSError, match="at the end"), pumped(consume, "test") as pump:
        pump.write(b"x")
    assert not [each for each in threading.enumerate() if each.name == "test"]
