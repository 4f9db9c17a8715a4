"""Fides in an environment of its own, made on demand: it pins what this project has newer."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

import click

from tests.benchmarks.measure import NotRun

VERSION: Final = "2.78.2"
_FOLDER: Final = Path(sys.prefix) / f"fides-{VERSION}"


def python_of_fides(*, install: bool) -> str:
    """The interpreter of that environment. Raises ``NotRun`` where fides is not to be had.

    ``install``: make the environment where it is missing, which takes minutes and 800 MB. Some
    of what fides needs comes as source alone, so this is no part of the locked installation.
    """
    python = _FOLDER / "bin" / "python"
    ready = _FOLDER / "ready"
    if ready.exists():
        return str(python)
    if not install:
        raise NotRun("not installed; the full form installs it, or --fides")
    click.echo(f"installing ethyca-fides {VERSION} into {_FOLDER}; this takes minutes", err=True)
    venv.create(_FOLDER, with_pip=True, clear=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    done = subprocess.run(
        [*pip, f"ethyca-fides=={VERSION}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise NotRun(f"cannot be installed on Python {version}: {' '.join(lines)[:200]}")
    ready.touch()
    return str(python)
