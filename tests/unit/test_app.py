"""The application as it is made: what keeps it from being made is said in words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from backend.app import create_app
from backend.errors import EXIT_CONFIG, ConfigurationError
from backend.settings import Settings


@pytest.mark.parametrize("key", ["database_url", "source_database_url"])
@pytest.mark.parametrize(
    ("url", "driver", "extra"),
    [
        ("postgresql://dsar@db.example.org/app", "psycopg", "postgresql"),
        ("mariadb://dsar@db.example.org/app", "pymysql", "mariadb"),
    ],
)
def test_create_app_without_the_driver_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str, url: str, driver: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    urls = {"database_url": f"sqlite:///{tmp_path}/dsar.sqlite3", key: url}
    settings = Settings.model_validate({"export_root": tmp_path, **urls})

    with pytest.raises(ConfigurationError) as caught:
        create_app(settings)

    assert str(caught.value) == (
        f"the driver {driver!r} is not installed; pip install 'levqor-dsar[{extra}]'"
    )
    assert caught.value.exit_code == EXIT_CONFIG
