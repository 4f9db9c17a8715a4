"""Which table a column is called after."""

from __future__ import annotations

import pytest

from backend.services.table_names import TableNames, is_number, referred


@pytest.mark.parametrize(
    ("column", "base"),
    [
        ("order_id", "order"), ("orderId", "order"), ("OrderID", "order"), ("ORDER_UUID", "order"),
        ("orderid", "order"), ("id_order", "order"), ("fk_order", "order"),
        ("fk_order_id", "order"),
        ("kunden_nr", "kunden"), ("order_item_id", "order item"), ("order_ref", "order"),
    ],
)  # fmt: skip
def test_referred_of_a_key_is_what_it_is_called_after(column: str, base: str) -> None:
    found = referred(column)
    assert found is not None and found.base == tuple(base.split())


@pytest.mark.parametrize("column", ["id", "uuid", "note", "order", "identity", "fk", "nr", ""])
def test_referred_of_another_column_is_nothing(column: str) -> None:
    assert referred(column) is None


def test_referred_says_which_keys_are_numbers() -> None:
    assert [each for each in ("kunden_nr", "order_no", "kundennr", "order_id")
            if (found := referred(each)) and found.is_number] == [
        "kunden_nr", "order_no", "kundennr",
    ]  # fmt: skip
    assert [each for each in ("kunden_nr", "kundennr", "id", "") if is_number(each)] == [
        "kunden_nr", "kundennr",
    ]  # fmt: skip


def called(tables: str, word: str, near: str, schema: str | None = None) -> list[str]:
    names = TableNames([(None, each) for each in tables.split()])
    return [table for _, table in names.called(word.split(), (schema, near))]


@pytest.mark.parametrize(
    ("tables", "word", "near", "expected"),
    [
        ("users orders", "order", "users", "orders"),
        ("app_users app_orders", "order", "app_users", "app_orders"),
        ("wp_users wp_posts", "comment post", "wp_users", "wp_posts"),
        ("wp_2_users wp_2_posts", "post", "wp_2_users", "wp_2_posts"),
        ("AppUsers AppOrder", "order", "AppUsers", "AppOrder"),
        ("tblUsers tblorders", "order", "tblUsers", "tblorders"),
        ("xxusers xxorders", "order", "xxusers", "xxorders"),
        ("users orders_tbl", "order", "users", "orders_tbl"),
        ("USERS ORDERS", "order", "USERS", "ORDERS"),
        ("auth_user shop_order", "order", "auth_user", "shop_order"),
        ("shop_order shop_line blog_order blog_line", "order", "shop_line", "shop_order"),
        ("shop_order shop_line blog_order blog_line", "order", "blog_line", "blog_order"),
        ("orders app_orders app_notes", "order", "app_notes", "orders"),
        ("users categories", "category", "users", "categories"),
        ("users children", "child", "users", "children"),
        ("users people", "person", "users", "people"),
        ("users addresses", "billing address", "users", "addresses"),
        ("kunden auftraege", "auftrag", "kunden", "auftraege"),
        ("kunden Aufträge", "auftrag", "kunden", "Aufträge"),
        ("kunden haeuser", "haus", "kunden", "haeuser"),
        ("kunden konten", "konto", "kunden", "konten"),
        ("kunden rechnungen", "rechnung", "kunden", "rechnungen"),
        ("clients journaux", "journal", "clients", "journaux"),
        ("usuarios pedidos", "pedido", "usuarios", "pedidos"),
        ("users order", "orders", "users", "order"),
    ],
)
def test_called_finds_the_table_of_that_name(
    tables: str, word: str, near: str, expected: str
) -> None:
    assert called(tables, word, near)[:1] == [expected]


@pytest.mark.parametrize(
    ("tables", "word"),
    [("users orders", "ord"), ("users borders", "order"), ("users user_settings note", "setup")],
)
def test_called_leaves_other_tables_alone(tables: str, word: str) -> None:
    assert called(tables, word, "users") == []


def test_called_prefers_the_schema_of_the_column() -> None:
    names = TableNames([("crm", "orders"), ("shop", "orders"), ("shop", "lines")])
    assert list(names.called(["order"], ("shop", "lines"))) == [
        ("shop", "orders"),
        ("crm", "orders"),
    ]
    assert names.of("orders") == [("crm", "orders"), ("shop", "orders")]


def test_of_a_name_leaves_a_prefix_aside_only_where_no_table_has_the_name_itself() -> None:
    plain = TableNames([(None, each) for each in ("users", "app_users", "app_orders")])
    assert plain.of("users") == [(None, "users")]
    prefixed = TableNames([(None, each) for each in ("app_users", "app_orders")])
    assert prefixed.of("users") == [(None, "app_users")]
