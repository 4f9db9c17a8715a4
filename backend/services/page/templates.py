"""The page's templates, read and compiled once a process and language."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backend.services.page.phrases import Phrases

if TYPE_CHECKING:
    from jinja2 import Environment, Template

FOLDER: Final = Path(__file__).parent


@cache
def template(name: str, phrases: Phrases) -> Template:
    """A template by its file's name. Whatever it is given is escaped, and must be given.

    ``"page.title"|t`` in it is one of the phrases: a filter, because what a filter makes of a
    constant is put in place when the template is compiled, not for each person.
    """
    return _environment(phrases).get_template(name)


@cache
def _environment(phrases: Phrases) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["t"] = phrases
    return environment
