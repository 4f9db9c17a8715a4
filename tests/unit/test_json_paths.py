"""Parts of JSON that are hidden by path, in every shape that the value may have instead."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.services.json_paths import hiding
from backend.services.naming_text import fold_key, names
from backend.services.rendering import JsonText, text_of
from backend.services.sections import UNREADABLE, Masked, Withheld

SECRET = "s3cr3t-VALUE-42"
CREDENTIAL = Withheld("credential")
hide_secret = hiding({"smtp.secret": CREDENTIAL})
HIDDEN = {"smtp": {"secret": SECRET, "host": "mail"}}


def shown(value: Any, hide: Callable[[Any], Any] = hide_secret) -> str:
    """What an export shows of a value, as text."""
    made = hide(value)
    if isinstance(made, JsonText):
        return text_of(made).decode()
    return made if isinstance(made, str) else json.dumps(made, default=str)


def again(value: Any) -> str:
    return json.dumps(value)


@pytest.mark.parametrize(
    "text",
    [
        again(HIDDEN),
        again(again(HIDDEN)),
        again(again(again(again(HIDDEN)))),
        again({"smtp": again({"secret": SECRET})}),
        again({"smtp": again(again({"secret": SECRET}))}),
        again([HIDDEN]),
        again([[again([HIDDEN])]]),
        again({"smtp": [{"secret": SECRET}]}),
        again({"smtp": [[again({"secret": SECRET})]]}),
        again({"SMTP": {"Secret": SECRET}}),
        again({" smtp": {"sec\u00adret": SECRET, "ſecret": SECRET}}),
        again({"ｓmtp": {"ｓecret": SECRET}}),
        '{"smtp": {"sec\u00adret": "' + SECRET + '"}}',
        '{"ｓmtp": {"ｓecret": "' + SECRET + '"}}',
        '{"smtp": {"s\\u0065cret": "' + SECRET + '"}}',
        '{"sm\\u0074p": {"\\u0053ECRET": "' + SECRET + '"}}',
        '{"smtp": {"secret": "' + SECRET + '", "secret": "b"}}',
        '{"smtp": {"secret": "' + SECRET + '"}, "smtp": 1}',
        again({"smtp.secret": SECRET}),
        again({"smtp[secret]": SECRET}),
        again({"smtp.secret.value": SECRET}),
        again([{"key": "smtp.secret", "value": SECRET}]),
        again({"smtp": [{"name": "Secret", "value": SECRET}]}),
        again({"smtp": [["secret", SECRET]]}),
        again({"smtp": ["secret", SECRET]}),
        again({"smtp": f"host=a;secret={SECRET}"}),
        again({"smtp": "{'secret': '" + SECRET + "'}"}),
        again({"smtp": again({"secret": SECRET})[:-1]}),
        again({"smtp": quote(again({"secret": SECRET}))}),
        again({"smtp": base64.b64encode(again({"secret": SECRET}).encode()).decode()}),
        again(f"smtp.secret={SECRET}"),
        '{"n": NaN, "smtp": {"secret": "' + SECRET + '"}}',
        '{"n": ' + "7" * 6000 + ', "smtp": {"secret": "' + SECRET + '"}}',
        '{"n": ' + "[" * 4000 + "]" * 4000 + ', "smtp": {"secret": "' + SECRET + '"}}',
    ],
)
@pytest.mark.parametrize("kind", [JsonText, str, str.encode])
def test_hiding_hides_the_key_in_whatever_shape_the_value_has(text: str, kind: Any) -> None:
    found = shown(kind(text))
    assert SECRET not in found
    assert "[withheld: " in found


@pytest.mark.parametrize(
    "text",
    [
        "{'smtp': {'secret': '" + SECRET + "'}}",
        "{'smtp': {'s\\x65cret': '" + SECRET + "'}}",
        f"smtp:\n  secret: {SECRET}",
        f"smtp.secret={SECRET}",
        f"smtp_secret={SECRET}",
        f"smtpSecret: {SECRET}",
        f"smtp%5Bsecret%5D={SECRET}",
        f"<smtp><secret>{SECRET}</secret></smtp>",
        f"<smtp><s&#101;cret>{SECRET}</s&#101;cret></smtp>",
        f'a:1:{{s:4:"smtp";a:1:{{s:6:"secret";s:15:"{SECRET}";}}}}',
        f'"smtp"=>"", "secret"=>"{SECRET}"',
        "\ufeff" + again(HIDDEN),
        again(HIDDEN) + " and more",
        "// why\n" + again(HIDDEN),
        again({"n": 1}) + "\n" + again(HIDDEN),
        '{"smtp": {"secret": "' + SECRET + '",}}',
        "{smtp: {secret: '" + SECRET + "'}}",
        '{"smtp": {"secret": "' + SECRET,
        "eyJhbGciOiJub25lIn0." + base64.urlsafe_b64encode(again(HIDDEN).encode()).decode(),
    ],
)
@pytest.mark.parametrize("kind", [str, str.encode])
def test_hiding_replaces_text_that_is_no_json_and_names_the_key(text: str, kind: Any) -> None:
    assert hide_secret(kind(text)) == UNREADABLE.note


@pytest.mark.parametrize(
    "octets",
    [again(HIDDEN).encode("utf-16"), b"\x1f\x8b\x08\x00\xff\xfe", b"\x80\x04secret\xff"],
)
def test_hiding_replaces_octets_that_are_no_text(octets: bytes) -> None:
    assert hide_secret(octets) == UNREADABLE.note
    assert hide_secret([octets]) == [UNREADABLE.note]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.*.secret", {"a": {"secret": SECRET}}),
        ("a.*.secret", {"a": [{"secret": SECRET}]}),
        ("a.*.secret", {"a": [{"b": {"secret": SECRET}}]}),
        ("*.secret", {"secret": SECRET}),
        ("*.secret", [again({"secret": SECRET})]),
        ("a.*", {"a": SECRET}),
        ("a.*", {"a": again([SECRET])}),
        ("a.*", {"a": {"b": SECRET}}),
        ("a.1", {"a": ["b", SECRET]}),
        ("a.1", {"a": [["b", SECRET]]}),
        ("a.1", {"a": {"x": SECRET}}),
        ("a.1", {"a": {"1": SECRET}}),
        ("a.1", {"a": SECRET}),
        ("a.1.secret", {"a": {"x": {"secret": SECRET}}}),
        ("apiKey", {"APIKEY": SECRET}),
        ("apiKey", "apiKey=" + SECRET),
        ("naïve", {"NAI\u0308VE": SECRET}),
        ("straße", {"STRASSE": SECRET}),
        ("id", {"ID": SECRET}),
    ],
)
@pytest.mark.parametrize("part", [CREDENTIAL, Masked("another person")])
def test_hiding_knows_lists_and_places_in_other_shapes(path: str, value: Any, part: Any) -> None:
    hide = hiding({path: part})
    assert SECRET not in shown(JsonText(again(value)), hide)
    assert SECRET not in shown(value, hide)


@pytest.mark.parametrize(
    "text",
    [
        '{"smtp": {"host": "a", "n": 1.10, "x": 1e400, "\\u0061": "\\u00e4"}, "b": [1,  2]}',
        '{"smtp": "hunter2", "other": {"secret": "not on the path"}}',
        '{"smtp": 12, "note": "the secret is out"}',
        '{"smtp": "my secretary called"}',
        '{"smtp": {"host": "secret.example.org"}}',
        '{"type": "smtp", "host": "a"}',
        '["smtp", "imap"]',
        '"a quoted text"',
        '{"a": 1, "a": 2}',
        '"{\\"smtp\\": {\\"host\\": 1}}"',
        "null",
        "true",
    ],
)
def test_hiding_keeps_a_value_without_the_key_byte_for_byte(text: str) -> None:
    assert shown(JsonText(text)) == text
    assert hide_secret(text) is text


def test_hiding_keeps_prose_that_does_not_name_the_key() -> None:
    for text in ("my secretary called", "", "smtp", "100 % [sic]", "Ünïcode {"):
        assert hide_secret(text) is text
    for value in (None, True, 7, 1.5):
        assert hide_secret(value) is value


def test_hiding_keeps_the_rest_of_what_it_takes_apart() -> None:
    text = '{"n": 1.10, "smtp": "{\\"secret\\": 1, \\"host\\": \\"\\u00e4\\", \\"n\\": 1e400}"}'
    found = json.loads(shown(JsonText(text)), parse_float=str)
    assert found["n"] == "1.10"
    inner = json.loads(found["smtp"], parse_float=str)
    assert inner == {"secret": CREDENTIAL.note, "host": "ä", "n": "1e400"}


@pytest.mark.parametrize("value", [7, 1.5, True])
def test_hiding_replaces_a_number_where_a_list_was_declared(value: Any) -> None:
    hide = hiding({"pins.*": CREDENTIAL})
    assert hide({"pins": value}) == {"pins": CREDENTIAL.note}
    assert hide({"pins": [value]}) == {"pins": [CREDENTIAL.note]}


def test_hiding_withholds_what_another_path_would_mask() -> None:
    hide = hiding({"a": Masked("another person"), "A": CREDENTIAL})
    assert hide({"a": 1}) == {"a": CREDENTIAL.note}


def test_names_finds_a_word_and_no_part_of_one() -> None:
    assert names("secret_key", "secret")
    assert names("xSecret2", "secret")
    assert not names("secretary", "secret")
    assert not names("video", fold_key("ID"))


# -- any value, wrapped in any way ----------------------------------------------------------------

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc äß\\\"'{[:,", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("hostnaß.", max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
OTHERS = st.dictionaries(st.sampled_from(["host", "port", "ä"]), PLAIN, max_size=2)


def cased(key: str) -> st.SearchStrategy[str]:
    return st.tuples(*(st.sampled_from([each, each.upper()]) for each in key)).map("".join)


@st.composite
def wrapped(draw: st.DrawFn, value: Any) -> Any:
    """The value as it is, in lists, or written as JSON in a string, some times over."""
    for _ in range(draw(st.integers(0, 3))):
        how = draw(st.sampled_from(["text", "list", "escaped", "cut", "pretty"]))
        if how == "list":
            value = [*draw(st.lists(PLAIN, max_size=2)), value]
        elif how == "text":
            value = json.dumps(value, ensure_ascii=draw(st.booleans()))
        elif how == "escaped":
            value = (
                "".join(
                    f"\\u{ord(each):04x}" if each.isalpha() and draw(st.booleans()) else each
                    for each in json.dumps(value)
                )
                if not isinstance(value, str)
                else json.dumps(value)
            )
        elif how == "cut":
            value = json.dumps(value) + draw(st.sampled_from(["", "\n{}", " //", ",", "\n"]))
        else:
            value = json.dumps(value, indent=1)
    return value


@st.composite
def hidden(draw: st.DrawFn) -> Any:
    inner = {**draw(OTHERS), draw(cased("secret")): SECRET, **draw(OTHERS)}
    outer = {**draw(OTHERS), draw(cased("smtp")): draw(wrapped(inner)), **draw(OTHERS)}
    return draw(wrapped(outer))


@given(value=hidden())
def test_no_value_shows_what_its_path_hides(value: Any) -> None:
    assert SECRET not in shown(JsonText(json.dumps(value)))
    assert SECRET not in shown(json.dumps(value))
    assert SECRET not in shown(value)


@given(value=PLAIN, indent=st.none() | st.just(2))
def test_no_value_without_the_key_is_changed(value: Any, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    assert shown(JsonText(text)) == text
