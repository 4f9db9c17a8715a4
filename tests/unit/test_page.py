"""The page that a person reads: every text of theirs is text, in words and numbers of their own."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.services.archive import FileStream, PrecompressedFile, SectionStream
from backend.services.collection import describe
from backend.services.disclosure import RIGHTS
from backend.services.dsar_collectors import ACCOUNT, SECTIONS
from backend.services.enclosures import Enclosures
from backend.services.page.catalogue import catalogue, languages
from backend.services.page.document import render_page
from backend.services.page.preview import PAGE_ROWS, Preview
from backend.services.page.templates import FOLDER
from backend.services.page.values import MAX_CHARACTERS, Kind, ValueWriter, clean, kind_of
from backend.services.per_section import PerSection
from backend.services.rendering import Rows, dump_object, gathered
from backend.services.row_conditions import LeftOut
from backend.services.section_files import ELSEWHERE, GONE
from backend.services.sections import (
    EXPORTED,
    Exported,
    Facts,
    FunctionSection,
    Masked,
    OwnerPath,
    Reason,
    Section,
    TableSection,
    Withheld,
)
from backend.services.wording import Wording
from tests.pages import Page

FACTS = Facts(purpose="p", categories="c", recipients="TODO", retention="t", transfers="none")
INSTANT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
TABLE = sa.Table(
    "visits",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("person", sa.Integer, sa.ForeignKey("visits.id")),
    sa.Column("guest_id", sa.Integer),
    sa.Column("steps", sa.Integer),
    sa.Column("paid", sa.Numeric(10, 2)),
    sa.Column("seen_at", sa.DateTime),
    sa.Column("host", sa.Text),
    sa.Column("extra", sa.JSON),
    sa.Column("secret", sa.Text),
)
VISITS = TableSection(
    name="visits",
    table=TABLE,
    owner_paths=(OwnerPath("person"),),
    columns={
        **dict.fromkeys(TABLE.columns.keys(), EXPORTED),
        "host": Masked(Reason.OTHER_PERSON),
        "extra": Exported(paths={"keys.*.token": Withheld(Reason.CREDENTIAL)}),
        "secret": Withheld(Reason.TRADE_SECRET),
    },
    facts=FACTS,
    wording=Wording(
        title={"en": "Visits", "de": "Besuche"},
        description="Who came.",
        labels={"steps": {"en": "Steps", "de": "Schritte"}},
        units={"paid": "€"},
    ),
)
MASKED, HIDDEN = Masked(Reason.OTHER_PERSON).note, Withheld(Reason.CREDENTIAL).note


def visit(number: int = 1, **changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(name for name in VISITS.columns if name != "secret")
    return {**row, "id": number, **changes}


def rendered(
    section: Section = VISITS,
    rows: Sequence[Mapping[str, Any]] = (),
    *,
    language: str = "en",
    **meta: Any,
) -> str:
    preview = Preview()
    count = sum(some.count for some in preview.watching(gathered(map(dump_object, rows))))
    details = {**describe(section, language, INSTANT), "rows": count, "bytes": 12_345}
    controller = ("name", "contact", "data_protection_officer", "complaint_authority")
    whole: dict[str, Any] = {
        "generated_at": INSTANT.isoformat(),
        "snapshot_at": INSTANT.isoformat(),
        "reference_id": "R-1",
        "controller": dict.fromkeys(controller),
        "section_details": {section.name: details},
    }
    return render_page([section], {section.name: preview}, whole | meta, language).decode()


def cells(text: str) -> list[str]:
    """The texts of the first table's cells: the rows of the section."""
    body = text.split('<tbody role="rowgroup">')[1].split("</tbody>", maxsplit=1)[0]
    return Page(body).texts("th", "td")


# -- nothing of anybody's is markup --------------------------------------------------------------

