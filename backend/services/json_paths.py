"""Parts of JSON that an export does not show: found by path, replaced by a note, closed on doubt.

A path leads from the value's root, key by key. The values are not always of the shape that the
path was declared for, so each step is taken as loosely as the value is kept:

- a key is the same in other capitals, written with escapes or in another Unicode form, and beside a
  second key of the same name; a dotted key stands for several steps (``{"smtp.secret": …}``);
- a list where an object was declared, at any level: the path leads on from each element;
- ``*`` stands for one key or element, or (before further steps) for none: an object where a list of
  objects was declared; of a single value where a list was declared the whole is replaced;
- a string where more of the path is left is parsed as JSON, as often as it was encoded; what comes
  of it is written back as a string;
- an object or list that names the key as a value (``{"key": "secret", "value": …}``, ``["secret",
  …]``) is replaced whole;
- a string that is not JSON (cut off, another notation, encoded otherwise) and names the last key
  that is left of the path is replaced whole by ``UNREADABLE``'s note; so are octets that are not
  text.

What stands elsewhere than along the path stays, and a value without the key stays byte for byte.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from backend.services.naming_text import fold_key, fold_text, names
from backend.services.rendering import (
    Digits,
    JsonText,
    Members,
    dump_json,
    parse_json,
    text_of,
)
from backend.services.sections import UNREADABLE, Masked, Withheld

Part = Withheld | Masked
Paths = Mapping[str, Part]

_ANY: Final = "*"
_SEPARATORS: Final = re.compile(r"[.\[\]/:]+")
# A text that begins so may be JSON with something in it.
_MAY_BE_JSON: Final = ("{", "[", '"')
# What may write a key in other letters: escapes of JSON, Python, URLs and HTML; JSON in base64.
# By their common beginning, so that of most texts there is one look for several.
_OTHER_LETTERS: Final = {
    b"\\": (rb"\u", rb"\U", rb"\x", *(rb"\%d" % digit for digit in range(8))),
    b"%": (b"%",),
    b"&#": (b"&#",),
    b"ey": (b"eyJ", b"eyA", b"eyI"),
    b"ew": (b"ewo", b"ewg", b"ew0"),
    b"W": (b"W3s", b"Wwo", b"WyJ"),
}


@dataclass(frozen=True, slots=True)
class _Left:
    """What is left of a path at some place within a value: folded steps, and what ends there."""

    steps: tuple[str, ...]
    part: Part

    @property
    def last_name(self) -> str | None:
        """The last key by name; None if there are only ``*`` and places in a list."""
        named = (each for each in reversed(self.steps) if each != _ANY and not each.isdecimal())
        return next(named, None)

    def after(self, count: int) -> _Left:
        """What is left behind ``count`` steps more."""
        return _Left(self.steps[count:], self.part)


def hiding(paths: Paths) -> Callable[[Any], Any]:
    """A function that replaces in a column's value what these paths lead to.

    It takes any value that a driver gives, and returns the same object where nothing is hidden.
    """
    if not paths:
        return lambda value: value
    left = [_Left(tuple(map(fold_key, path.split("."))), part) for path, part in paths.items()]
    may_hold = _look(left)

    def hide(value: Any) -> Any:
        if isinstance(value, JsonText):
            text = text_of(value)
            return _rewritten(value, parse_json(text), left) if may_hold(text) else value
        if isinstance(value, list) and any(isinstance(each, (JsonText, list)) for each in value):
            return _array(value, left)
        return _applied(value, left)

    def safely(value: Any) -> Any:
        try:
            return hide(value)
        except (RecursionError, ValueError):
            return UNREADABLE.note

    return safely


def _rewritten(text: JsonText, parsed: Any, left: Sequence[_Left]) -> JsonText:
    shown = _applied(parsed, left)
    return text if shown is parsed else JsonText(dump_json(shown))


def _array(values: list[Any], left: Sequence[_Left]) -> Any:
    """An array of JSON: a path leads from each element, or from the array itself."""

    def parsed(value: Any) -> Any:
        if isinstance(value, JsonText):
            return parse_json(text_of(value))
        return list(map(parsed, value)) if isinstance(value, list) else value

    def by_element(value: Any) -> Any:
        return list(map(by_element, value)) if type(value) is list else _applied(value, left)

    apart = parsed(values)
    shown = _applied([by_element(each) for each in apart], left)
    return values if shown == apart else JsonText(dump_json(shown))


# -- the walk -------------------------------------------------------------------------------------


def _applied(value: Any, left: Iterable[_Left]) -> Any:
    """The value with what these paths lead to replaced; the same object if they lead to nothing."""
    left = list(_with_any_left_out(left))
    if not left:
        return value
    if (ended := _ended(left)) is not None:
        return ended.note
    if isinstance(value, (Members, dict)):
        return _object(value, left)
    if isinstance(value, (list, tuple, set, frozenset)):
        return _list(value, left)
    if isinstance(value, str) and not isinstance(value, Digits):
        return _text(value, left)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _octets(value, left)
    return value if value is None else _scalar(value, left)


def _with_any_left_out(left: Iterable[_Left]) -> Iterator[_Left]:
    for each in left:
        yield each
        count = 0
        while len(each.steps) > count + 1 and each.steps[count] == _ANY:
            count += 1
            yield each.after(count)


def _ended(left: Sequence[_Left]) -> Part | None:
    """What becomes of the value here: withheld before masked."""
    parts = [each.part for each in left if not each.steps]
    return next((part for part in parts if isinstance(part, Withheld)), next(iter(parts), None))


def _object(value: Any, left: Sequence[_Left]) -> Any:
    members: list[tuple[Any, Any]] = list(value.items() if isinstance(value, dict) else value)
    inner: list[list[_Left]] = [[] for _ in members]
    for each in left:
        found = False
        for after, (key, _) in zip(inner, members, strict=True):
            if count := _steps_of(key, each.steps):
                after.append(each.after(count))
                found = True
        if found or not members:
            continue
        if each.steps[0].isdecimal():  # a list was declared
            if len(each.steps) == 1:
                return each.part.note
            for after in inner:
                after.append(each.after(1))
        elif _is_named(each, value, (item for _, item in members)):
            return each.part.note
    shown = [
        (key, _applied(item, after)) for (key, item), after in zip(members, inner, strict=True)
    ]
    if all(new is old for (_, new), (_, old) in zip(shown, members, strict=True)):
        return value
    return type(value)(shown)


def _steps_of(key: Any, steps: Sequence[str]) -> int:
    """How many steps of a path a key of an object takes; 0 if it is another key."""
    name = fold_key(str(key))
    if steps[0] in (_ANY, name):
        return 1
    if not _SEPARATORS.search(name):
        return 0
    parts = [part for part in _SEPARATORS.split(name) if part]
    if not parts or any(step not in (_ANY, part) for part, step in zip(parts, steps, strict=False)):
        return 0
    return min(len(parts), len(steps))


def _list(value: Any, left: Sequence[_Left]) -> Any:
    items = list(value)
    for each in left:
        if _is_named(each, items, items):
            return each.part.note
    shown = [_applied(item, _in_list(left, i, len(items))) for i, item in enumerate(items)]
    return value if all(map(operator.is_, shown, items)) else shown


def _in_list(left: Sequence[_Left], index: int, count: int) -> Iterator[_Left]:
    """What is left for one of ``count`` elements."""
    for each in left:
        step = each.steps[0]
        if step in (_ANY, str(index)):
            yield each.after(1)
        # A list that nobody declared is passed through; one that has the place is the declared one.
        if not step.isdecimal() or int(step) >= count:
            yield each


def _is_named(left: _Left, whole: Any, items: Iterable[Any]) -> bool:
    """Whether an object or list has the path's next key as a value, and names its last key."""
    step = left.steps[0]
    if step == _ANY or step.isdecimal():
        return False
    named = any(type(each) is str and _is_path(each, left.steps) for each in items)
    return named and any(names(text, left.last_name or "") for text in _texts(whole))


