"""The page's words, one file a language: ``languages/en.toml``, ``languages/de.toml``.

Adding a file adds a language. A key that a language lacks is taken from English, so that a page
is never without a word.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from backend.services.wording import FALLBACK_LANGUAGE, main_language

_FOLDER: Final = Path(__file__).parent / "languages"


class Catalogue(Mapping[str, str]):
    """One language's words by their key, ``page.title``."""

    def __init__(self, language: str, words: Mapping[str, Any]) -> None:
        self.language = language
        self._words = words

    def __getitem__(self, key: str) -> str:
        return str(self._words[key])

    def __iter__(self) -> Any:
        return iter(self._words)

    def __len__(self) -> int:
        return len(self._words)

    def series(self, key: str) -> list[str]:
        """A key that holds several words, such as the months."""
        return list(self._words[key])


def languages() -> list[str]:
    """The languages that the page can be written in."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


@cache
def catalogue(language: str) -> Catalogue:
    """A language's words. Read once a process. ``language`` is one of ``languages()``."""
    return Catalogue(language, read_words(FALLBACK_LANGUAGE) | read_words(language))


def spoken(wanted: str | None, otherwise: str) -> str:
    """The page's language for a person's language tag (``de-AT``), if it has it."""
    if wanted and main_language(wanted) in languages_known():
        return main_language(wanted)
    return otherwise


@cache
def languages_known() -> frozenset[str]:
    """As ``languages``, looked up once a process."""
    return frozenset(languages())


def read_words(language: str) -> dict[str, Any]:
    """What a language's file says, without any fallback, by dotted key."""
    parts = tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    return {f"{part}.{key}": word for part, words in parts.items() for key, word in words.items()}