NASTY = st.one_of(
    st.text(max_size=40),
    st.text(st.sampled_from("<>&\"'`/=;{}% \n\0\x1b\u202e\u2066x"), max_size=30),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "</td></table><img src=x onerror=alert(1)>",
            '"><svg onload=alert(1)>',
            "' onclick='alert(1)",
            "</style><script>",
            "<!--",
            "]]>",
            "javascript:alert(1)",
            "{{ 7 * 7 }}{% raw %}",
            "&lt;b&gt;",
            "\ud800",
        ]
    ),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | NASTY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NASTY, inner, max_size=3),
    max_leaves=6,
)
TAGS = Page(rendered(rows=[visit(seen_at="2026-01-01T00:00:00", host=MASKED)])).tags() | {
    *Page(rendered(ACCOUNT, [{"id": 1}])).tags()
}
ATTRIBUTES = {
    *("lang", "dir", "charset", "http-equiv", "content", "name", "class", "href", "id", "role"),
    *("aria-labelledby", "tabindex", "scope", "data-label", "datetime"),
}


def is_harmless(page: Page) -> bool:
    attributes = {name for _, found in page.elements for name in found}
    return (
        page.tags() <= TAGS
        and attributes <= ATTRIBUTES
        and all(re.fullmatch(r"#[\w%.~-]*|[\w%.~/-]+", href) for href in page.attributes("href"))
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(NASTY, JSON, min_size=1, max_size=4), min_size=1, max_size=4))
def test_page_of_any_rows_holds_their_text_as_text(rows: list[dict[str, Any]]) -> None:
    section = FunctionSection(name="any", rows=lambda subject: [], facts=FACTS)
    text = rendered(section, rows)
    assert is_harmless(Page(text))
    shown = iter(cells(text))
    parsed = json.loads(b"[" + b",".join(map(dump_object, rows)) + b"]")
    names = list(dict.fromkeys(name for row in parsed for name in row))
    for row in parsed:
        for name in names:
            value, cell = row.get(name), next(shown)
            if isinstance(value, str) and value:
                assert cell == clean(value)


@settings(max_examples=100, deadline=None)
@given(NASTY, NASTY, st.sampled_from(languages()))
def test_page_of_any_declaration_and_setting_is_harmless(one: str, two: str, language: str) -> None:
    section = TableSection(
        name=f"s{one}",
        table=TABLE,
        owner_paths=(OwnerPath("person"),),
        columns=VISITS.columns,
        facts=Facts(purpose=one, recipients=two, retention=one, source={"en": two, "de": one}),
        wording=Wording(
            title=one,
            description={"en": two},
            labels={"paid": one, "host": two},
            units={"paid": two},
        ),
    )
    controller = {
        "name": one,
        "contact": two,
        "data_protection_officer": one,
        "complaint_authority": two,
    }
    text = rendered(
        section,
        [visit(host=one, extra={two: one}, seen_at=two, paid=one)],
        language=language,
        controller=controller,
        reference_id=two,
        files={f"uploads/{one}": {"bytes": 5}},
    )
    assert is_harmless(Page(text))


@given(JSON, st.sampled_from(Kind), st.sampled_from(languages()))
def test_value_of_any_kind_is_written_without_markup_of_its_own(
    value: Any, kind: Kind, language: str
) -> None:
    text = ValueWriter(catalogue(language)).html(value, kind)
    page = Page(text)
    assert page.tags() <= {"time", "em"}
    assert text == clean(text)


@given(st.lists(JSON), st.sampled_from(Kind), st.sampled_from(languages()))
def test_column_is_written_as_each_of_its_values(
    values: list[Any], kind: Kind, language: str
) -> None:
    writer = ValueWriter(catalogue(language), {"note": "a note", "": "no note"})
    values += ["note", "", "a & b", "x" * MAX_CHARACTERS, "x" * (MAX_CHARACTERS + 1)]
    assert writer.column(values, kind) == [writer.html(value, kind) for value in values]


def test_page_policy_allows_its_own_style_alone() -> None:
    text = rendered()
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = Page(text).attributes("content")[0]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "url(" not in style and "@import" not in style


