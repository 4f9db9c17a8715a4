"""Reading the readable page, as a browser would find its parts."""

from __future__ import annotations

from html.parser import HTMLParser

# Elements that take no end tag.
_VOID = ("meta", "br")


class Page(HTMLParser):
    """A parsed page: every element with its attributes and its text; raises where it is untidy."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._texts: list[list[str]] = []
        self._open: list[int] = []
        self.feed(text)
        self.close()
        assert not self._open, [self.elements[place] for place in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._texts.append([])
        if tag not in _VOID:
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        place = self._open.pop()
        assert self.elements[place][0] == tag, (tag, self.elements[place])

    def handle_data(self, data: str) -> None:
        for place in self._open:
            self._texts[place].append(data)

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}

    def attributes(self, name: str) -> list[str]:
        """Every value of an attribute."""
        return [
            value or "" for _, found in self.elements for key, value in found.items() if key == name
        ]

    def texts(self, *tags: str) -> list[str]:
        """The text of every such element, in order."""
        found = zip(self.elements, self._texts, strict=True)
        return ["".join(text) for (tag, _), text in found if tag in tags]
