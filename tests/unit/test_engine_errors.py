"""A database's errors in words: which database, why, and what to do; the password never."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from backend.engines import named_errors, shown_url
from backend.errors import DatabaseUnreachable

URL = make_url("postgresql://dsar:pa55word@db.example.org/app")


class OperationalErrorOfADriver(Exception):
    """Named as every driver names its own."""


OperationalErrorOfADriver.__name__ = "OperationalError"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (('FATAL:  password authentication failed for user "dsar"',), "user or the password"),
        ((1045, "Access denied for user 'dsar'@'%'"), "user or the password"),
        ((1044, "Access denied for user 'dsar'@'%' to database 'app'"), "no right to use"),
        (('FATAL:  permission denied for database "app"',), "no right to use"),
        (('FATAL:  no pg_hba.conf entry for host "10.0.0.1"',), "pg_hba.conf"),
        ((1049, "Unknown database 'app'"), "no such database"),
        (('FATAL:  database "app" does not exist',), "no such database"),
        (('FATAL:  role "dsar" does not exist',), "no such role"),
        (('FATAL:  role "dsar" is not permitted to log in',), "may not log in"),
        (("could not translate host name",), "check that it runs"),
    ],
)
def test_connection_that_fails_says_why_and_where(arguments: tuple[Any, ...], words: str) -> None:
    original = OperationalErrorOfADriver(*arguments)

    with pytest.raises(DatabaseUnreachable) as caught, named_errors(URL, "--to"):
        raise OperationalError("", None, original)

    assert words in str(caught.value)
    assert str(caught.value).startswith("postgresql://dsar:***@db.example.org/app (--to): ")


@pytest.mark.parametrize("name", ["password", "passwd", "sslpassword"])
def test_shown_url_leaves_out_a_password_among_the_options(name: str) -> None:
    url = make_url(f"postgresql://dsar:pa55word@/app?host=/run/postgresql&{name}=pa55word")
    assert shown_url(url) == "postgresql://dsar:***@/app?host=%2Frun%2Fpostgresql"