def test_templates_hold_no_words_of_their_own() -> None:
    """Whatever is said comes from the catalogues."""
    for path in FOLDER.glob("*.j2"):
        text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", "", path.read_text(), flags=re.DOTALL)
        words = re.sub(r"<[^>]*>", "", text.replace("<!DOCTYPE html>", ""))
        assert not re.sub("meta.json", "", words).strip(" \n:–"), path.name
        assert not re.findall(r'(?:aria-label|alt|title|placeholder)="[^"]', text)


# -- how values are written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kind", "english", "german"),
    [
        (None, Kind.TEXT, "–", "–"),
        ("", Kind.TEXT, "–", "–"),
        (True, Kind.TEXT, "yes", "ja"),
        (False, Kind.NUMBER, "no", "nein"),
        ("2026-03-04", Kind.MOMENT, "4 Mar 2026", "4. März 2026"),
        ("2026-12-24T08:05:09.5", Kind.MOMENT, "24 Dec 2026, 08:05:09", "24. Dez. 2026, 08:05:09"),
        (
            "2026-05-01T23:59:00+00:00",
            Kind.MOMENT,
            "1 May 2026, 23:59:00 UTC",
            "1. Mai 2026, 23:59:00 UTC",
        ),
        ("12:30:00+02:00", Kind.MOMENT, "12:30:00", "12:30:00"),
        ("infinity", Kind.MOMENT, "infinity", "infinity"),
        ("0044-03-15 BC", Kind.MOMENT, "0044-03-15 BC", "0044-03-15 BC"),
        (1234, Kind.NUMBER, "1234", "1234"),
        (-1234567, Kind.NUMBER, "\u22121,234,567", "\u22121.234.567"),
        ("-19.90", Kind.NUMBER, "\u221219.90", "\u221219,90"),
        ("NaN", Kind.NUMBER, "NaN", "NaN"),
        ("much", Kind.NUMBER, "much", "much"),
        (Decimal("1e30"), Kind.NUMBER, "1" + ",000" * 10, "1" + ".000" * 10),
        (12345678, Kind.KEY, "12345678", "12345678"),
        (0, Kind.TEXT, "0", "0"),
        ({}, Kind.TEXT, "–", "–"),
        ([1, "b", None, True], Kind.TEXT, "1, b, –, yes", "1, b, –, ja"),
        ({"a": {"b": 0, "c": []}}, Kind.TEXT, "a › b: 0\na › c: –", "a › b: 0\na › c: –"),
        ([{"x": "y"}, {}], Kind.TEXT, "1 › x: y\n2: –", "1 › x: y\n2: –"),
        ("a\0b\x1b\x7f\x85", Kind.TEXT, "a␀b␛␡\ufffd", "a␀b␛␡\ufffd"),
    ],
)
def test_value_reads_as_in_its_language(value: Any, kind: Kind, english: str, german: str) -> None:
    for language, expected in (("en", english), ("de", german)):
        text = ValueWriter(catalogue(language)).html(value, kind)
        assert re.sub("<[^>]*>", "", text) == expected


def test_value_moment_says_its_instant_to_machines() -> None:
    text = ValueWriter(catalogue("en")).html("2026-03-04", Kind.MOMENT)
    assert text == '<time datetime="2026-03-04">4 Mar 2026</time>'


@given(
    st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=-3))])),
    st.sampled_from("T "),
    st.sampled_from(["auto", "seconds", "milliseconds", "microseconds"]),
)
def test_value_moment_is_the_instant_that_its_text_names(
    instant: datetime, between: str, form: str
) -> None:
    writer = ValueWriter(catalogue("de"))
    text = instant.isoformat(between, form)
    assert writer.html(text, Kind.MOMENT) == (
        f'<time datetime="{text}">{writer.instant(instant)}</time>'
    )


@pytest.mark.parametrize(
    "text", ["2026-02-30 08:00:00", "0000-01-01 00:00:00", "2026-01-05 08:60:00"]
)
def test_value_that_is_no_moment_is_written_as_it_is(text: str) -> None:
    assert ValueWriter(catalogue("en")).html(text, Kind.MOMENT) == text


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("1E+999999999", "1E+999999999"),
        ("-1E-999999999", "-1E-999999999"),
        ("1E+5000", "1E+5000"),
        ("9" * 5000 + ".5", "9" * MAX_CHARACTERS + "…"),
    ],
)
def test_number_of_any_size_is_written(kind: Kind, number: str, expected: str) -> None:
    """Each is a value of a JSON column; an export that cannot write it fails every time."""
    shown = ValueWriter(catalogue("en")).html(Decimal(number), kind)
    assert shown == expected or (kind is Kind.KEY and shown == number)


