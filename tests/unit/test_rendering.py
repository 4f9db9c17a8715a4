"""Every value has one form in JSON, whichever database it came from, whichever writer wrote it."""

from __future__ import annotations

import base64
import datetime as dt
import enum
import errno
import ipaddress
import json
import math
import uuid
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import SectionFailed, ValueUnsupported
from backend.failures import Kind, failure_of
from backend.services.columns import ColumnarRows
from backend.services.rendering import (
    JsonText,
    dump_object,
    dump_value,
    gathered,
    json_from_database,
    json_from_sqlite,
    plain,
    text_of,
)
from backend.services.sections import (
    EXPORTED,
    UNREADABLE,
    Disposition,
    Exported,
    Facts,
    FunctionSection,
    Masked,
    OwnerPath,
    Reason,
    Subject,
    TableSection,
    Withheld,
)
from backend.services.table_rendering import function_rows, table_renderer

FACTS = Facts(purpose="p", recipients="r", retention="t")


class Colour(enum.Enum):
    RED = "red"


class Size(enum.StrEnum):
    BIG = "big"


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is not JSON")


def strict(text: bytes) -> Any:
    return json.loads(text.decode("utf-8"), parse_constant=refuse, parse_float=Decimal)


def shown(value: Any) -> Any:
    """A value as an object's member, through the fast way and through the slow one."""
    fast = strict(dump_object({"x": value}))["x"]
    # A huge integer beside it makes orjson refuse the row.
    slow = strict(dump_object({"x": value, "huge": 2**70}))
    assert slow["huge"] == 2**70
    assert slow["x"] == fast
    return fast


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        ("Zoë 🙂 \u202e\u0301", "Zoë 🙂 \u202e\u0301"),
        ("a\x00b", "a\x00b"),
        (2**63, 2**63),
        (Decimal("19.900000000000000000001"), "19.900000000000000000001"),
        (dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC), "2026-01-02T03:04:05.000006+00:00"),
        (dt.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),  # noqa: DTZ001
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.time(3, 4, 5), "03:04:05"),
        (dt.timedelta(days=1, seconds=30, milliseconds=500), "P1DT30.5S"),
        (dt.timedelta(days=2), "P2D"),
        (dt.timedelta(0), "P0DT0S"),
        (-dt.timedelta(seconds=1), "-P0DT1S"),
        (uuid.UUID(int=7), str(uuid.UUID(int=7))),
        (b"\x00\xff", base64.b64encode(b"\x00\xff").decode()),
        (memoryview(b"ab"), "YWI="),
        (ipaddress.ip_address("192.0.2.1"), "192.0.2.1"),
        (Colour.RED, "red"),
        (Size.BIG, "big"),
        ([1, Decimal("2.5")], [1, "2.5"]),
        ((1, 2), [1, 2]),
        ({"a": {"b": b"x"}}, {"a": {"b": "eA=="}}),
        (frozenset({1}), [1]),
        (JsonText('{"b": 1.10, "a": [1]}'), {"b": Decimal("1.10"), "a": [1]}),
    ],
)
def test_value_has_its_documented_form(value: Any, expected: Any) -> None:
    assert shown(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (1.5, 1.5)],
)
def test_plain_float_that_is_no_number_is_a_word(value: float, expected: Any) -> None:
    assert plain(value) == expected
    assert plain([{"x": value}]) == [{"x": expected}]


def test_dump_lone_surrogate_is_escaped_and_comes_back() -> None:
    assert strict(dump_object({"x": "a\ud800b", "\udfff": 1})) == {"x": "a\ud800b", "\udfff": 1}


def test_dump_unknown_type_says_which() -> None:
    with pytest.raises(ValueUnsupported, match="object"):
        dump_value(object())
    with pytest.raises(ValueUnsupported, match="object"):
        dump_object({"x": object()})


