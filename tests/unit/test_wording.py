"""Texts in one language or several, what Art. 15 wants told, and what is missing of it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from backend.services.collection import describe
from backend.services.disclosure import RIGHTS, controller_facts, missing_settings, notes, rights
from backend.services.dsar_collectors import AUDIT_LOGS, SECTIONS, WORKFLOWS
from backend.services.page.catalogue import catalogue, languages, read_words, spoken
from backend.services.sections import (
    FACT_MEANINGS,
    FACT_NAMES,
    Facts,
    FunctionSection,
    missing_facts,
)
from backend.services.wording import humanised, in_language
from backend.settings import Settings
from tests.harness import World

INSTANT = datetime(2026, 1, 5, tzinfo=UTC)
WHOLE = Facts(
    purpose="p",
    categories="c",
    recipients="r",
    retention="t",
    source="s",
    automated_decisions="none",
    transfers="none",
)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("one for all", "de", "one for all"),
        ({"en": "account", "de": "Konto"}, "de", "Konto"),
        ({"en": "account", "de": "Konto"}, "de-AT", "Konto"),
        ({"en": "account", "de": "Konto", "de-AT": "Kundenkonto"}, "de-AT", "Kundenkonto"),
        ({"en": "account", "de": "Konto"}, "fr", "account"),
        ({"fr": "compte"}, "de", "compte"),
        ({}, "de", ""),
    ],
)
def test_in_language_takes_the_nearest(text: Any, language: str, expected: str) -> None:
    assert in_language(text, language) == expected


def test_humanised_name_reads_as_words() -> None:
    assert humanised("last_login_at") == "Last login at"
    assert humanised("BillingPostalCode") == "Billing postal code"
    assert humanised("lastLoginIP") == "Last login IP"
    assert humanised("VAT_number") == "VAT number"
    assert humanised("ÜberschriftText") == "Überschrift text"
    assert humanised("_") == ""
    assert humanised("") == ""


# -- facts ---------------------------------------------------------------------------------------


def test_missing_facts_all_stated_is_none() -> None:
    assert missing_facts(WHOLE) == []


@pytest.mark.parametrize(
    "text", ["", "  ", "TODO", "todo: ask the lawyer", {}, {"en": "yes", "de": " "}, {"de": "TODO"}]
)
@pytest.mark.parametrize("name", FACT_NAMES)
def test_missing_facts_empty_or_todo_is_named(name: str, text: Any) -> None:
    assert missing_facts(replace(WHOLE, **{name: text})) == [name]


def test_missing_facts_are_never_decided_by_default() -> None:
    """Nobody but who declares a section knows where its data came from."""
    assert missing_facts(Facts(purpose="p", recipients="r", retention="t")) == [
        "categories",
        "source",
        "automated_decisions",
        "transfers",
    ]


def test_every_fact_has_a_meaning_and_an_article() -> None:
    assert tuple(FACT_MEANINGS) == FACT_NAMES


def test_sections_of_the_application_state_everything_in_every_language() -> None:
    for section in SECTIONS:
        assert missing_facts(section.facts) == [], section.name
        texts = [getattr(section.facts, name) for name in FACT_NAMES]
        texts += [section.wording.title, section.wording.description]
        texts += section.wording.labels.values()
        for text in texts:
            assert not isinstance(text, str) and set(text) == set(languages()), text


def test_describe_states_search_instant_facts_and_what_is_left_out() -> None:
    told = describe(WORKFLOWS, "de", INSTANT)
    assert told["searched"] is True
    assert told["snapshot_at"] == "2026-01-05T00:00:00+00:00"
    assert told["title"] == "Ihre Abläufe"
    assert told["retention"].startswith("bis die Person sie löscht")
    assert set(FACT_NAMES) <= set(told)
    assert told["withheld"]["definition.connections.*.secret"] == "credential"
    assert describe(AUDIT_LOGS, "en", INSTANT)["masked"]["ip_address"] == "another person"


def test_describe_section_without_wording_goes_by_its_name() -> None:
    section = FunctionSection(name="chat_logs", rows=lambda subject: [], facts=WHOLE)
    told = describe(section, "en", INSTANT)
    assert (told["title"], told["description"]) == ("Chat logs", "")
    assert "withheld" not in told


# -- the controller ------------------------------------------------------------------------------


def test_controller_unstated_names_the_settings(sqlite_world: World) -> None:
    settings = sqlite_world.settings()
    assert missing_settings(settings) == [
        "DSAR_CONTROLLER_NAME",
        "DSAR_CONTROLLER_CONTACT",
        "DSAR_COMPLAINT_AUTHORITY",
    ]
    stated = settings.model_copy(
        update={
            "controller_name": "Example Ltd",
            "controller_contact": "TODO",
            "complaint_authority": "The Authority",
        }
    )
    assert missing_settings(stated) == ["DSAR_CONTROLLER_CONTACT"]
    assert controller_facts(stated)["name"] == "Example Ltd"
    assert controller_facts(stated)["data_protection_officer"] is None


@pytest.mark.parametrize("language", languages())
def test_rights_are_told_with_their_articles(language: str) -> None:
    told = rights(language)
    assert [each["right"] for each in told] == list(RIGHTS)
    for each in told:
        assert re.search(rf"\b{each['article']}\b", each["text"]), each


def test_notes_are_two_and_in_the_pages_language() -> None:
    told = {language: notes(language) for language in languages()}
    assert told["en"] == [
        "This export is provided under GDPR / UK GDPR data access rights.",
        "Some fields may be redacted or omitted where the law requires.",
    ]
    assert {len(each) for each in told.values()} == {2}
    assert "DSGVO" in told["de"][0]


# -- the page's languages ------------------------------------------------------------------------


def test_languages_are_those_of_the_setting() -> None:
    assert tuple(languages()) == tuple(
        sorted(get_args(Settings.model_fields["page_language"].annotation))
    )


@pytest.mark.parametrize("language", [each for each in languages() if each != "en"])
def test_language_has_every_key_and_every_blank_of_english(language: str) -> None:
    english, other = read_words("en"), read_words(language)
    assert set(other) == set(english)
    for key, word in english.items():
        assert type(other[key]) is type(word), key
        if isinstance(word, str):
            assert sorted(re.findall(r"\{\w+\}", other[key])) == sorted(
                re.findall(r"\{\w+\}", word)
            ), key
        else:
            assert len(other[key]) == len(word), key


def test_catalogue_key_that_a_language_lacks_is_english(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"en": {"page.title": "Your data", "page.skip": "Skip"}, "xx": {"page.title": "Xx"}}
    monkeypatch.setattr("backend.services.page.catalogue.read_words", words.__getitem__)
    found = catalogue.__wrapped__("xx")
    assert dict(found) == {"page.title": "Xx", "page.skip": "Skip"}
    assert len(found) == 2


@pytest.mark.parametrize(
    ("tag", "expected"),
    [("de-DE", "de"), ("de_AT", "de"), ("DE", "de"), ("sv-SE", "en"), ("", "en"), (None, "en")],
)
def test_spoken_is_the_persons_language_if_the_page_has_it(tag: str | None, expected: str) -> None:
    assert spoken(tag, "en") == expected
