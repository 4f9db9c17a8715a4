"""Text from elsewhere as a terminal may show it: no escape sequence, no control, nothing hidden.

A reference, a reason or a table's name is another program's text. Printed as it is, it could move
the cursor, set the title, hide what follows, or reorder a line (bidi controls).
"""

from __future__ import annotations

import sys
import unicodedata
from typing import IO, Final

import click

# Controls (C0, C1, DEL), formats (bidi, zero width, tags), separators of lines, lone surrogates,
# and what is assigned to nobody: private use, and code points without a character.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"})
# Blanks of no width or of a letter's name.
_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def _is_hidden(char: str) -> bool:
    return (
        not char.isprintable() and char != " " and unicodedata.category(char) in _HIDDEN
    ) or char in _INVISIBLE


def visible(text: str, *, keep: str = "") -> str:
    """The text with each character that is not seen as itself written as an escape: ``\\x1b``.

    ``keep``: those that stay as they are, a line's end for example.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escaped(char) if char not in keep and _is_hidden(char) else char for char in text
    )


def _escaped(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def visible_json(text: str) -> str:
    """JSON, as ``json.dumps`` wrote it, with JSON's own escapes for what a terminal hides.

    Such characters stand within strings alone, the line's end aside; so it means what it meant.
    """
    if text.isascii() and "\x7f" not in text:
        return text  # what is below a blank, json.dumps has escaped
    return "".join(
        _json_escaped(char) if char != "\n" and _is_hidden(char) else char for char in text
    )


def _json_escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(
        f"\\u{int.from_bytes(units[at : at + 2], 'big'):04x}" for at in range(0, len(units), 2)
    )


def say(line: str, *, err: bool = False) -> None:
    """Print a line for people: nothing in it moves a cursor, hides or reorders anything."""
    click.echo(visible(line, keep="\n"), err=err)


def print_text(text: str) -> None:
    """Print a document on stdout as it is; on a terminal as ``say`` does."""
    click.echo(visible(text, keep="\n") if is_terminal(sys.stdout) else text, nl=False)


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether somebody reads along; None: the stream was closed when the process began."""
    return stream is not None and stream.isatty()