def test_dump_keeps_what_is_not_ascii_and_indents_by_two() -> None:
    assert dump_object({"größe": ["é"]}).decode() == '{\n  "größe": [\n    "é"\n  ]\n}'


def test_dump_frozen_time_is_written_as_any_other() -> None:
    with freeze_time("2026-02-03 04:05:06"):
        assert shown(dt.datetime.now(dt.UTC)) == "2026-02-03T04:05:06+00:00"


def test_json_text_stands_as_the_database_printed_it() -> None:
    text = '{"z": 1e400, "a": "\\u00e9", "n": 12345678901234567890123}'
    assert text_of(json_from_database(text)) == text.encode()
    for extra in ({}, {"huge": 2**70}):
        assert text.encode() in dump_object({"x": JsonText(text), **extra})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": NaN}', {"a": "NaN"}),
        ("[Infinity]", ["Infinity"]),
        ("no json", "no json"),
        ('"\\ud800"', "\ud800"),
        ('{"a": 1}', {"a": 1}),
    ],
)
def test_json_of_sqlite_is_checked_before_it_is_believed(text: str, expected: Any) -> None:
    assert strict(dump_object({"x": json_from_sqlite(text)}))["x"] == expected


_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
        st.text(alphabet=st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010)),
        st.decimals(allow_nan=False),
        st.datetimes(timezones=st.just(dt.UTC)),
        st.dates(),
        st.timedeltas(),
        st.uuids(),
        st.binary(),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), _VALUES, max_size=6))
def test_dump_whatever_comes_is_strict_json_and_means_what_plain_says(
    members: dict[str, Any],
) -> None:
    found = json.loads(dump_object(members).decode("utf-8"), parse_constant=refuse)
    assert found == joined(plain(members))