def _is_path(text: str, steps: Sequence[str]) -> bool:
    """Whether a text is the next key of a path, or several of its keys."""
    parts = _SEPARATORS.split(fold_key(text))
    return bool(_steps_of(text, steps)) and len(parts) <= len(steps)


def _texts(value: Any) -> Iterator[str]:
    """Every key and every text within a value."""
    if isinstance(value, (Members, dict)):
        for key, item in value.items() if isinstance(value, dict) else value:
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _text(value: str, left: Sequence[_Left]) -> str:
    parsed = _parsed(value)
    if parsed is not None:
        shown = _applied(parsed, left)
        if shown is parsed:
            return value
        return shown if _is_note(shown, left) else dump_json(shown).decode()
    for each in left:
        if each.last_name is None:
            return each.part.note
        if names(value, each.last_name):
            return UNREADABLE.note
    return value


def _octets(value: bytes | bytearray | memoryview, left: Sequence[_Left]) -> Any:
    octets = bytes(value)
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        return (
            UNREADABLE.note
        )  # compressed, encrypted, another encoding: nothing can be vouched for
    shown = _applied(text, left)
    return value if shown is text else shown


def _parsed(text: str) -> Any:
    """The object, list or string that a text is as JSON; None if it is none of them."""
    if not text.lstrip().startswith(_MAY_BE_JSON):
        return None
    try:
        return parse_json(text)
    except (ValueError, RecursionError):
        return None


def _is_note(value: Any, left: Sequence[_Left]) -> bool:
    return isinstance(value, str) and value in {UNREADABLE.note, *(e.part.note for e in left)}


def _scalar(value: Any, left: Sequence[_Left]) -> Any:
    """A number or truth where more of a path is left: no key, but perhaps the one of a list."""
    nameless = next((each for each in left if each.last_name is None), None)
    return value if nameless is None else nameless.part.note


# -- one look at a text ---------------------------------------------------------------------------


def _look(left: Sequence[_Left]) -> Callable[[bytes], bool]:
    """Whether a JSON text may hold something that these paths lead to. It may say so in vain.

    Most texts name none of the keys, and are not parsed.
    """
    found = [each.last_name for each in left]
    keys = [name.encode() for name in found if name and re.fullmatch(r"[ !#-.0-\[\]-~]+", name)]
    if len(keys) != len(found):
        return lambda text: True

    def look(text: bytes) -> bool:
        lowered = text.lower()
        if any(key in lowered for key in keys):
            return True
        for beginning, signs in _OTHER_LETTERS.items():
            if beginning in text and any(sign in text for sign in signs):
                return True
        if text.isascii():
            return False
        folded = fold_text(text.decode("utf-8", "surrogateescape"))
        folded_text = folded.encode("utf-8", "surrogatepass")
        return any(key in folded_text for key in keys)

    return look