@pytest.mark.parametrize("kind", [Kind.MOMENT, Kind.NUMBER])
def test_value_of_a_typed_column_is_cut_as_any_text(kind: Kind) -> None:
    writer = ValueWriter(catalogue("en"))
    assert writer.html("9" * (MAX_CHARACTERS + 1), kind) == "9" * MAX_CHARACTERS + "…"
    assert writer.cut == 1


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (999, "999 B"), (1234, "1.2 kB"), (5_000_000, "5 MB"), (10**13, "10,000 GB")],
)
def test_size_is_measured_for_people(count: int, expected: str) -> None:
    assert ValueWriter(catalogue("en")).size(count) == expected


def test_value_longer_than_is_shown_is_cut_and_counted() -> None:
    writer = ValueWriter(catalogue("en"))
    assert writer.html("x" * MAX_CHARACTERS) == "x" * MAX_CHARACTERS
    assert writer.cut == 0
    assert writer.html("x" * (MAX_CHARACTERS + 1)) == "x" * MAX_CHARACTERS + "…"
    assert len(writer.html([{"n": i} for i in range(10_000)])) == MAX_CHARACTERS + 1
    deep: Any = "end"
    for _ in range(50):
        deep = {"in": deep}
    assert writer.html(deep).endswith("in: …")
    assert writer.cut == 3


def test_kind_goes_by_the_column() -> None:
    kinds = {column.name: kind_of(column) for column in TABLE.columns}
    assert kinds == {
        "id": Kind.KEY,
        "person": Kind.KEY,
        "guest_id": Kind.KEY,
        "steps": Kind.NUMBER,
        "paid": Kind.NUMBER,
        "seen_at": Kind.MOMENT,
        "host": Kind.TEXT,
        "extra": Kind.TEXT,
        "secret": Kind.TEXT,
    }
    assert kind_of(ACCOUNT.table.c.created_at) is Kind.MOMENT
    assert kind_of(None) is Kind.TEXT


# -- what the page says --------------------------------------------------------------------------


@pytest.mark.parametrize("language", languages())
def test_page_shows_rows_with_labels_units_and_what_is_left_out(language: str) -> None:
    rows = [
        visit(12345, steps=12345, paid="1234.50", host=MASKED, seen_at="2026-03-04T05:06:07"),
        visit(12346, host="me", extra={"keys": {"one": {"token": HIDDEN, "on": True}}}),
    ]
    text = rendered(rows=rows, language=language)
    page, words = Page(text), catalogue(language)
    steps, paid = ("12,345", "1234.50") if language == "en" else ("12.345", "1234,50")
    name = words["reason.another person"]
    assert {"12345", steps, paid, "me"} <= set(cells(text))
    assert words["section.masked_value"].format(reason=name) in cells(text)
    assert any("keys › one › token: [" in cell for cell in cells(text))
    title = {"en": "Visits", "de": "Besuche"}[language]
    labels = page.texts("th")
    assert {"Paid (€)", {"en": "Steps", "de": "Schritte"}[language], words["columns.id"]} <= {
        *labels
    }
    assert page.texts("caption")[0] == f"{title}: {words['section.rows_other'].format(n=2)}"
    assert title in page.texts("h2")
    said = " ".join(page.texts("p"))
    for reason in ("credential", "trade secret", "another person"):
        assert words[f"reason.{reason}"] in said
    assert "Extra › keys › … › token" in said
    assert words["section.not_stated"] in page.texts("dd")  # what is still TODO


@pytest.mark.parametrize("language", languages())
def test_page_without_rows_says_that_it_was_searched(language: str) -> None:
    text = rendered(language=language)
    words = catalogue(language)
    assert words["section.empty"] in Page(text).texts("p")
    assert words["section.rows_other"].format(n=0) in text


