"""Tables that fit the terminal: words whole, columns that hold nothing left out."""

from __future__ import annotations

import pytest

from backend.cli.console import counted, print_table

COLUMNS = ("reference", "received", "note", "worker")
ROWS = [("GDPR-2026-1", "2026-11-03", "", "host-of-a-name:4711"), ("R-2", "2026-11-04", "", "a:1")]


def printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, *optional: str
) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    print_table("requests", COLUMNS, ROWS, note="2 in all", optional=optional)
    return capsys.readouterr().out


def test_table_leaves_out_what_holds_nothing_and_then_what_does_not_fit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = printed(capsys, monkeypatch, 100, "note", "worker")
    assert "host-of-a-name:4711" in wide and "note" not in wide and "too narrow" not in wide
    narrow = printed(capsys, monkeypatch, 40, "note", "worker")
    assert "GDPR-2026-1" in narrow and "2026-11-03" in narrow and "host" not in narrow
    assert "(too narrow for: worker; see --json)" in narrow
    assert max(map(len, narrow.splitlines())) <= 40


def test_table_keeps_what_is_not_optional_and_what_is_not_empty(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = printed(capsys, monkeypatch, 30)
    assert "note" in text and "–" in text and text.count("│") > 0
    print_table("t", ("a", "b"), [("x", ""), ("", 1)], optional=("a", "b"))
    assert capsys.readouterr().out.count("–") == 2
    print_table("t", ("a",), [(("x", "y"),), ((),)])
    assert "x, y" in (text := capsys.readouterr().out) and "–" in text


def test_table_wraps_at_words_and_breaks_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    rows = [("2026-11-02", 1, "a text of many words, which needs more than a line", "100.0 %")]
    print_table("t", ("week from", "cancelled", "told", "on time"), rows)
    text = capsys.readouterr().out
    for word in ("2026-11-02", "cancelled", "100.0", "which", "needs"):
        assert word in text
    assert max(map(len, text.splitlines())) == 50
    monkeypatch.setenv("COLUMNS", "20")
    print_table("t", ("week from", "cancelled", "told", "on time"), rows)
    assert max(map(len, capsys.readouterr().out.splitlines())) == 20


def test_counted_knows_one_from_many() -> None:
    assert [counted(n, "finding") for n in (0, 1, 1234)] == ["0 findings", "1 finding",
                                                             "1,234 findings"]  # fmt: skip
