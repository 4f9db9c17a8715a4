"""Values in batches: as many as one statement names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Value = TypeVar("Value")


def batches(values: Iterable[Value], size: int) -> Iterator[list[Value]]:
    """Lists of at most ``size``, in order; none is empty."""
    left = iter(values)
    while batch := list(islice(left, size)):
        yield batch
