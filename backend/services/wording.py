"""Words for people: texts in one language or several; what a section and its columns are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# One text for everybody, or one a language: {"en": "Account", "de": "Konto"}.
Text = str | Mapping[str, str]

FALLBACK_LANGUAGE: Final = "en"


def in_language(text: Text, language: str) -> str:
    """The text in a language (``de``, or a tag such as ``de-AT``).

    Where it is not there: in the tag's main language, in English, or in the first one that is.
    """
    if isinstance(text, str):
        return text
    for tag in (language, main_language(language), FALLBACK_LANGUAGE):
        if tag in text:
            return text[tag]
    return next(iter(text.values()), "")


def main_language(tag: str) -> str:
    """The main part of a language tag or a POSIX locale: ``de`` of ``de-AT`` and ``de_AT``."""
    return tag.replace("_", "-").split("-", 1)[0].lower()


def humanised(name: str) -> str:
    """A table's or column's name as words: ``last_login_at`` gives ``Last login at``, and
    ``billingPostalCode`` ``Billing postal code``.
    """
    if name.islower():
        text = name.replace("_", " ").replace("-", " ").strip()
    else:
        parted = re.sub(r"([^\W\d_A-Z]|\d)([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3 \2\4", name)
        first, *rest = re.split(r"[\s_-]+", parted.strip(" _-"))
        # An acronym keeps its capitals.
        text = " ".join([first, *(word if word.isupper() else word.lower() for word in rest)])
    return text[:1].upper() + text[1:]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """How the readable page calls a section, its columns and their units. All of it is optional.

    ``labels`` and ``units`` go by column. Without a label the page takes its own word for a
    common column (``created_at``), else the column's name as words.
    """

    title: Text = ""
    description: Text = ""
    labels: Mapping[str, Text] = field(default_factory=dict)
    units: Mapping[str, Text] = field(default_factory=dict)
