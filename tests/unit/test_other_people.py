"""Which columns name or address somebody by a role: by name and type."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from backend.services.other_people import names_others
from backend.services.table_shapes import TableShape

OTHERS = """
    by_admin by_user by_whom created_by createdby bearbeitet_von cree_par creado_por handled_by
    assigned_to AssignedTo assignedto assigned_to_email reports_to supervisor supervisor_email
    assignee reviewer_name agent_email staff_note_author manager line_manager account_manager
    invited_by referrer_name emergency_contact emergency_contact_name emergencyPhone next_of_kin
    kin_phone spouse_name guardian_phone guardian2_email guardian_contact beneficiary witness1
    partner_name parent_email doctor case_worker sales_rep person_in_charge betreuer
    sachbearbeiter notfallkontakt medecin abogado
"""
NOBODY = """
    user_agent userAgent http_user_agent http_referrer is_admin is_staff sort_by order_by editor
    agent operator admin related_to valid_to belongs_to to by rep emergency owner_type partner
    parent parent_path host doctor_visit_count teacher_rating standby nearby assigned_at
    manager_count name email ip last_login_ip ship hobby ruby
"""
ADDRESSES = "operatorIp operatorip ip_created_by created_by_ip admin_ip editor_ip_address"


def found(name: str, kind: Any, to_person: tuple[str, ...] = ()) -> bool:
    table = TableShape((None, "t"), {name: sa.Column(name, kind)}, (), ())
    return name in names_others(table, to_person)


@pytest.mark.parametrize("name", OTHERS.split())
def test_names_others_of_a_text_called_by_a_role(name: str) -> None:
    texts: list[Any] = [sa.Text(), sa.String(80), postgresql.CITEXT(), sa.ARRAY(sa.Text())]
    others: list[Any] = [sa.Boolean(), sa.DateTime(), sa.Enum("a")]
    for kind in texts:
        assert found(name, kind) and found(name, kind, ("customer_id",)), kind
    for kind in others:
        assert not found(name, kind), kind


@pytest.mark.parametrize("name", NOBODY.split())
def test_names_others_leaves_other_texts_alone(name: str) -> None:
    assert not found(name, sa.Text())


@pytest.mark.parametrize("name", ADDRESSES.split())
def test_names_others_of_an_address_of_any_type(name: str) -> None:
    inet: list[Any] = [postgresql.INET(), postgresql.CIDR(), sa.ARRAY(postgresql.INET())]
    for kind in (*inet, sa.Text(), sa.LargeBinary(), mysql.VARBINARY(16), sa.BigInteger()):
        assert found(name, kind), kind
    for kind in (postgresql.INET(), sa.Text()):
        assert not found("last_login_ip", kind)


def test_names_others_leaves_the_name_of_whom_the_only_key_names() -> None:
    assert not found("supervisor_name", sa.Text(), ("supervisor_id",))
    assert found("supervisor_name", sa.Text(), ("supervisor_id", "worker_id"))
