"""What is not on the allow-list does not get out, whoever logs it and however."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from backend import logs
from backend.logs import ALLOWED, configure_logging, dropped_key_count, get_logger

TOKEN = "t0ken-bob@example.org"


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    """The logs of this process as JSON lines; its own configuration is put back afterwards."""
    root = logging.getLogger()
    hooks = (sys.excepthook, logging.raiseExceptions, root.level, list(root.handlers))
    stream = io.StringIO()
    configure_logging("DEBUG", "json", stream)
    yield stream
    sys.excepthook, logging.raiseExceptions, level, handlers = hooks
    root.setLevel(level)
    for handler in list(root.handlers):
        if handler not in handlers:
            root.removeHandler(handler)
    logging.captureWarnings(capture=False)
    logs._handler = None


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_log_allowed_keys_appear(output: io.StringIO) -> None:
    get_logger("backend.x").info("export_completed", request_id=1, rows=2, outcome="completed")
    (line,) = lines(output)
    assert line["event"] == "export_completed"
    assert (line["request_id"], line["rows"], line["outcome"]) == (1, 2, "completed")
    assert line["logger"] == "backend.x"
    assert line["timestamp"].endswith("Z")


def test_log_other_keys_are_dropped_and_counted(output: io.StringIO) -> None:
    before = dropped_key_count()
    get_logger("backend.x").info("export_completed", email=TOKEN, user_id=7, exc_info=True)
    (line,) = lines(output)
    assert line["dropped_keys"] >= 2
    assert dropped_key_count() >= before + 2
    assert set(line) <= ALLOWED
    assert TOKEN not in output.getvalue()


@pytest.mark.parametrize("value", [{"a": TOKEN}, [TOKEN], TOKEN.encode(), TOKEN + "\n", TOKEN * 99])
def test_log_value_that_is_no_short_text_is_dropped(output: io.StringIO, value: object) -> None:
    get_logger("backend.x").info("export_completed", worker=value)
    assert TOKEN not in output.getvalue()
    assert lines(output)[0]["dropped_keys"] == 1


def test_log_event_that_is_no_name_is_replaced(output: io.StringIO) -> None:
    get_logger("backend.x").info(f"exported {TOKEN}")
    assert lines(output)[0]["event"] == "unnamed_event"


def raises() -> None:
    raise ValueError(TOKEN)


def test_log_of_a_library_keeps_nothing_but_its_place(output: io.StringIO) -> None:
    other = logging.getLogger("sqlalchemy.engine")
    other.warning(TOKEN)
    other.warning("%s", TOKEN)
    other.warning(f"formatted {TOKEN}", extra={"user": TOKEN})
    try:
        raises()
    except ValueError:
        other.exception("broken %s", TOKEN, stack_info=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(TOKEN, stacklevel=1)
    shown = lines(output)
    assert TOKEN not in output.getvalue()
    assert [line["event"] for line in shown] == ["library_log"] * 5
    assert shown[3]["error_class"] == "ValueError"
    assert "test_logs:raises:" in shown[3]["error_at"]


def test_log_of_an_engine_at_its_most_talkative_holds_no_parameter(output: io.StringIO) -> None:
    for name in ("sqlalchemy.engine", "sqlalchemy.pool"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    engine = sa.create_engine("sqlite://", echo="debug", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT :x"), {"x": TOKEN}).all()
    engine.dispose()
    for name in ("sqlalchemy.engine", "sqlalchemy.pool"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    assert lines(output)
    assert TOKEN not in output.getvalue()


_VALUES = st.one_of(
    st.text(),
    st.integers(),
    st.none(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.binary(),
)


@given(st.dictionaries(st.text(min_size=1), _VALUES, max_size=8), st.text())
def test_allow_listed_whatever_comes_gives_only_allowed_strict_json(
    event: dict[str, Any], name: str
) -> None:
    kept = logs.allow_listed(None, "info", {**event, "event": name})
    assert set(kept) <= ALLOWED
    assert json.loads(json.dumps(kept)) == dict(kept)


@pytest.mark.parametrize(
    "program",
    [
        "raise ValueError(TOKEN)",
        "import threading; t = threading.Thread(target=int, args=(TOKEN,)); t.start(); t.join()",
        "class X:\n  def __del__(self): raise ValueError(TOKEN)\nx = X(); del x",
        "import warnings; warnings.warn(TOKEN)",
        "import logging; logging.getLogger('x').error('%d', TOKEN)",
        "from backend.logs import get_logger; get_logger('x').error('a_b', worker=object())",
    ],
)
def test_process_uncaught_exceptions_and_warnings_print_no_message(program: str) -> None:
    start = f"from backend.logs import configure_logging\nTOKEN = {TOKEN!r}\n"
    start += "configure_logging('DEBUG', 'json')\n"
    done = subprocess.run(
        [sys.executable, "-c", start + program], capture_output=True, text=True, check=False
    )
    shown = [json.loads(line) for line in done.stderr.splitlines()]
    assert len(shown) == 1, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_console_format_is_readable_and_as_silent() -> None:
    stream = io.StringIO()
    configure_logging("INFO", "console", stream)
    get_logger("backend.x").info("export_completed", request_id=17, email=TOKEN)
    logging.getLogger().removeHandler(logging.getLogger().handlers[-1])
    logs._handler = None
    logging.captureWarnings(capture=False)
    assert "export_completed" in stream.getvalue()
    assert "17" in stream.getvalue()
    assert TOKEN not in stream.getvalue()