def test_page_gives_a_reason_in_the_declarers_own_words() -> None:
    columns = {**VISITS.columns, "secret": Withheld("our lawyer <knows>")}
    text = rendered(replace(VISITS, columns=columns), [visit()])
    assert "Left out (<bdi>our lawyer &lt;knows&gt;</bdi>): <bdi>Secret</bdi>." in text


def test_page_says_when_deleted_rows_are_left_out() -> None:
    section = replace(VISITS, leave_out_deleted=LeftOut("secret", "gone after a day", "yes"))
    assert "left out: <bdi>gone after a day</bdi>." in rendered(section)
    assert "gone" not in rendered()


def test_page_of_one_row_is_a_list_of_names_and_values() -> None:
    text = rendered(ACCOUNT, [{"id": 7, "email": "ada@example.org", "deleted_at": None}])
    page = Page(text)
    names = dict(zip(page.texts("dt"), page.texts("dd"), strict=True))
    assert (names["E-mail address"], names["Deleted"]) == ("ada@example.org", "–")
    assert "1 entry" in text


def test_page_of_many_rows_shows_the_first_and_says_where_all_are() -> None:
    text = rendered(rows=[visit(10_000 + i) for i in range(PAGE_ROWS + 50)])
    page = Page(text)
    assert len(cells(text)) == PAGE_ROWS * 8
    said = [p for p in page.texts("p") if f"first {PAGE_ROWS} of {PAGE_ROWS + 50} entries" in p]
    assert len(said) == 1 and "visits.json" in said[0]
    assert "visits.json" in page.attributes("href")


def test_page_of_long_texts_says_that_they_go_on() -> None:
    long = "y" * (MAX_CHARACTERS + 1)
    assert "one long text" in rendered(rows=[visit(host=long)])
    assert "of <bdi>2</bdi> long texts" in rendered(rows=[visit(host=long), visit(2, host=long)])


def test_page_of_rows_too_large_for_it_says_so() -> None:
    text = rendered(rows=[visit(host="z" * (9 * 1024 * 1024))])
    assert "too large for this page" in text
    assert len(text) < 50_000


@pytest.mark.parametrize("language", languages())
def test_page_tells_controller_rights_and_complaint(language: str) -> None:
    words = catalogue(language)
    bare = Page(rendered(language=language))
    assert words["controller.unstated"] in bare.texts("p")
    assert any(words["rights.any_authority"] in item for item in bare.texts("li"))
    for right in RIGHTS:
        assert any(words[f"rights.{right}"] in item for item in bare.texts("li"))
    stated = {
        "name": "Example Ltd",
        "contact": "1 Street\nTown",
        "data_protection_officer": "dpo@example.org",
        "complaint_authority": "The Authority",
    }
    told = Page(rendered(language=language, controller=stated))
    assert {"Example Ltd", "1 Street\nTown", "dpo@example.org"} <= set(told.texts("dd"))
    assert any("The Authority" in item for item in told.texts("li"))
    assert words["controller.unstated"] not in told.texts("p")


def test_page_lists_the_persons_own_files() -> None:
    text = rendered(files={"uploads/a b.pdf": {"bytes": 2_500_000}})
    assert "uploads/a%20b.pdf" in Page(text).attributes("href")
    assert "2.5 MB" in text and "1 file" in text


@pytest.mark.parametrize("language", languages())
def test_page_names_the_first_files_and_where_all_are_named(language: str) -> None:
    many = {f"x_files/{number}.pdf": {"bytes": 5} for number in range(1_000)}
    text = rendered(files=many, files_included={"x_files.json": 60_000}, language=language)
    page = Page(text)
    assert len([each for each in page.attributes("href") if each.startswith("x_files/")]) == 100
    assert len(text) < 60_000
    (note,) = [each for each in page.texts("p") if "x_files.json" in each]
    assert "59" in note and "900" in note


