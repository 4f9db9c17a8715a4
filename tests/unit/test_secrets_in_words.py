"""No word about a database or a store holds a part of its password, however that was written."""

from __future__ import annotations

import os
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from backend.database_urls import normalise_database_url
from backend.engines import named_errors, shown_url
from backend.errors import DatabaseUnreachable, SettingsError
from backend.settings import load_settings, unknown_keys

PARTS = ("Qk7X", "Zw9J", "Vx3P")
# Parts that stand in no other word, between characters that mean something in a URL.
passwords = st.lists(st.text("@/:?#&%=[]+;,'\"\\!$ é", max_size=3), min_size=4, max_size=4).map(
    lambda between: between[0] + "".join(f"{p}{b}" for p, b in zip(PARTS, between[1:], strict=True))
)
places = st.sampled_from(
    (
        "postgresql://dsar:{}@127.0.0.1:1/db",
        "postgresql://:{}@127.0.0.1/db",
        "postgres://dsar:{}@/db?host=/run/postgresql",
        "mysql://dsar:{}@127.0.0.1/db?charset=utf8mb4",
        "mariadb://dsar:{}@[::1]:3306/db",
        "postgresql://d/sar:{}@127.0.0.1/db",
        "postgresql://127.0.0.1/db?user=dsar&password={}",
        "postgresql:///db?host=a&sslpassword={}",
        "postgresql:///db?host=a&passfile={}&options={}",
        "oracle://dsar:{}@127.0.0.1/db",
        "dsar:{}@127.0.0.1/db",
    )
)


def words_about(url: str) -> str:
    """All that is ever said of a database with this URL."""
    try:
        normalised = normalise_database_url(url)
    except ValueError as error:
        with (
            patch.dict(os.environ, {"DSAR_DATABASE_URL": url, "DSAR_EXPORT_ROOT": "/x"}),
            pytest.raises(SettingsError) as refused,
        ):
            load_settings()
        return f"{error} {refused.value}"
    made = make_url(normalised)
    gone = OperationalError("", None, type("OperationalError", (Exception,), {})("no route"))
    with pytest.raises(DatabaseUnreachable) as caught, named_errors(made):
        raise gone
    return f"{shown_url(made)} {caught.value}"


@given(places, passwords)
def test_words_about_a_database_hold_no_part_of_its_password(place: str, password: str) -> None:
    said = words_about(place.replace("{}", password))
    assert [part for part in PARTS if part in said] == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://dsar:Summer@2026!@127.0.0.1:1/db",
        "postgresql://dsar:a@b?c@127.0.0.1/db",
        "postgresql://ds/ar:ab@127.0.0.1/db",
        "postgresql://ds/ar:ab?@127.0.0.1/db",
        "mysql://dsar@corp:ab@127.0.0.1/db",
    ],
)
def test_url_whose_password_is_not_escaped_is_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(ValueError, match="write %40 for '@'"):
        normalise_database_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://dsar:Summer%402026!@db.example.org/app",
        "postgresql://dsar:a/b:c#d@db.example.org/app",
        "postgresql:///app?host=/run/postgresql&user=dsar@corp",
        "sqlite:////srv/a@b/c@d.sqlite3",
    ],
)
def test_url_that_is_read_in_one_way_only_is_taken(url: str) -> None:
    assert normalise_database_url(url)


@pytest.mark.parametrize(
    "root",
    [
        "s3://KEYQk7X:secretZw9J@bucket/prefix",
        "s3://KEYQk7X:sec/retZw9J@bucket/prefix",
        "s3://bucket/prefix?secret_access_key=Zw9J",
        "az://Qk7X@bucket",
        "https://KEYQk7X:secretZw9J@store.example.org/bucket",
    ],
)
def test_store_url_with_a_key_in_it_is_refused_and_not_shown(root: str) -> None:
    environment = {"DSAR_EXPORT_ROOT": root, "DSAR_STORE_OPTIONS": "Vx3P"}
    with patch.dict(os.environ, environment), pytest.raises(SettingsError) as refused:
        load_settings()

    assert [part for part in PARTS if part in str(refused.value)] == []
    assert "DSAR_EXPORT_ROOT" in str(refused.value)


def test_variable_without_its_equals_sign_is_named_without_what_follows() -> None:
    with patch.dict(os.environ, {"DSAR_DATABASE_URL: postgresql://u:Qk7X@h/d": ""}):
        assert unknown_keys() == ["DSAR_DATABASE_URL… (no '=' behind it)"]
