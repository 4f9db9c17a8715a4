"""What Art. 15 wants told that holds for all of an export: who answers, the rights, complaint."""

from __future__ import annotations

from typing import Any, Final

from backend.services.page.catalogue import catalogue
from backend.services.sections import is_stated
from backend.settings import PREFIX, Settings

# GDPR Art. 15(1)(c), (e) and (f), and the articles that the rights stand in.
RIGHTS: Final = {
    "access": 15,
    "rectification": 16,
    "erasure": 17,
    "restriction": 18,
    "portability": 20,
    "objection": 21,
    "complaint": 77,
}
_WANTED: Final = ("controller_name", "controller_contact", "complaint_authority")


def missing_settings(settings: Settings) -> list[str]:
    """The settings that Art. 15 wants and nobody made yet: empty, or beginning with ``TODO``."""
    return [
        PREFIX + name.upper() for name in _WANTED if not is_stated(getattr(settings, name) or "")
    ]


def controller_facts(settings: Settings) -> dict[str, str | None]:
    """Who answers for the data, as ``meta.json`` states it; None where a setting is not made."""
    return {
        "name": settings.controller_name,
        "contact": settings.controller_contact,
        "data_protection_officer": settings.dpo_contact,
        "complaint_authority": settings.complaint_authority,
    }


def notes(language: str) -> list[str]:
    """What ``meta.json`` says of the whole export, in a language of the page's."""
    words = catalogue(language)
    return [words["notes.provided"], words["notes.redacted"]]


def rights(language: str) -> list[dict[str, Any]]:
    """The data subject's rights with their articles, in a language of the page's."""
    words = catalogue(language)
    return [
        {"right": name, "article": article, "text": words[f"rights.{name}"]}
        for name, article in RIGHTS.items()
    ]