@pytest.mark.parametrize("language", languages())
def test_page_names_the_files_that_could_not_be_included(language: str) -> None:
    words = catalogue(language)
    absent = [("a<b>.pdf", GONE), ("../b", ELSEWHERE), *((f"{n}.pdf", GONE) for n in range(100))]
    enclosures = Enclosures([VISITS], page=True, language=language)
    list(enclosures.watch([FileStream("visits_files.json", (b"[]",), absent)]))
    meta = {
        "generated_at": INSTANT.isoformat(),
        "snapshot_at": INSTANT.isoformat(),
        "reference_id": None,
        "controller": dict.fromkeys(
            ("name", "contact", "data_protection_officer", "complaint_authority")
        ),
        "section_details": {},
    }
    page = Page(contents(enclosures.closing(meta))["index.html"].decode())
    items = page.texts("li")
    assert f"a<b>.pdf: {words[f'problem.{GONE}']}" in items
    assert f"../b: {words[f'problem.{ELSEWHERE}']}" in items
    assert words["files.absent"] in page.texts("p")
    assert words["files.absent_more"].format(n=2) in page.texts("p")


def test_page_says_which_sections_were_read_at_another_moment() -> None:
    sentence = "Read at a moment of its own, shortly before or after: Visits."
    assert sentence not in rendered()
    text = " ".join(Page(rendered(snapshot_at="2026-03-04T05:06:08+00:00")).texts("p"))
    assert sentence in text


@pytest.mark.parametrize(
    ("kind", "label"),
    [(sa.BigInteger(), "Number"), (sa.Numeric(18), "Number"), (sa.Uuid(), "Identifier"),
     (sa.Text(), "Identifier")],
)  # fmt: skip
def test_page_calls_a_key_by_what_it_holds(kind: Any, label: str) -> None:
    table = sa.Table("t", sa.MetaData(), sa.Column("id", kind), sa.Column("user_id", kind))
    section = TableSection(
        name="t",
        table=table,
        owner_paths=(OwnerPath("id"),),
        columns=dict.fromkeys(("id", "user_id"), EXPORTED),
        facts=FACTS,
    )
    told = Page(rendered(section, [{"id": "1", "user_id": "1"}]))
    assert told.texts("th")[:2] == [label, f"Your user {label.lower()}"]


def test_page_knows_common_columns_however_they_are_written() -> None:
    table = sa.Table("t", sa.MetaData(), sa.Column("FirstName", sa.Text))
    section = replace(
        VISITS, table=table, owner_paths=(OwnerPath("FirstName"),), wording=Wording(),
        columns={"FirstName": EXPORTED},
    )  # fmt: skip
    assert "Vorname" in Page(rendered(section, [{"FirstName": "x"}], language="de")).texts("th")


@pytest.mark.parametrize(
    ("name", "kind", "value", "shown"),
    [
        ("created_at", sa.Text(), "2026-01-05 08:30:00", "5 Jan 2026, 08:30:00"),
        ("date_joined", sa.types.NullType(), "2026-01-05", "5 Jan 2026"),
        ("createdAt", sa.String(30), "2026-01-05T08:30:00Z", "5 Jan 2026, 08:30:00 UTC"),
        ("created_at", sa.Text(), "last week", "last week"),
        ("body", sa.Text(), "2026-01-05", "2026-01-05"),
    ],
)
def test_page_shows_times_that_a_column_of_text_holds(
    name: str, kind: Any, value: str, shown: str
) -> None:
    assert (
        ValueWriter(catalogue("en"))
        .html(value, kind_of(sa.Column(name, kind)))
        .endswith(f"{shown}</time>" if shown != value else shown)
    )


# -- what is kept for the page -------------------------------------------------------------------


def test_preview_passes_every_row_on_and_keeps_the_first() -> None:
    rows = [dump_object({"n": i, "text": "x" * 3000}) for i in range(300)]
    preview = Preview()
    passed = list(preview.watching(gathered(rows)))
    assert sum(some.count for some in passed) == 300
    assert len(passed) > 1
    assert [row["n"] for row in preview.rows] == list(range(PAGE_ROWS))
    assert {len(row["text"]) for row in preview.rows} == {MAX_CHARACTERS + 1}


