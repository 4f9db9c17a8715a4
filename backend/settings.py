"""Every ``DSAR_*`` setting: parsed once, frozen, checked at start.

A value comes from, in this order: the environment, a ``.env`` file in the working directory, a
folder of secrets (``$CREDENTIALS_DIRECTORY`` of systemd's LoadCredential, or
``DSAR_SECRETS_DIR``; one file a setting, named ``DSAR_DATABASE_URL`` in either case). A wrong
value raises ``SettingsError``, which names the key and never prints the value: it may hold a
password.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as UnreadableSource
from sqlalchemy.engine import make_url

from backend.addresses import parse_address
from backend.cron import parse_cron
from backend.database_urls import normalise_database_url
from backend.errors import SettingsError
from backend.recipients import parse_recipient
from backend.trusted_files import require_trusted, require_trusted_file

PREFIX: Final = "DSAR_"
CHECKOUT_ROOT: Final = Path(__file__).resolve().parent.parent

_ENV_FILE: Final = ".env"
STORE_SCHEMES: Final = ("s3", "gs", "az")


def in_checkout() -> bool:
    """Whether this code runs from a source checkout rather than from an installed wheel."""
    return (CHECKOUT_ROOT / "pyproject.toml").is_file()


def _base_folder() -> Path:
    return CHECKOUT_ROOT if in_checkout() else Path.cwd()


def _default_database_url() -> str:
    return f"sqlite:///{_base_folder() / 'instance' / 'dsar.sqlite3'}"


def _default_export_root() -> Path:
    if in_checkout():
        return CHECKOUT_ROOT / "backend" / "exports" / "dsar"
    raise ValueError("is required outside a source checkout; set it to an absolute folder")


def _default_heartbeat_path() -> Path:
    runtime_folder = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if runtime_folder:
        return Path(runtime_folder) / "heartbeat"
    return Path(tempfile.gettempdir()) / f"dsar-scheduler-{os.getuid()}" / "heartbeat"


def _place(url_text: str) -> tuple[str, str | None, int | None, str | None]:
    """Which database a URL names, whoever logs in there."""
    url = make_url(url_text)
    return url.drivername, url.host, url.port, url.database


def _zone(name: str) -> tzinfo:
    """A time zone by its IANA name. UTC needs no time zone database. Raises ``ValueError``."""
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (ValueError, LookupError, OSError):
        raise ValueError(
            "is not a time zone of this machine; name one such as Europe/Berlin (is tzdata "
            "installed?)"
        ) from None


class Settings(BaseSettings):
    """The settings of one process. Make it with ``load_settings``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=_ENV_FILE,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    database_url: str = Field(default_factory=_default_database_url, repr=False)
    source_database_url: str | None = Field(default=None, repr=False)
    sections_file: Path | None = None
    # A folder, or the URL of an object store; see _default_export_root.
    export_root: Path | str = Field(default=None)  # type: ignore[assignment]
    store_options: Annotated[tuple[tuple[str, str], ...], NoDecode] = Field(default=(), repr=False)
    export_recipients: Annotated[tuple[str, ...], NoDecode] = ()
    coverage: Literal["warn", "refuse", "off"] = "warn"
    sweep_cron: str = "*/5 * * * *"
    sweep_limit: Annotated[int, Field(ge=1)] | None = None
    rows_per_second: Annotated[int, Field(ge=1)] | None = None
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    lease_seconds: Annotated[float, Field(ge=1)] = 60
    max_attempts: Annotated[int, Field(ge=1)] = 5
    backoff_base_seconds: Annotated[float, Field(ge=1)] = 30
    backoff_cap_seconds: Annotated[float, Field(ge=1)] = 3600
    export_timeout_seconds: Annotated[float, Field(ge=1)] = 14400
    drain_seconds: Annotated[float, Field(ge=0)] = 60
    min_free_bytes: Annotated[int, Field(ge=0)] = 1024**3
    retention_days: Annotated[int, Field(ge=0)] = 30
    time_zone: str = "UTC"
    join_open_requests: bool = False
    controller_name: str | None = None
    controller_contact: str | None = None
    dpo_contact: str | None = None
    complaint_authority: str | None = None
    page: bool = True
    page_language: Literal["en", "de"] = "en"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"
    heartbeat_path: Path = Field(default_factory=_default_heartbeat_path)
    metrics_textfile: Path | None = None
    metrics_listen: str | None = None

    @field_validator("database_url", "source_database_url")
    @classmethod
    def _check_url(cls, text: str | None) -> str | None:
        return None if text is None else normalise_database_url(text)

    @field_validator("sweep_cron")
    @classmethod
    def _check_cron(cls, text: str) -> str:
        return parse_cron(text)

    @field_validator("time_zone")
    @classmethod
    def _check_zone(cls, name: str) -> str:
        _zone(name)
        return name

    @field_validator("export_root", mode="before")
    @classmethod
    def _default_root(cls, path: object) -> object:
        return _default_export_root() if path is None else path

    @field_validator("export_root")
    @classmethod
    def _check_root(cls, root: Path | str) -> Path | str:
        scheme, separator, rest = str(root).partition("://")
        if not separator and re.match(r"(?:s3|gs|az):", str(root)):
            raise ValueError("looks like a URL; write for example s3://bucket/prefix")
        if not separator:
            return Path(root).expanduser().absolute()
        if separator and re.search(r"[@:?#]", rest):
            raise ValueError(
                "holds a key, a port or options, which a store's URL does not take; give keys in "
                "the provider's own variables (AWS_ACCESS_KEY_ID…), others in DSAR_STORE_OPTIONS"
            )
        if scheme not in STORE_SCHEMES or not rest.strip("/"):
            raise ValueError(
                f"is neither a folder nor a URL such as s3://bucket/prefix (known: "
                f"{', '.join(STORE_SCHEMES)})"
            )
        return str(root).rstrip("/")

    @field_validator("heartbeat_path")
    @classmethod
    def _check_path(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("metrics_textfile")
    @classmethod
    def _check_textfile(cls, path: Path | None) -> Path | None:
        if path is not None and path.suffix != ".prom":
            raise ValueError("must end in .prom: node_exporter reads no other file")
        return None if path is None else path.expanduser().absolute()

    @field_validator("metrics_listen")
    @classmethod
    def _check_listen(cls, text: str | None) -> str | None:
        if text is not None:
            parse_address(text)
        return text

    @field_validator("sections_file")
    @classmethod
    def _check_sections_file(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @field_validator("store_options", mode="before")
    @classmethod
    def _split_options(cls, text: object) -> object:
        if not isinstance(text, str):
            return text
        pairs = [item.partition("=") for item in text.split()]
        if not all(name and value for name, _, value in pairs):
            raise ValueError("holds what is no NAME=VALUE; separate several by spaces")
        return tuple((name.lower(), value) for name, _, value in pairs)

    @field_validator("export_recipients", mode="before")
    @classmethod
    def _split_recipients(cls, text: object) -> object:
        if not isinstance(text, str):
            return text
        return tuple(item.strip() for item in re.split(r"[,\n]", text) if item.strip())

    @field_validator("export_recipients")
    @classmethod
    def _check_recipients(cls, recipients: tuple[str, ...]) -> tuple[str, ...]:
        for text in recipients:
            parse_recipient(text)
        return recipients

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, text: object) -> object:
        return text.upper() if isinstance(text, str) else text

    @model_validator(mode="after")
    def _check_backoff(self) -> Self:
        if self.backoff_cap_seconds < self.backoff_base_seconds:
            raise ValueError("DSAR_BACKOFF_CAP_SECONDS: is less than DSAR_BACKOFF_BASE_SECONDS")
        return self

    @property
    def zone(self) -> tzinfo:
        """The time zone in whose days deadlines are counted."""
        return _zone(self.time_zone)

    @property
    def source_is_control(self) -> bool:
        """Whether the people's data and the requests live behind the same URL."""
        return self.source_database_url in (None, self.database_url)

    @property
    def source_key(self) -> str:
        """The setting that names the people's database."""
        return "DSAR_DATABASE_URL" if self.source_is_control else "DSAR_SOURCE_DATABASE_URL"

    @property
    def source_may_lag(self) -> bool:
        """Whether the people's data is read from another database than the requests': a replica,
        perhaps. Another role in the same database is none.
        """
        return _place(self.source_url) != _place(self.database_url)

    @property
    def source_url(self) -> str:
        """Where the people's data is read from."""
        return self.source_database_url or self.database_url


def load_settings() -> Settings:
    """Read the settings of this process.

    Raises ``SettingsError``, one line a wrong key, before anything else has happened.
    """
    folders = [os.environ.get("CREDENTIALS_DIRECTORY"), os.environ.get("DSAR_SECRETS_DIR")]
    secrets = [folder for folder in folders if folder]
    for folder in secrets:
        if not Path(folder).is_dir():
            raise SettingsError(f"the folder of secrets {folder} does not exist")
    _require_trusted(secrets)
    try:
        return Settings(_secrets_dir=secrets or None)  # type: ignore[call-arg]
    except ValidationError as error:
        raise SettingsError(_describe(error)) from None
    except (OSError, UnreadableSource) as error:
        raise SettingsError(_unreadable(error)) from None


def _require_trusted(secrets: list[str]) -> None:
    """Raise ``SettingsError`` if another ordinary user could have written what is read here."""
    require_trusted_file(Path(_ENV_FILE), _ENV_FILE)
    for folder in map(Path, secrets):
        require_trusted(folder, "the folder of secrets")
        with suppress(OSError):
            for each in sorted(folder.iterdir()):
                if each.name.upper().startswith(PREFIX):
                    require_trusted_file(each, "a secret")


def _unreadable(error: Exception) -> str:
    """Which file of settings, the ``.env`` or a secret, cannot be read, and why."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if not isinstance(cause, OSError):
        return "a file of settings or secrets cannot be read; look at .env and the secrets' folder"
    return (
        f"{cause.filename} cannot be read by this user ({cause.strerror}); give it to it, or "
        "run this as its owner"
    )


class _PassedOn(Settings):
    """Settings of another process's: nothing of this one's environment or files is among them."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def settings_passed_on(text: str) -> Settings:
    """The settings that another process read: what its ``model_dump_json`` gave.

    Raises ``ValueError`` unless all are there: a default in place of a database's URL would have a
    prune delete what another database's rows want.
    """
    values = json.loads(text)
    if values.keys() != Settings.model_fields.keys():
        raise ValueError("the settings that were passed on are not this release's")
    return _PassedOn(**values)


def unknown_keys() -> list[str]:
    """``DSAR_*`` names, in the environment or ``.env``, that no setting reads: misspelt, likely."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {"DSAR_SECRETS_DIR"}
    return sorted(
        _name_of(key)
        for key in {*os.environ, *_names_in_env_file()}
        if key.startswith(PREFIX) and key not in known and not key.startswith("DSAR_TEST_")
    )


def _name_of(key: str) -> str:
    """A variable's name without what is no name: ``DSAR_DATABASE_URL: …`` holds a password."""
    found = re.match("[A-Z0-9_]*", key)
    name = found[0] if found else ""
    return name if name == key else f"{name}… (no '=' behind it)"


def _names_in_env_file() -> Iterator[str]:
    try:
        from dotenv import dotenv_values

        yield from (key.upper() for key in dotenv_values(_ENV_FILE, interpolate=False))
    except (OSError, ValueError):
        return  # loading the settings tells


def _describe(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        reason = problem["msg"].removeprefix("Value error, ")
        if problem["loc"]:
            key = f"{PREFIX}{str(problem['loc'][0]).upper()}"
            reason = f"{key}: {reason[:1].lower()}{reason[1:]}"
        lines.append(reason)
    return ", and ".join(lines)
