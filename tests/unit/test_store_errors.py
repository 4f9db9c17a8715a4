"""An object store that lacks an account or credentials says which, and what to set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backend.errors import SettingsError, StoreUnavailable
from backend.services.object_store import ObjectStore
from backend.services.store_errors import while_using

NOBODY = "http://127.0.0.1:1"  # where nobody answers for this machine's own identity
AZURE = {"account_name": "levqor"}


@pytest.fixture(autouse=True)
def without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("az://exports/prod", {}, "no account is named; set AZURE_STORAGE_ACCOUNT_NAME"),
        ("az://exports/prod", AZURE | {"account_key": "n o"}, "check AZURE_STORAGE_ACCOUNT_KEY"),
        (
            "gs://exports/prod",
            {"google_service_account": "/nonexistent.json"},
            "the file with the credentials cannot be read; check GOOGLE_SERVICE_ACCOUNT",
        ),
        ("s3://exports/prod", {"nonsense": "1"}, "nonsense is not an option of this store"),
    ],
)
def test_store_that_cannot_be_made_names_what_to_set(
    url: str, options: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        ObjectStore(url, options)

    assert words in str(caught.value)


def test_store_without_credentials_names_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.services.object_store._RETRIES", {"max_retries": 0})
    store = ObjectStore("s3://exports/prod", {"metadata_endpoint": NOBODY, "region": "x"})

    with pytest.raises(StoreUnavailable, match=r"there are no credentials.*AWS_ACCESS_KEY_ID"):
        store.prepare()


@pytest.mark.parametrize(
    ("url", "text", "words"),
    [
        ("gs://b/p", "Error performing token request: GET http://169…", "GOOGLE_SERVICE_ACCOUNT"),
        ("az://c/p", "GET http://…/metadata/identity/oauth2/token", "AZURE_STORAGE_ACCOUNT_KEY"),
        ("s3://b/p", "error sending request", "cannot be reached or refused the request"),
    ],
)
def test_store_error_in_words_names_the_url_and_no_response(
    url: str, text: str, words: str
) -> None:
    told = str(while_using(Exception(f"{text} <Body>s3cr3t</Body>"), url))

    assert told.startswith(f"{url} (DSAR_EXPORT_ROOT): ")
    assert words in told
    assert "s3cr3t" not in told
