"""Whether a text names a key, however the text is written; for what cannot be taken apart.

Capitals, Unicode's forms of the same letters and invisible characters make no difference. A text is
read as it is, and with the escapes of JSON, Python, URLs and HTML undone, and what is base64 in it
decoded.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

# How often escapes are undone: text within text within text.
_MOST_ROUNDS: Final = 6
_ESCAPE: Final = re.compile(
    r"\\u\{?([0-9A-Fa-f]{4,6})\}?|\\U([0-9A-Fa-f]{8})|\\x([0-9A-Fa-f]{2})|%([0-9A-Fa-f]{2})"
    r"|\\([0-7]{2,3})"
)
_BASES: Final = (16, 16, 16, 16, 8)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{8,}")
# Where a word of several begins within one: smtpSecret.
_INNER_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MAX_CODE: Final = 0x10FFFF


@lru_cache(maxsize=4096)
def fold_key(key: str) -> str:
    """A key as it is compared: without capitals, invisible characters and blanks around it."""
    if key.isascii() and key.isprintable():
        return key.strip().lower()
    shown = "".join(each for each in key if unicodedata.category(each) not in ("Cf", "Cc"))
    return _folded(shown).strip()


def fold_text(text: str) -> str:
    """A text as names are looked for in it."""
    if text.isascii():
        return text.replace("\0", "").lower()
    shown = "".join(each for each in text if each != "\0" and unicodedata.category(each) != "Cf")
    return _folded(shown)


def _folded(text: str) -> str:
    # Folding may undo the normal form, and the other way round.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def names(text: str, key: str) -> bool:
    """Whether a text has this key (folded) as a word of its own, in whatever notation."""
    pattern = _word(key)
    return any(pattern.search(each) is not None for each in _readings(text))


@lru_cache(maxsize=512)
def _word(key: str) -> re.Pattern[str]:
    letter = r"[^\W\d_]"
    return re.compile(f"(?<!{letter}){re.escape(key)}(?!{letter})")


def _readings(text: str) -> Iterator[str]:
    """The text in every way that it is read, folded."""
    for each in (*_undone(text), *_decoded(text)):
        yield fold_text(each)
        yield fold_text(_INNER_WORD.sub(" ", each))


def _undone(text: str) -> Iterator[str]:
    for _ in range(_MOST_ROUNDS):
        yield text
        plainer = html.unescape(_ESCAPE.sub(_character, text))
        if plainer == text:
            return
        text = plainer


def _character(match: re.Match[str]) -> str:
    for digits, base in zip(match.groups(), _BASES, strict=True):
        if digits is not None:
            code = int(digits, base)
            return chr(code) if code <= _MAX_CODE else match[0]
    return match[0]


def _decoded(text: str) -> Iterator[str]:
    """The texts that are base64 within a text: JSON, or the parts of a token."""
    for found in _BASE64.findall(text):
        standard = found.replace("-", "+").replace("_", "/")
        try:
            octets = base64.b64decode(standard + "=" * (-len(standard) % 4))
        except (binascii.Error, ValueError):
            continue
        yield from _undone(octets.decode("utf-8", "replace"))
