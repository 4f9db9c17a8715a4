"""Settings: where they come from, and what a wrong one says."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pyrage
import pytest
from pydantic import ValidationError

from backend import settings as module
from backend.errors import SettingsError
from backend.settings import CHECKOUT_ROOT, Settings, load_settings, unknown_keys


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for key in list(os.environ):
        if key.startswith("DSAR_") or key in ("CREDENTIALS_DIRECTORY", "RUNTIME_DIRECTORY"):
            monkeypatch.delenv(key)
    monkeypatch.chdir(tmp_path)


def test_load_defaults_in_a_checkout_are_as_documented() -> None:
    found = load_settings()
    assert found.database_url == f"sqlite:///{CHECKOUT_ROOT / 'instance' / 'dsar.sqlite3'}"
    assert found.export_root == CHECKOUT_ROOT / "backend" / "exports" / "dsar"
    assert found.source_url == found.database_url
    assert found.source_is_control
    readme = (CHECKOUT_ROOT / "README.md").read_text()
    for name in Settings.model_fields:
        assert f"`{name.upper()}`" in readme, name


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DSAR_LEASE_SECONDS", "soon"),
        ("DSAR_LEASE_SECONDS", "0"),
        ("DSAR_WORKERS", "0"),
        ("DSAR_WORKERS", "1.5"),
        ("DSAR_MAX_ATTEMPTS", "0"),
        ("DSAR_SWEEP_LIMIT", "-1"),
        ("DSAR_ROWS_PER_SECOND", "0"),
        ("DSAR_SWEEP_CRON", "every day"),
        ("DSAR_BACKOFF_CAP_SECONDS", "2"),
        ("DSAR_RETENTION_DAYS", "-1"),
        ("DSAR_TIME_ZONE", "Europe/Atlantis"),
        ("DSAR_TIME_ZONE", "../../etc/passwd"),
        ("DSAR_LOG_LEVEL", "LOUD"),
        ("DSAR_LOG_FORMAT", "xml"),
        ("DSAR_EXPORT_ROOT", "ftp://host/pa55word"),
        ("DSAR_EXPORT_ROOT", "s3://"),
        ("DSAR_EXPORT_ROOT", "s3:/pa55word"),
        ("DSAR_STORE_OPTIONS", "secret_access_key pa55word"),
        ("DSAR_EXPORT_RECIPIENTS", "age1pa55word"),
        ("DSAR_EXPORT_RECIPIENTS", "AGE-SECRET-KEY-1pa55word"),
        ("DSAR_DATABASE_URL", "not a url pa55word"),
        ("DSAR_DATABASE_URL", "oracle://u:pa55word@h/x"),
        ("DSAR_DATABASE_URL", "postgresql://u:pa55word@h:port/x"),
        ("DSAR_DATABASE_URL", "sqlite://"),
        ("DSAR_DATABASE_URL", "sqlite:///:memory:"),
        ("DSAR_DATABASE_URL", "sqlite:///file:x?mode=memory&cache=shared&uri=true"),
        ("DSAR_SOURCE_DATABASE_URL", "sqlite://"),
    ],
)
def test_load_wrong_value_names_the_key_and_not_the_value(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    monkeypatch.setenv(key, value)
    with pytest.raises(SettingsError, match=key) as caught:
        load_settings()
    assert "pa55word" not in str(caught.value)


def test_load_all_wrong_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSAR_WORKERS", "0")
    monkeypatch.setenv("DSAR_LEASE_SECONDS", "soon")
    with pytest.raises(SettingsError, match="DSAR_WORKERS") as caught:
        load_settings()
    assert "DSAR_LEASE_SECONDS" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("postgres://u:p@h/x", "postgresql+psycopg://u:p@h/x"),
        ("postgresql://u:p@h/x", "postgresql+psycopg://u:p@h/x"),
        ("mariadb://u:p@h/x", "mariadb+pymysql://u:p@h/x"),
        ("mysql://u:p@h/x", "mysql+pymysql://u:p@h/x"),
        ("postgresql+psycopg2://u:p@h/x", "postgresql+psycopg://u:p@h/x"),
        ("mysql+mysqldb://u:p@h/x", "mysql+pymysql://u:p@h/x"),
        ("sqlite:////a/b.sqlite3", "sqlite:////a/b.sqlite3"),
    ],
)
def test_load_database_url_names_a_driver(
    monkeypatch: pytest.MonkeyPatch, given: str, made: str
) -> None:
    monkeypatch.setenv("DSAR_DATABASE_URL", given)
    assert load_settings().database_url == made


def test_load_relative_sqlite_path_is_made_absolute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DSAR_DATABASE_URL", "sqlite:///x.sqlite3")
    assert load_settings().database_url == f"sqlite:///{tmp_path / 'x.sqlite3'}"


@pytest.mark.parametrize("name", ["DSAR_LEASE_SECONDS", "dsar_lease_seconds"])
@pytest.mark.parametrize("variable", ["CREDENTIALS_DIRECTORY", "DSAR_SECRETS_DIR"])
def test_load_secret_files_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, variable: str
) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / name).write_text("17\n")
    monkeypatch.setenv(variable, str(folder))
    assert load_settings().lease_seconds == 17
    monkeypatch.setenv("DSAR_LEASE_SECONDS", "18")
    assert load_settings().lease_seconds == 18


def test_load_missing_secret_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSAR_SECRETS_DIR", "/nonexistent/secrets")
    with pytest.raises(SettingsError, match="/nonexistent/secrets"):
        load_settings()


def test_load_dotenv_yields_to_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("DSAR_LEASE_SECONDS=21\nDSAR_WORKERS=3\nOTHER=1\n")
    monkeypatch.setenv("DSAR_WORKERS", "4")
    monkeypatch.setenv("DSAR_MAX_ATTEMPTS", "")
    found = load_settings()
    assert (found.lease_seconds, found.workers, found.max_attempts) == (21, 4, 5)


def test_source_key_is_the_setting_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().source_key == "DSAR_DATABASE_URL"
    monkeypatch.setenv("DSAR_SOURCE_DATABASE_URL", "postgresql://reader@db.example.org/app")
    assert load_settings().source_key == "DSAR_SOURCE_DATABASE_URL"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load_settings().workers = 2


def test_settings_show_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSAR_DATABASE_URL", "postgresql://u:pa55word@h/x")
    assert "pa55word" not in repr(load_settings())


def test_export_root_outside_a_checkout_is_required(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "in_checkout", lambda: False)
    with pytest.raises(SettingsError, match="DSAR_EXPORT_ROOT"):
        load_settings()
    monkeypatch.setenv("DSAR_EXPORT_ROOT", "exports")
    found = load_settings()
    assert found.export_root == tmp_path / "exports"
    assert found.database_url == f"sqlite:///{tmp_path / 'instance' / 'dsar.sqlite3'}"


def test_heartbeat_path_is_in_the_runtime_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/dsar:/run/other")
    assert load_settings().heartbeat_path == Path("/run/dsar/heartbeat")


def test_unknown_keys_are_those_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSAR_LEASE_SECOND", "1")
    monkeypatch.setenv("DSAR_WORKERS", "1")
    monkeypatch.setenv("DSAR_TEST_SOMETHING", "1")
    assert unknown_keys() == ["DSAR_LEASE_SECOND"]
    Path(".env").write_text("DSAR_DATABSE_URL=sqlite:///x\nOTHER=1\nDSAR_LOG_LEVEL=INFO\n")
    assert unknown_keys() == ["DSAR_DATABSE_URL", "DSAR_LEASE_SECOND"]


def test_store_settings_are_read_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (str(pyrage.x25519.Identity.generate().to_public()) for _ in range(2))
    monkeypatch.setenv("DSAR_EXPORT_ROOT", "s3://bucket/prefix/")
    monkeypatch.setenv("DSAR_STORE_OPTIONS", "Endpoint=http://h:9000?a=b  region=x")
    monkeypatch.setenv("DSAR_EXPORT_RECIPIENTS", f"{first}, {second},")
    found = load_settings()
    assert found.export_root == "s3://bucket/prefix"
    assert found.store_options == (("endpoint", "http://h:9000?a=b"), ("region", "x"))
    assert found.export_recipients == (first, second)
    assert "h:9000" not in repr(found)


@pytest.mark.parametrize("where", [".env", "secrets/DSAR_DATABASE_URL"])
def test_load_file_that_may_not_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    path.write_text("DSAR_LOG_LEVEL=INFO")
    if where != ".env":
        monkeypatch.setenv("DSAR_SECRETS_DIR", str(path.parent))
    original = Path.open

    def refused(self: Path, *arguments: Any, **keywords: Any) -> Any:
        # Root, as whom tests may run, is refused nothing.
        if self.name == path.name:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", refused)
    monkeypatch.setattr("builtins.open", lambda name, *rest, **more: refused(Path(name)))

    with pytest.raises(SettingsError, match=rf"{path.name} cannot be read by this user"):
        load_settings()
