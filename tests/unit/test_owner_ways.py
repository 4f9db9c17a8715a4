"""Owner paths held against the database's keys: the wrong way is found, and the one not gone."""

from __future__ import annotations

from collections.abc import Iterable, Set

import sqlalchemy as sa

from backend.services.declarations import Declared, DeclaredHop, DeclaredPath
from backend.services.findings import Finding, Problem
from backend.services.owner_ways import astray, missed
from backend.services.reflection import Name
from backend.services.schema_graph import ForeignKey, Schema, TableShape
from backend.services.sections import Facts

USERS: Name = (None, "users")
PROFILES: Name = (None, "profiles")
COMMENTS: Name = (None, "comments")
ORDERS: Name = (None, "orders")
LINES: Name = (None, "order_lines")
FACTS = Facts(purpose="p", recipients="r", retention="t")


def shape(name: Name, columns: str, *keys: ForeignKey) -> TableShape:
    made = {each: sa.Column(each, sa.Integer) for each in columns.split()}
    return TableShape(name, made, ("id",) if "id" in made else (), keys)


def to(target: Name, *pairs: str) -> ForeignKey:
    """``("a=b", "c=d")``: columns of the table and of the target."""
    here, there = zip(*(pair.split("=") for pair in pairs), strict=True)
    return ForeignKey(here, target, there)


SCHEMA = Schema(
    None,
    {
        USERS: shape(USERS, "id profile_id", to(PROFILES, "profile_id=id")),
        PROFILES: shape(PROFILES, "id bio"),
        COMMENTS: shape(
            COMMENTS,
            "id profile_id user_id",
            to(PROFILES, "profile_id=id"),
            to(USERS, "user_id=id"),
        ),
        ORDERS: shape(ORDERS, "nr shop user_id editor", to(USERS, "user_id=id")),
        LINES: shape(LINES, "id nr shop", to(ORDERS, "nr=nr", "shop=shop")),
    },
)


def path(start: Name, *hops: tuple[str, Name], column: str) -> DeclaredPath:
    made, at = [], start
    for pairs, target in hops:
        split = [pair.split("=") for pair in pairs.split()]
        made.append(DeclaredHop(at, tuple((here, there) for here, there in split), target))
        at = target
    return DeclaredPath(tuple(made), at, column)


def section(table: Name, *paths: DeclaredPath) -> Declared:
    return Declared(table[1], table, {}, FACTS, paths)


def missed_in(
    table: Name, *paths: DeclaredPath, settled: Iterable[str] = (), beyond: Iterable[Name] = ()
) -> list[Finding]:
    found = SCHEMA.tables[table]

    def reasons(at: TableShape) -> Set[str]:
        return set(settled)

    return list(missed(SCHEMA, USERS, found, [section(table, *paths)], reasons, beyond))


def astray_in(table: Name, *paths: DeclaredPath, stated: Iterable[str] = ()) -> list[Finding]:
    def reasons(at: TableShape) -> Set[str]:
        return set(stated)

    return list(astray(SCHEMA, (USERS, "id"), section(table, *paths), reasons))


def test_missed_key_of_the_peoples_own_table_is_not_gone_by_a_path_elsewhere() -> None:
    """A profile's row is the person's by users.profile_id; by its comments it is a guest's."""
    by_comments = path(PROFILES, ("id=profile_id", COMMENTS), column="user_id")
    (finding,) = missed_in(PROFILES, by_comments)
    assert finding.problem is Problem.OWNER_UNUSED
    assert (finding.table, list(finding.columns)) == ("users", ["profile_id"])
    by_people = path(PROFILES, ("id=profile_id", USERS), column="id")
    assert missed_in(PROFILES, by_people) == []
    assert missed_in(PROFILES, by_comments, by_people) == []


def test_missed_key_by_another_column_of_the_people_is_not_gone() -> None:
    wrong = path(PROFILES, ("id=id", USERS), column="id")
    assert len(missed_in(PROFILES, wrong)) == 1


def test_missed_key_of_two_columns_is_settled_by_both_only() -> None:
    other = path(LINES, ("id=user_id", ORDERS), column="user_id")
    assert len(missed_in(LINES, other)) == 1
    assert len(missed_in(LINES, other, settled=["nr"])) == 1
    assert missed_in(LINES, other, settled=["nr", "shop"]) == []


def test_missed_key_that_a_path_begins_with_is_gone() -> None:
    whole = path(LINES, ("nr=nr shop=shop", ORDERS), column="user_id")
    half = path(LINES, ("nr=nr", ORDERS), column="user_id")
    assert missed_in(LINES, whole) == []
    assert len(missed_in(LINES, half)) == 1


def test_astray_end_is_silenced_by_a_reason_for_that_column_alone() -> None:
    by_editor = path(ORDERS, column="editor")
    for stated in ((), ("user_id",), ("shop",)):
        (finding,) = astray_in(ORDERS, by_editor, stated=stated)
        assert (finding.problem, list(finding.columns)) == (Problem.OWNER_ASTRAY, ["editor"])
    assert astray_in(ORDERS, by_editor, stated=["editor"]) == []
    assert astray_in(ORDERS, path(ORDERS, column="user_id")) == []


def test_astray_join_is_silenced_by_reasons_for_all_of_its_columns() -> None:
    wrong = path(LINES, ("id=nr shop=shop", ORDERS), column="user_id")
    for stated in ((), ("id",), ("shop",)):
        (finding,) = astray_in(LINES, wrong, stated=stated)
        assert (finding.problem, finding.table) == (Problem.OWNER_ASTRAY, "order_lines")
    assert astray_in(LINES, wrong, stated=["id", "shop"]) == []
    assert len(astray_in(LINES, path(LINES, ("nr=nr", ORDERS), column="user_id"))) == 1
