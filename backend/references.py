"""What a request's reference may look like: it becomes a file's name."""

from __future__ import annotations

import re
from typing import Final

REFERENCE_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def is_usable_reference(text: str) -> bool:
    """Whether a reference may name a file: a letter or digit, then up to 99 of ``A-Za-z0-9._-``."""
    return REFERENCE_PATTERN.fullmatch(text) is not None