def joined(value: Any) -> Any:
    """Two surrogates side by side are, in JSON as in UTF-16, the one character they stand for."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    if isinstance(value, list):
        return [joined(item) for item in value]
    if isinstance(value, dict):
        return {joined(key): joined(item) for key, item in value.items()}
    return value


# -- rows of a table -----------------------------------------------------------------------------

TABLE = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("owner", sa.Integer),
    sa.Column("other", sa.Integer),
    sa.Column("address", sa.String),
    sa.Column("hash", sa.String),
    sa.Column("price", sa.Float),
    sa.Column("body", sa.JSON),
)


def section(**changes: Disposition) -> TableSection:
    columns: Mapping[str, Disposition] = {
        **dict.fromkeys(TABLE.columns.keys(), EXPORTED),
        "hash": Withheld(Reason.CREDENTIAL),
        **changes,
    }
    return TableSection(
        name="things", table=TABLE, owner_paths=(OwnerPath("owner"),), columns=columns, facts=FACTS
    )


def render(made: TableSection, row: list[Any], user_id: Any = 7, *, any_type: bool = False) -> Any:
    renderer = table_renderer(made, Subject(user_id, None), any_type=any_type)
    return strict(renderer([row]).text)


def test_renderer_leaves_out_the_withheld_column() -> None:
    shown_row = render(section(), [1, 7, 8, "a", 1.5, None])
    assert list(shown_row) == ["id", "owner", "other", "address", "price", "body"]


@pytest.mark.parametrize("user_id", [7, "7"])
def test_renderer_masks_unless_the_key_is_the_persons_own(user_id: Any) -> None:
    masked = section(
        other=Masked(Reason.OTHER_PERSON, unless_own="other"),
        address=Masked(Reason.OTHER_PERSON, unless_own="other"),
    )
    theirs = render(masked, [1, 7, 8, "a", 1.5, None], user_id)
    assert theirs["other"] == theirs["address"] == "[masked: another person]"
    own = render(masked, [1, 7, 7, "a", 1.5, None], user_id)
    assert (own["other"], own["address"]) == (7, "a")
    nobody = render(masked, [1, 7, None, "a", 1.5, None], user_id)
    assert (nobody["other"], nobody["address"]) == (None, "[masked: another person]")


def test_renderer_decides_by_a_withheld_column_without_showing_it() -> None:
    masked = section(address=Masked(Reason.OTHER_PERSON, unless_own="hash"))
    assert [column.name for column in masked.extra_columns()] == ["hash"]
    shown_row = render(masked, [1, 7, 8, "a", 1.5, None, "7"])
    assert shown_row["address"] == "a"
    assert "hash" not in shown_row


def test_renderer_writes_no_number_as_a_word() -> None:
    assert render(section(), [1, 7, 8, "a", math.nan, None])["price"] == "NaN"
    assert render(section(), [math.inf, 7, 8, "a", 1.0, None], any_type=True)["id"] == "Infinity"


def test_renderer_withholds_paths_of_json_and_keeps_the_rest_exact() -> None:
    made = section(
        body=Exported(
            paths={
                "a.*.secret": Withheld(Reason.CREDENTIAL),
                "b.1": Masked(Reason.OTHER_PERSON),
                "nowhere.at.all": Withheld(Reason.CREDENTIAL),
            }
        )
    )
    text = '{"a": {"x": {"secret": "s3cr3t", "n": 1.10}}, "b": [1, 2], "c": 12345678901234567890}'
    body = render(made, [1, 7, 8, "a", 1.5, JsonText(text)])["body"]
    assert body == {
        "a": {"x": {"secret": "[withheld: credential]", "n": Decimal("1.10")}},
        "b": [1, "[masked: another person]"],
        "c": 12345678901234567890,
    }
    assert render(made, [1, 7, 8, "a", 1.5, {"a": {"x": {"secret": 1}}}])["body"] == {
        "a": {"x": {"secret": "[withheld: credential]"}}
    }
    assert render(made, [1, 7, 8, "a", 1.5, None])["body"] is None


def test_renderer_masks_paths_of_json_unless_the_row_is_the_persons_own() -> None:
    made = section(
        body=Exported(
            paths={
                "actor": Masked(Reason.OTHER_PERSON, unless_own="other"),
                "key": Withheld(Reason.CREDENTIAL),
            }
        )
    )
    text = JsonText('{"actor": "Sam", "key": 1, "n": 2}')
    theirs, own = (render(made, [1, 7, other, "a", 1.5, text])["body"] for other in (8, 7))
    assert theirs == {"actor": "[masked: another person]", "key": "[withheld: credential]", "n": 2}
    assert own == {"actor": "Sam", "key": "[withheld: credential]", "n": 2}


@pytest.mark.parametrize(
    ("path", "text", "hidden"),
    [
        ("actor", r'{"\u0061ctor": 1}', True),
        ("actor", '{"other":  "the actor"}', False),
        ("a/b", r'{"a\/b": 1}', True),
        ("äh", r'{"\u00e4h": 1}', True),
        ("1", "[0, 1]", True),
        ("*", '{"x": 1}', True),
        ("list.*", '{"list": [1]}', True),
        ("list.0.*", '{"list": [{"x": 1}]}', True),
    ],
)
@pytest.mark.parametrize("kind", [str, str.encode])
def test_renderer_finds_paths_however_a_key_is_written(
    path: str, text: str, hidden: bool, kind: Any
) -> None:
    made = section(body=Exported(paths={path: Withheld("r")}))
    renderer = table_renderer(made, Subject(7, None), any_type=False)
    shown = renderer([[1, 7, 8, "a", 1.5, JsonText(kind(text))]]).text.decode()
    assert ("[withheld: r]" in shown) == hidden
    assert (text in shown) == (not hidden)  # what names no path stands as it was


def test_function_rows_are_rendered_by_the_same_rules() -> None:
    made = FunctionSection(
        name="f", rows=lambda subject: [{"at": dt.date(2026, 1, 1)}], facts=FACTS
    )
    assert [strict(row) for row in function_rows(made, Subject(7, None))] == [{"at": "2026-01-01"}]


def test_function_that_cannot_read_its_rows_is_named_and_its_code_is() -> None:
    def rows_of_a_share(subject: Subject) -> Iterator[dict[str, Any]]:
        yield {"at": 1}
        raise PermissionError(errno.EACCES, "Permission denied", "/srv/ada@example.org")

    made = FunctionSection(name="chats", rows=rows_of_a_share, facts=FACTS)
    with pytest.raises(SectionFailed, match=r"section chats.*\(Permission denied\)") as raised:
        list(function_rows(made, Subject(7, None)))
    failure = failure_of(raised.value)
    assert (failure.code, failure.kind) == ("section_failed", Kind.TRANSIENT)
    assert (failure.error_class, failure.about) == ("PermissionError", "section chats")
    assert "rows_of_a_share" in failure.error_at
    assert "ada" not in failure.summary() + str(raised.value)


def test_renderer_masks_paths_for_everybody_where_no_column_decides() -> None:
    made = section(
        body=Exported(
            paths={
                "actor": Masked(Reason.OTHER_PERSON),
                "own": Masked(Reason.OTHER_PERSON, unless_own="other"),
            }
        )
    )
    text = JsonText('{"actor": "Sam", "own": "Ada"}')
    theirs, own = (render(made, [1, 7, other, "a", 1.5, text])["body"] for other in (8, 7))
    assert theirs == dict.fromkeys(("actor", "own"), "[masked: another person]")
    assert own == {"actor": "[masked: another person]", "own": "Ada"}


@pytest.mark.parametrize(
    "text", ['{"secret": ' + "[" * 100_000, '{"secret": 1', "[" * 3000 + '"secret"']
)
def test_renderer_shows_nothing_of_what_cannot_be_taken_apart(text: str) -> None:
    made = section(body=Exported(paths={"secret": Withheld(Reason.CREDENTIAL)}))
    for value in (text, JsonText(text)):
        assert render(made, [1, 7, 8, "a", 1.5, value])["body"] == UNREADABLE.note


def test_renderer_of_columns_decides_by_the_value_not_by_its_print() -> None:
    """A column that decides is printed by no database: its key is to be compared."""
    masked = section(address=Masked(Reason.OTHER_PERSON, unless_own="other"))
    asked: list[frozenset[int]] = []

    class Columns(ColumnarRows):
        def columns(self, printable: Collection[int]) -> list[Any]:
            asked.append(frozenset(printable))
            return [*zip(*self, strict=True)]

        def load(self) -> list[list[Any]]:
            return [[1, 7, 8, "a", 1.5, None], [2, 7, 7, "b", 1.5, None]]

        def __len__(self) -> int:
            return 2

    rows = table_renderer(masked, Subject(7, None), any_type=False)(Columns()).values()
    assert [each["address"] for each in rows] == ["[masked: another person]", "b"]
    names = [column.name for column in masked.read_columns()]
    assert asked and asked[0].isdisjoint({names.index("other"), names.index("address")})


def test_gathered_rows_come_by_the_buffer_not_by_the_row() -> None:
    row = dump_object({"text": "x" * 1000})
    chunks = list(gathered([row] * 1000))
    assert [chunk.count for chunk in chunks[:-1]] == [chunks[0].count] * (len(chunks) - 1)
    assert sum(chunk.count for chunk in chunks) == 1000
    assert len(chunks) <= 5


def test_plain_set_is_in_order_whatever_the_hashes() -> None:
    words = {f"word-{number}" for number in range(50)}
    assert plain(words) == sorted(words)
    assert plain(frozenset(words)) == sorted(words)


def test_renderer_masks_a_column_for_everybody_where_no_column_decides() -> None:
    masked = section(address=Masked(Reason.OTHER_PERSON))
    shown_rows = [render(masked, [1, 7, 7, value, 1.5, None]) for value in ("a", None)]
    assert [row["address"] for row in shown_rows] == ["[masked: another person]", None]
