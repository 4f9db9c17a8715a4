"""What a power cut would leave of a folder: only what was flushed.

A real folder, and every ``fsync`` below it noted: of a file its content, of a folder the names in
it. A cut is survived by that for certain. Names may survive without having been flushed, and then
without the content that was not; so there are two things that a cut may leave.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

# After each of these the power may go.
_STEPS: Final = ("fsync", "rename", "link", "unlink", "mkdir")

Tree = dict[str, bytes]  # the files by their paths below the root


class FlushedDisk:
    """Follows one folder, which is flushed itself. ``after_step`` is called after each step."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.after_step: Callable[[str], None] = lambda step: None
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._note_names(root)

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Within the block every step is seen, whoever makes it."""
        wrapped = {name: self._wrapped(name, getattr(os, name)) for name in _STEPS}
        with patch.multiple(os, **wrapped):
            yield

    def _wrapped(self, name: str, original: Any) -> Any:
        def step(*arguments: Any, **keywords: Any) -> Any:
            result = original(*arguments, **keywords)
            if name == "fsync":
                self._note(arguments[0])
            self.after_step(name)
            return result

        return step

    def _note(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            self._note_names(Path(f"/proc/self/fd/{descriptor}").resolve())
        else:
            self._contents[found.st_ino] = os.pread(descriptor, found.st_size, 0)

    def _note_names(self, folder: Path) -> None:
        names = {entry.name: entry.inode() for entry in os.scandir(folder)}
        self._names[folder.stat().st_ino] = names

    def after_a_cut(self, *, names_survive: bool) -> Tree:
        """The files that a cut leaves now, with as much of them as was flushed."""
        if names_survive:
            return {
                str(path.relative_to(self.root)): self._contents.get(path.stat().st_ino, b"")
                for path in self.root.rglob("*")
                if path.is_file()
            }
        return dict(self._flushed(self.root.stat().st_ino, ""))

    def _flushed(self, folder: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        folders = {path.stat().st_ino for path in self.root.rglob("*") if path.is_dir()}
        for name, inode in self._names.get(folder, {}).items():
            if inode in folders:
                yield from self._flushed(inode, f"{prefix}{name}/")
            else:
                yield prefix + name, self._contents.get(inode, b"")
