"""Whether a folder is a mount point without its mount: then its files are away, not gone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

_FSTAB: Final = Path("/etc/fstab")
_UNITS: Final = (
    Path("/etc/systemd/system"),
    Path("/run/systemd/system"),
    Path("/usr/local/lib/systemd/system"),
    Path("/usr/lib/systemd/system"),
)
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_MOUNT_POINT_FIELD: Final = 1
_PLAIN: Final = re.compile(r"[A-Za-z0-9:_.]")


def is_unmounted(folder: str, *, fstab: Path = _FSTAB, units: tuple[Path, ...] = _UNITS) -> bool:
    """Whether this machine is to mount something on the folder, or above it, and has not."""
    real = PurePosixPath(os.path.realpath(folder))
    wanted = set(_mount_points(fstab))
    return any(
        (str(each) in wanted or _has_unit(each, units)) and not os.path.ismount(each)
        for each in (real, *real.parents)
    )


def _mount_points(fstab: Path) -> Iterator[str]:
    """The folders that ``/etc/fstab`` names."""
    try:
        lines = fstab.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        fields = line.split()
        if len(fields) > _MOUNT_POINT_FIELD and not fields[0].startswith("#"):
            named = _OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[_MOUNT_POINT_FIELD])
            yield os.path.normpath(named)


def _has_unit(folder: PurePosixPath, units: tuple[Path, ...]) -> bool:
    """Whether systemd has a unit that mounts something there."""
    name = _escaped(str(folder))
    return any(
        (where / f"{name}{kind}").exists() for where in units for kind in (".mount", ".automount")
    )


def _escaped(folder: str) -> str:
    """A path as ``systemd-escape --path`` writes it."""
    parts = folder.strip("/").split("/")
    if parts == [""]:
        return "-"
    text = "-".join("".join(map(_escaped_character, part)) for part in parts)
    return f"\\x2e{text[1:]}" if text.startswith(".") else text


def _escaped_character(character: str) -> str:
    if _PLAIN.fullmatch(character):
        return character
    return "".join(f"\\x{octet:02x}" for octet in character.encode("utf-8", "surrogateescape"))
