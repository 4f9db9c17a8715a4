"""Names of an archive's members that hold wherever it is unpacked: Windows, macOS, Linux.

Names of files were chosen by people, on any system. ``Places`` makes of each a path that none of
the three refuses, and that is no other member's on any of them: two names that differ by case, by
their Unicode form or by characters that are not seen are one file somewhere, and a file stands
where a folder of its name should be. Letters of every script stay as they are.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from backend.services.digest_set import DigestSet

# Explorer refuses a path of more than 259 characters, the folder included that it is unpacked to.
# The longest root folder of an archive has 128: what is left is the person's own folder's.
PATH_LENGTH: Final = 90
# A folder's name may use up the path; a file's name gets so many characters all the same.
_LEAST_LENGTH: Final = 24
_PART_LENGTH: Final = 64
# ``unzip`` without a UTF-8 locale writes #Uxxxx for a letter, and a file's name has 255 octets.
_ESCAPED_LENGTH: Final = 240
# The longest number before a name: "9999999-".
_NUMBER_LENGTH: Final = 8
_ENDING_LENGTH: Final = 12
_LAST_ASCII: Final = 127
_LAST_OF_16_BITS: Final = 0xFFFF

_REFUSED: Final = re.compile(r'[<>:"|?*\\/\x00-\x1f\x7f]')
# "PROGRA~1" is a second name of another file where Windows keeps short ones.
_SHORT_NAME: Final = re.compile(r"~(?=\d)")
_RESERVED: Final = re.compile(
    r"(?:CON|PRN|AUX|NUL|CLOCK\$|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])", re.IGNORECASE
)
# Not seen, and ignored by file systems that compare names without regard to case (ext4, f2fs).
# Format characters (joiners, marks of direction) aside, which their category tells.
_IGNORABLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U000e0000-\U000e0fff]"
)
_UNUSABLE: Final = frozenset({"Cc", "Cs", "Co", "Cn", "Zl", "Zp"})


def portable(part: str) -> str:
    """A file's or folder's name that all three take, in Unicode's composed form (NFC)."""
    if not part.isascii():
        composed = unicodedata.normalize("NFC", part)
        part = unicodedata.normalize("NFC", "".join(map(_usable, composed)))
    part = _REFUSED.sub("_", part)
    part = _SHORT_NAME.sub("_", part).strip(" .") or "file"
    stem = part.partition(".")[0].rstrip(" ")
    return f"_{part}" if _RESERVED.fullmatch(stem) else part


def is_portable(path: str) -> bool:
    """Whether every part of a path is a name that all three take as it is."""
    return all(part == portable(part) for part in path.split("/"))


def folded(path: str) -> str:
    """What two paths have in common that are one file on any of the three."""
    if path.isascii():
        return path.lower()
    bare = _IGNORABLE.sub("", unicodedata.normalize("NFD", path))
    return unicodedata.normalize("NFD", bare.upper().casefold())


def width(text: str) -> int:
    """A text's length as Windows and macOS count it: in units of 16 bits."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


class TakenNames:
    """The paths of an archive's members: no two of one name, and no file where a folder is."""

    def __init__(self) -> None:
        self._files = DigestSet()
        self._folders = DigestSet()

    def has_file(self, path: str) -> bool:
        """Whether there is a file of that path, however it is written."""
        return folded(path) in self._files

    def is_free(self, path: str) -> bool:
        """Whether there is neither a file nor a folder of that path, however it is written."""
        key = folded(path)
        return key not in self._files and key not in self._folders

    def add(self, path: str) -> None:
        """Add a file, and the folders that it is in."""
        key = folded(path)
        self._files.add(key)
        folder = key.rpartition("/")[0]
        while folder and self._folders.add(folder):
            folder = folder.rpartition("/")[0]

    def take(self, path: str) -> bool:
        """Add a file unless its path is taken, or leads through a file; returns whether it did."""
        folder = path.rpartition("/")[0]
        while folder and folded(folder) not in self._folders:
            if self.has_file(folder):
                return False
            folder = folder.rpartition("/")[0]
        if not self.is_free(path):
            return False
        self.add(path)
        return True


class Places:
    """Gives each file of one folder a path of its own. The same names get the same paths.

    Time grows with the number of files, whatever they are called: a number that was tried is never
    tried again.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._room = max(_LEAST_LENGTH, PATH_LENGTH - _NUMBER_LENGTH - width(folder) - 1)
        self._taken = TakenNames()
        self._renamed: dict[str, str] = {}
        self._number = 1

    def place(self, name: str) -> str:
        """A path within the archive for a file of that name, whose parts are parted by ``/``."""
        usable = [portable(part) for part in name.split("/") if part not in ("", ".", "..")]
        *folders, last = _fitted(usable or ["file"], self._room)
        at = self._folder
        for folder in folders:
            at = self._below(at, folder)
        path = f"{at}/{last}"
        while not self._taken.is_free(path):
            path = f"{at}/{self._next()}-{last}"
        self._taken.add(path)
        return path

    def _below(self, at: str, folder: str) -> str:
        """A folder of that name, or a numbered one where a file has it."""
        path = f"{at}/{folder}"
        if not self._taken.has_file(path):
            return path
        key = folded(path)
        while key not in self._renamed:
            path = f"{at}/{self._next()}-{folder}"
            if self._taken.is_free(path):
                self._renamed[key] = path
        return self._renamed[key]

    def _next(self) -> int:
        self._number += 1
        return self._number


@lru_cache(maxsize=4096)
def _usable(character: str) -> str:
    if ord(character) <= _LAST_ASCII:
        return character
    category = unicodedata.category(character)
    if category == "Cf" or _IGNORABLE.match(character):
        return ""
    if category == "Zs":
        return " "
    return "_" if category in _UNUSABLE else character


def _fitted(parts: list[str], room: int) -> list[str]:
    """The parts of a path in so many characters: the file's name first, then folders from above."""
    last = _shortened(parts[-1], min(room, _PART_LENGTH - _NUMBER_LENGTH))
    left = room - width(last)
    found = []
    for part in parts[:-1]:
        folder = _shortened(part, _PART_LENGTH - _NUMBER_LENGTH)
        left -= width(folder) + 1
        if left < 0:
            break
        found.append(folder)
    return [*found, last]


def _shortened(part: str, length: int) -> str:
    """A name of at most so many characters, its ending kept."""
    if width(part) <= length and _escaped(part) <= _ESCAPED_LENGTH:
        return part
    stem, dot, ending = part.rpartition(".")
    if not stem or width(ending) > _ENDING_LENGTH:
        stem, dot, ending = part, "", ""
    stem, ending = stem[:length], f"~{dot}{ending}"
    while width(stem + ending) > length or _escaped(stem + ending) > _ESCAPED_LENGTH:
        stem = stem[:-1]
    return unicodedata.normalize("NFC", stem.rstrip(" ") + ending)


def _escaped(text: str) -> int:
    """How many octets ``unzip`` makes of a name without a UTF-8 locale."""
    if text.isascii():
        return len(text)
    return sum(1 if ord(c) <= _LAST_ASCII else 6 if ord(c) <= _LAST_OF_16_BITS else 8 for c in text)
