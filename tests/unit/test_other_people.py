"""Whether each row of a table is a person, by names alone."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from backend.services.other_people import Peopled, peopled
from backend.services.table_shapes import TableShape


@pytest.mark.parametrize(
    ("name", "columns", "found"),
    [
        ("guests", "first_name last_name", Peopled.YES),
        ("companies", "first_name last_name", Peopled.PERHAPS),
        ("tenants", "first_name email", Peopled.PERHAPS),
        ("boxes", "email", Peopled.PERHAPS),
        ("boxes", "width height", Peopled.NO),
    ],
)
def test_peopled_of_a_table_that_several_share_is_never_certain(
    name: str, columns: str, found: Peopled
) -> None:
    made = {each: sa.Column(each, sa.String(90)) for each in columns.split()}
    assert peopled(TableShape((None, name), made, (), ())) is found
