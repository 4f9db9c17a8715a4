"""Which columns hold credentials: by name, type, and what stands around them."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql, postgresql

from backend.services.credential_names import Secrecy, secrecy

SURE = """
    user_pass pass pwd passwd pw_hash passhash pass_crypt crypted_password password_digest hashed_pw
    salt token secret pin otp totp_seed mfa sess_key auth_key api_key apikey access_key private_key
    refresh_token oauth_code authorization_code recovery_codes backup_codes reset_code
    verification_code confirm_code invite_token csrf card_number cardno cc_num cvv cvc
    security_answer secret_question Passwort Kennwort mot_de_passe mdp contraseña geheim jeton
    USERPASS userPassword UserPass PASSWD1 PHPSESSID dbPass clientSecret user_activation_key
    2fa_secret two_factor_recovery_codes signing_secret anmeldepasswort clé_api seed_phrase
    olduserpass dbuserpwd
"""
PERHAPS = """
    session_id sid ssh_key webauthn magic_link nonce cookie signature pan dsn connection_string
    database_url webhook_url smtp_url jdbc mongo_uri sqlalchemy_uri encrypted_extra ssn_enc
    license_key clave invite_code password_hint token_id library_card_number schluessel hash key
    access_tok bot_tok accesstok userTkn remember recovery slack_hook slackhook hook_url hook hmac
    vault_ref vault_path stripe_sk sk_live twilio_sid gh_pat pat cred creds dbCreds auth_blob
    keytab p12 client_p12 cert_pem cert_key kek dek u2f U2F passkey magic unlock_code
    wifi_psk card_exp privkey p256dh pkce saml_response db_conn ntlm_hash login_tan ssh_priv id_rsa
"""
HARMLESS = """
    passenger passport_no compass tokenized_at secretary pinned pinboard spin session_count
    postal_code country_code zip_code error_code status_code expiry iban keyboard author authority
    public_key meta_key password_changed_at tokens_used token_type mfa_enabled is_secret card_last4
    prompt_tokens api_key_name auth_provider content_hash opinion turkey shipping_address sidebar id
    hook_count hook_type hooked remembered_at remember_count recovery_date recovery_email exp
    recovery_days exp_date exp_points pattern patient path magician magic_level certificate_title
    unlock_level tan_line pat_name sky stock tokyo credits creditor accredited discount_code p1
"""
NUMBERS = (sa.Integer(), sa.BigInteger(), sa.Numeric(8), mysql.INTEGER(display_width=4))
TEXTS = (sa.Text(), sa.String(80), sa.Uuid(), sa.LargeBinary(), sa.JSON(), postgresql.BYTEA())
MARKS: tuple[Any, ...] = (
    sa.Boolean(), sa.Date(), sa.DateTime(), sa.Interval(), sa.Enum("a"), mysql.TINYINT(1),
    mysql.BIT(1),
)  # fmt: skip


@pytest.mark.parametrize("name", SURE.split())
def test_secrecy_of_a_credential_is_sure_whatever_type_can_hold_it(name: str) -> None:
    for kind in (*TEXTS, sa.types.NullType(), postgresql.ARRAY(sa.Text())):
        assert secrecy(name, kind) is Secrecy.SURE, kind
    for kind in MARKS:
        assert secrecy(name, kind) is Secrecy.NO, kind


@pytest.mark.parametrize("name", PERHAPS.split())
def test_secrecy_of_what_may_be_a_credential_asks_a_person(name: str) -> None:
    for kind in TEXTS:
        assert secrecy(name, kind) is Secrecy.PERHAPS, kind


@pytest.mark.parametrize("name", HARMLESS.split())
def test_secrecy_leaves_other_columns_alone(name: str) -> None:
    for kind in (*TEXTS, *NUMBERS, *MARKS):
        assert secrecy(name, kind) is Secrecy.NO, kind


@pytest.mark.parametrize("kind", NUMBERS, ids=repr)
def test_secrecy_of_a_number_is_that_of_what_is_typed_in(kind: Any) -> None:
    for name in ("pin", "door_pin", "token", "secret", "otp", "cvv", "card_number", "reset_code"):
        assert secrecy(name, kind) is Secrecy.SURE, name
    for name in ("access_code", "pass", "clave", "pan"):
        assert secrecy(name, kind) is Secrecy.PERHAPS, name
    for name in ("session_id", "sid", "mfa", "tokens", "key", "hash", "token_id", "2fa"):
        assert secrecy(name, kind) is Secrecy.NO, name


@given(
    st.sampled_from(["password", "secret", "token", "api_key", "otp"]),
    st.sampled_from(["user", "smtp", "db", "old", "client"]),
    st.sampled_from([str.lower, str.upper, str.title]),
    st.sampled_from(["_", "-", " ", ""]),
    st.sampled_from(["", "1", "_2"]),
)
def test_secrecy_of_any_spelling_of_a_name_is_the_same(
    name: str, before: str, case: Any, gap: str, number: str
) -> None:
    spelt = case(f"{before} {name.replace('_', ' ')}").replace(" ", gap) + number
    assert secrecy(spelt, sa.Text()) is Secrecy.SURE, spelt


def test_secrecy_by_the_table_around_it() -> None:
    text = sa.Text()
    for table, column in (
        ("authtoken_token", "key"), ("oauth_auth_codes", "code"), ("user_tokens", "value"),
        ("sessions", "id"), ("sessions", "payload"), ("password_resets", "hash"),
    ):  # fmt: skip
        assert secrecy(column, text, table) is Secrecy.PERHAPS, (table, column)
    for table, column in (("products", "code"), ("articles", "id"), ("orders", "payload")):
        assert secrecy(column, text, table) is Secrecy.NO, (table, column)
    assert secrecy("id", sa.Integer(), "sessions") is Secrecy.NO
    for beside in ("ccn", "card_number", "Kartennummer"):
        assert secrecy("code", sa.Integer(), "payments", ["code", beside]) is Secrecy.PERHAPS
    assert secrecy("code", sa.Integer(), "payments", ["code", "amount"]) is Secrecy.NO


def test_secrecy_of_an_expiry_asks_beside_a_cards_number_alone() -> None:
    for name in ("exp", "exp_date", "expDate", "card_expires", "exp_month", "valid_thru"):
        for kind in (sa.Text(), sa.Integer(), sa.Date()):
            assert secrecy(name, kind, "cards", [name, "card_number"]) is Secrecy.PERHAPS, name
            assert secrecy(name, kind, "heroes", [name, "level"]) is Secrecy.NO, name
    assert secrecy("expires_at", sa.DateTime(), "users", ["card_number"]) is Secrecy.NO


def test_secrecy_leaves_a_numbered_column_alone() -> None:
    assert secrecy("p12", sa.Text(), "answers", ["p11", "p12"]) is Secrecy.NO


def test_secrecy_of_an_attribute_is_its_values_and_not_its_names() -> None:
    beside = ["user_id", "meta_key", "meta_value"]
    assert secrecy("meta_key", sa.Text(), "usermeta", beside) is Secrecy.NO
    assert secrecy("meta_value", sa.Text(), "usermeta", beside) is Secrecy.PERHAPS
    assert secrecy("key", sa.Text(), "settings", ["key", "value"]) is Secrecy.NO
    assert secrecy("value", sa.Text(), "settings", ["key", "value"]) is Secrecy.PERHAPS
    assert secrecy("value", sa.Text(), "measurements", ["unit", "value"]) is Secrecy.NO