def test_preview_of_large_nested_values_keeps_a_cut_text() -> None:
    preview = Preview()
    list(preview.watching([Rows(1, dump_object({"tree": ["x" * 1000] * 1000}))]))
    (row,) = preview.rows
    assert len(row["tree"]) == MAX_CHARACTERS + 1


@pytest.mark.parametrize(
    "text", [b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"a": ' + b"9" * 5000 + b"}"]
)
def test_preview_of_what_python_does_not_read_keeps_none(text: bytes) -> None:
    preview = Preview()
    assert list(preview.watching([Rows(1, text)])) == [Rows(1, text)]
    assert preview.too_large and preview.rows == []


def test_preview_keeps_every_digit() -> None:
    preview = Preview()
    list(preview.watching([Rows(1, b'{"pi": 3.14159265358979323846264338327950288}')]))
    shown = ValueWriter(catalogue("de")).html(preview.rows[0]["pi"])
    assert shown == "3,14159265358979323846264338327950288"


# -- what is enclosed ----------------------------------------------------------------------------


def enclosed(locale: Any, **options: Any) -> dict[str, bytes]:
    """The enclosures of a person with that language."""
    chosen: dict[str, Any] = {"page": True, "language": "en"}
    enclosures = Enclosures(SECTIONS, **(chosen | options))
    row = dump_object({"id": 1, "locale": locale})
    streams: list[SectionStream | FileStream] = [
        SectionStream("account", True, [Rows(1, row)]),
        FileStream("uploads/a", (b"a",)),
    ]
    for stream in enclosures.watch(streams):
        if isinstance(stream, SectionStream):
            list(stream.rows)
    details = {**describe(ACCOUNT, "en", INSTANT), "rows": 1, "bytes": 9}
    meta: dict[str, Any] = {
        "generated_at": INSTANT.isoformat(),
        "snapshot_at": INSTANT.isoformat(),
        "reference_id": None,
        "controller": dict.fromkeys(
            ("name", "contact", "data_protection_officer", "complaint_authority")
        ),
        "section_details": {"account": details},
    }
    return contents(enclosures.closing(meta))


def contents(files: Iterable[FileStream | PrecompressedFile]) -> dict[str, bytes]:
    return {
        file.path: zlib.decompress(file.content.packed, -15)
        if isinstance(file, PrecompressedFile)
        else b"".join(file.chunks)
        for file in files
    }


@pytest.mark.parametrize(
    ("locale", "setting", "expected"),
    [("de-AT", "en", "de"), ("ja-JP", "de", "de"), (None, "de", "de"), (7, "en", "en")],
)
def test_enclosures_page_is_in_the_persons_language_else_the_settings(
    locale: Any, setting: str, expected: str
) -> None:
    page = enclosed(locale, language=setting)["index.html"].decode()
    assert f'<html lang="{expected}"' in page


def test_enclosures_without_a_page_are_the_schemas() -> None:
    found = enclosed("de", page=False)
    assert list(found) == [
        *(f"schemas/{section.name}.schema.json" for section in SECTIONS),
        "schemas/meta.schema.json",
    ]
    assert all(json.loads(text)["$schema"].endswith("2020-12/schema") for text in found.values())


def test_enclosures_without_a_section_that_knows_the_language_use_the_settings() -> None:
    enclosures = Enclosures([VISITS], page=True, language="de")
    assert enclosures._persons_language() == "de"


def test_per_section_remembers_by_identity_and_forgets_when_there_are_too_many() -> None:
    memory: PerSection[int] = PerSection()
    made = iter(range(10_000))
    twin = replace(VISITS)
    assert memory.get(VISITS, "en", lambda: next(made)) == 0
    assert memory.get(VISITS, "en", lambda: next(made)) == 0
    assert memory.get(VISITS, "de", lambda: next(made)) == 1
    assert memory.get(twin, "en", lambda: next(made)) == 2
    for number in range(2000):
        memory.get(VISITS, number, lambda: next(made))
    assert len(memory._made) <= 1024
