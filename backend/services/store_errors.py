"""What an object store's client says, in this program's words: what is wrong, and what to set.

The client tells most of its errors apart by their text alone, and that may quote a response: it is
looked at here, and goes no further.
"""

from __future__ import annotations

import re
from typing import Final

from backend.errors import DSARError, SettingsError, StoreUnavailable

_KEYS: Final = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_SERVICE_ACCOUNT (the path of a key file)",
    "az": "AZURE_STORAGE_ACCOUNT_KEY (or AZURE_STORAGE_CLIENT_ID, _CLIENT_SECRET and _TENANT_ID)",
}
_NO_ACCOUNT: Final = re.compile(r"account must be specified|missingaccount", re.IGNORECASE)
_BAD_KEY: Final = re.compile(r"invalid access key|invalidaccesskey", re.IGNORECASE)
_BAD_FILE: Final = re.compile(r"credential error|service account file|decodecredentials", re.I)
# Where the client turns when it was given no credentials: to the machine's own identity.
_ASKED_MACHINE: Final = re.compile(
    r"latest/api/token|latest/meta-data|metadata/identity|computeMetadata|token request"
)


def while_making(error: BaseException, url: str) -> SettingsError:
    """Why no store can be made of ``url`` and its options."""
    text = str(error)
    if told := _unusable(text, url):
        return SettingsError(f"DSAR_EXPORT_ROOT={url}: {told}")
    key = re.search(r"'([A-Za-z0-9_.-]+)'", text) if "nknown" in type(error).__name__ else None
    if key:
        return SettingsError(f"DSAR_STORE_OPTIONS: {key[1]} is not an option of this store")
    return SettingsError(
        "DSAR_EXPORT_ROOT: no store can be made of it and of DSAR_STORE_OPTIONS; write for "
        "example s3://bucket/prefix"
    )


def while_using(error: BaseException, url: str) -> DSARError:
    """Why the store at ``url`` did not do what it was asked, for an error without a class."""
    where = f"{url} (DSAR_EXPORT_ROOT)"
    text = str(error)
    if told := _unusable(text, url):
        return StoreUnavailable(f"{where}: {told}")
    if _ASKED_MACHINE.search(text):
        return StoreUnavailable(
            f"{where}: there are no credentials, and this machine has no identity that the store "
            f"takes; set {_KEYS[_scheme(url)]}"
        )
    return StoreUnavailable(
        f"{where}: the store cannot be reached or refused the request; check the endpoint and "
        "region in DSAR_STORE_OPTIONS, and that it runs"
    )


def _unusable(text: str, url: str) -> str | None:
    if _NO_ACCOUNT.search(text):
        return (
            "no account is named; set AZURE_STORAGE_ACCOUNT_NAME (the URL is az://container/prefix)"
        )
    if _BAD_KEY.search(text):
        return "the account's key is none (not Base64); check AZURE_STORAGE_ACCOUNT_KEY"
    if _BAD_FILE.search(text):
        return f"the file with the credentials cannot be read; check {_KEYS[_scheme(url)]}"
    return None


def _scheme(url: str) -> str:
    return url.partition("://")[0]
