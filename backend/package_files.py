"""The files beside the code that the program reads as it works: pages, words, templates.

A copy that lost one (a packaging mistake, a half-made installation) fails only when it comes to
that file. It is found out here instead, and named for what it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from backend.errors import PackageIncomplete

_FOLDER: Final = Path(__file__).parent
# A test holds this to the tree.
DATA_FILES: Final = (
    "services/page/answers.html.j2",
    "services/page/index.html.j2",
    "services/page/languages/de.toml",
    "services/page/languages/en.toml",
    "services/page/section_head.html.j2",
    "services/page/style.css",
    "services/templates/report.css",
    "services/templates/report.html",
)


def require_whole() -> None:
    """Raise ``PackageIncomplete``, which names the files, unless every one is there."""
    missing = [name for name in DATA_FILES if not (_FOLDER / name).is_file()]
    if missing:
        raise PackageIncomplete(
            f"the installation lacks files of its own ({', '.join(missing)} in {_FOLDER}); "
            "install this release again"
        )


def is_whole() -> bool:
    """Whether every file is there."""
    return all((_FOLDER / name).is_file() for name in DATA_FILES)
