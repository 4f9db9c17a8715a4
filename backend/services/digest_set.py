"""A set of texts in 16 octets each: for as many names as a person has files.

A text that was not added is found with a chance of 2^-128 for each one that was; the digest is
keyed at random, so that nobody can make two texts of one digest.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import Final

_SLOT: Final = 16
_EMPTY: Final = bytes(_SLOT)
_FIRST_SLOTS: Final = 64


class DigestSet:
    """Texts that were added. A set of Python's takes five times the memory."""

    def __init__(self) -> None:
        self._key = os.urandom(_SLOT)
        self._slots = bytearray(_FIRST_SLOTS * _SLOT)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, text: str) -> bool:
        digest = self._digest(text)
        return self._slots.startswith(digest, self._find(digest))

    def add(self, text: str) -> bool:
        """Add a text; returns whether it is new."""
        digest = self._digest(text)
        at = self._find(digest)
        if self._slots.startswith(digest, at):
            return False
        self._slots[at : at + _SLOT] = digest
        self._count += 1
        if self._count * 3 > len(self._slots) // _SLOT * 2:
            self._grow()
        return True

    def _digest(self, text: str) -> bytes:
        octets = text.encode("utf-8", "surrogatepass")
        digest = blake2b(octets, key=self._key, digest_size=_SLOT).digest()
        return digest if digest != _EMPTY else b"\1" * _SLOT

    def _find(self, digest: bytes) -> int:
        """Where the digest is, or the empty slot where it belongs."""
        slots = self._slots
        at = int.from_bytes(digest[:8], "little") * _SLOT % len(slots)
        while not (slots.startswith(digest, at) or slots.startswith(_EMPTY, at)):
            at = (at + _SLOT) % len(slots)
        return at

    def _grow(self) -> None:
        earlier = self._slots
        self._slots = bytearray(2 * len(earlier))
        for start in range(0, len(earlier), _SLOT):
            digest = bytes(earlier[start : start + _SLOT])
            if digest != _EMPTY:
                at = self._find(digest)
                self._slots[at : at + _SLOT] = digest
