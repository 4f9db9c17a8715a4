"""What the name of a column or a table tells: personal data, credentials, other people.

Names are taken apart (``lastLoginIP`` is last, login, ip) and each word, and each two neighbours
put together, looked up in the lists below. A guess, used to point things out and to draft a first
``sections.toml``; what is exported is decided by declarations alone.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, Final

import sqlalchemy as sa


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What looks personal wherever it stands.
PERSONAL: Final = _listed("""
    email emails mail phone phones telephone tel mobile cell fax address addresses addr street
    postcode postal zip zipcode iban bic ssn passport nationality birth birthday birthdate born dob
    gender sex religion ethnicity salary ip ips ipaddr ipaddress inet useragent firstname lastname
    middlename surname forename fullname givenname familyname maidenname username login nickname
    displayname contactname customername clientname personname holdername recipientname sendername
    authorname ownername employeename billingname shippingname session cookie deviceid latitude
    longitude geolocation avatar photo portrait diagnosis vatid taxid cardnumber accountnumber
""")
# A plain "name" looks personal only in a table whose name says that people are in it.
PEOPLE: Final = _listed("""
    user users person persons people customer customers client clients member members employee
    employees staff contact contacts patient patients student students guest guests lead leads
    author authors owner owners subscriber subscribers supplier suppliers applicant applicants
    candidate candidates tenant tenants driver drivers player players actor actors profile profiles
""")
# Each row of a table that has such a column is a person.
LIKE_A_PERSON: Final = _listed("""
    email emails firstname lastname surname forename givenname familyname username login birth
    birthday birthdate dob
""")
# Gives access, whatever the table. Only in columns that can hold such a thing.
CREDENTIAL: Final = _listed("""
    password passwords passwd pwd passphrase passcode secret secrets token tokens apikey apikeys
    privatekey accesskey secretkey authkey encryptionkey signingkey salt totp otp mfa cvv cvc pin
    credential credentials sessiondata sessionkey backupcodes recoverycodes recoverycode backupcode
""")
# May give access: a person must look.
DOUBTFUL: Final = _listed("""
    hash digest key seed nonce signature session fingerprint authcode accesscode securitycode
    verificationcode confirmationcode resetcode logincode invitecode
""")
# Who did something, rather than to whom it was done.
AUDIT: Final = _listed("""
    audit audits auditlog log logs history histories event events activity activities journal trail
    version versions change changes revision revisions
""")
ACTING: Final = _listed(
    "actor admin staff operator agent editor moderator by impersonator performer executor"
)
# Where somebody's action came from.
ORIGIN: Final = _listed("ip ips ipaddr ipaddress useragent inet host hostname")
# Says when something was, or will be.
TIMES: Final = _listed("""
    at on date time day datetime timestamp created updated modified deleted expires expiry since
    until birthday birthdate dob born
""")
# Tables of migration tools, of databases' extensions, and of this program.
BOOKKEEPING: Final = _listed("""
    alembic_version django_migrations schema_migrations ar_internal_metadata flyway_schema_history
    databasechangelog databasechangeloglock knex_migrations knex_migrations_lock sequelizemeta
    _prisma_migrations goose_db_version __efmigrationshistory migrations phinxlog
    doctrine_migration_versions spatial_ref_sys sqlite_sequence
""")
OURS: Final = "dsar_"


def words(name: str) -> list[str]:
    """The words of a name, in small letters: of ``lastLoginIP`` last, login, ip."""
    parted = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3 \2\4", name)
    return [word.lower() for word in re.split(r"[^A-Za-z0-9]+", parted) if word]


def tells(name: str, listed: frozenset[str]) -> bool:
    """Whether a word of the name, or two neighbours together, are on the list."""
    found = words(name)
    pairs = (first + second for first, second in pairwise(found))
    return any(word in listed for word in (*found, *pairs))


def looks_personal(table: str, column: str) -> bool:
    """Whether a column looks as if it held something about a person."""
    if tells(column, PERSONAL):
        return True
    return words(column)[-1:] == ["name"] and tells(table, PEOPLE)


def looks_secret(column: str, kind: sa.types.TypeEngine[Any]) -> bool:
    """Whether a column holds a credential, by its name and a type that can hold one."""
    return _holds_text(kind) and tells(column, CREDENTIAL)


def looks_doubtful(column: str, kind: sa.types.TypeEngine[Any]) -> bool:
    """Whether a column may hold a credential, so that a person must look."""
    return _holds_text(kind) and words(column)[-1:] != ["id"] and tells(column, DOUBTFUL)


def is_bookkeeping(table: str) -> bool:
    """Whether a table is a migration tool's, an extension's or this program's own."""
    return table.lower() in BOOKKEEPING or table.lower().startswith(OURS)


def _holds_text(kind: sa.types.TypeEngine[Any]) -> bool:
    numbers = (sa.Integer, sa.Numeric, sa.Boolean, sa.Date, sa.DateTime, sa.Time, sa.Interval)
    return not isinstance(kind, (*numbers, sa.Uuid, sa.Enum))
