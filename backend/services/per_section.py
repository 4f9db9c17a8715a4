"""What is made of a section once a process: its schema as printed, its words in a language."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from backend.services.sections import Section

Made = TypeVar("Made")

# Sections are declared once a process. Should somebody make them anew for every export, this is
# as many as are remembered.
_MOST: Final = 1024


class PerSection(Generic[Made]):
    """A memory by a section's identity, and one more key. Sections have no hash."""

    def __init__(self) -> None:
        # The section is kept beside what was made: an id is only its own as long as it lives.
        self._made: dict[tuple[int, Hashable], tuple[Section, Made]] = {}

    def get(self, section: Section, key: Hashable, make: Callable[[], Made]) -> Made:
        """What was made of the section for ``key``; made now, if it is the first time."""
        found = self._made.get((id(section), key))
        if found is None:
            if len(self._made) >= _MOST:
                self._made.clear()
            found = self._made[id(section), key] = (section, make())
        return found[1]
