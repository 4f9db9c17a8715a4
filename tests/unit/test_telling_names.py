"""What a column's name tells, in the languages of its lists."""

from __future__ import annotations

import pytest

from backend.services.telling_names import looks_personal, names_a_person, words


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lastLoginIP", ["last", "login", "ip"]),
        ("HausNr", ["haus", "nr"]),
        ("Straße", ["strasse"]),
        ("Empfänger_Größe", ["empfaenger", "groesse"]),
        ("prénom", ["prenom"]),
        ("contraseña", ["contrasena"]),
        ("имя", []),
    ],
)
def test_words_of_a_name_are_small_and_without_accents(name: str, expected: list[str]) -> None:
    assert words(name) == expected


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("t", "email"), ("t", "last_login_ip"), ("customers", "name"),
        ("t", "Vorname"), ("t", "Geburtsdatum"), ("t", "geb_datum"), ("t", "Straße"),
        ("t", "rechnungsanschrift"), ("t", "kontaktTelefonnummer"), ("kunden", "name"),
        ("t", "prénom"), ("t", "code_postal"), ("t", "date_naissance"), ("utilisateurs", "nom"),
        ("t", "apellidos"), ("t", "dirección"), ("clientes", "nombre"),
        ("t", "home_lat"), ("t", "gps"), ("t", "national_id"), ("t", "twitterHandle"),
    ],
)  # fmt: skip
def test_looks_personal_in_each_language(table: str, column: str) -> None:
    assert looks_personal(table, column)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("products", "name"), ("t", "title"), ("t", "genre"), ("waren", "name"), ("t", "preis"),
        ("produits", "nom"), ("productos", "nombre"), ("t", "dateiname"), ("t", "anzahl"),
    ],
)  # fmt: skip
def test_looks_personal_leaves_things_alone(table: str, column: str) -> None:
    assert not looks_personal(table, column)


@pytest.mark.parametrize(
    "name",
    [
        "author_id",
        "userId",
        "userid",
        "created_by",
        "invited_by_id",
        "sender",
        "kunden_nr",
        "USER_NO",
        "assigned_to",
        "assignedto",
        "createdby",
        "supervisor_id",
    ],
)
def test_names_a_person_whose_key_it_holds(name: str) -> None:
    assert names_a_person(name)


@pytest.mark.parametrize(
    "name", ["id", "by", "order_id", "user_group_id", "guests", "paid", "standby", "due_to", "名"]
)
def test_names_a_person_leaves_things_alone(name: str) -> None:
    assert not names_a_person(name)
