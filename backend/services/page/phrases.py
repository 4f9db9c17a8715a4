"""The catalogue's sentences, ready for the page: escaped, and their blanks kept to themselves."""

from __future__ import annotations

from markupsafe import Markup, escape

from backend.services.page.catalogue import Catalogue
from backend.services.page.values import ValueWriter, clean


class Phrases:
    """Sentences of one language with their blanks filled in.

    What fills a blank is escaped and isolated: a name in Arabic does not turn the sentence around
    it. One object serves every page of its language.
    """

    def __init__(self, words: Catalogue) -> None:
        self._numbers = ValueWriter(words)
        self._sentences = {
            key: escape(words[key])
            for key in words
            if not key.startswith(("format.", "columns.", "keys."))
        }

    def __call__(self, key: str, **blanks: object) -> Markup:
        sentence = self._sentences[key]
        if not blanks:
            return sentence
        return sentence.format(**{name: isolated(value) for name, value in blanks.items()})

    def count(self, key: str, number: int) -> Markup:
        """The sentence for one, or for another number."""
        if number == 1:
            return self._sentences[f"{key}_one"]
        return self._sentences[f"{key}_other"].format(n=self._numbers.number(number))


def isolated(value: object) -> Markup:
    """A text that keeps its direction to itself; markup as it is."""
    if isinstance(value, Markup):
        return value
    return Markup("<bdi>{}</bdi>").format(clean(str(value)))
