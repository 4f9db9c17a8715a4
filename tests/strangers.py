"""Schemas that nobody here designed: tables, columns and keys as their authors have them.

Facts alone, written down by hand; the rows are invented. From:

- Chinook, a shop's sample database (github.com/lerocha/chinook-database, MIT);
- Pagila, PostgreSQL's DVD rental (github.com/devrimgunduz/pagila, PostgreSQL licence), without its
  functions and views: domains, enums, arrays, partitions, two tables that refer to each other;
- Django's own tables for accounts, sessions and the admin, and those of Django REST framework's
  tokens (BSD);
- an application in the manner of Rails: no foreign keys at all, Devise's columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection


@dataclass(frozen=True)
class Stranger:
    """A database: how it is made, who is in it, and what the export must and must not hold."""

    statements: Sequence[str]
    person: str  # whose export is looked at
    sections: dict[str, int]  # name: rows of that person
    shown: Sequence[str]  # texts that must be there
    hidden: Sequence[str]  # texts that must not


def make(stranger: Stranger, connection: Connection) -> None:
    """Make the tables and rows. Names in double quotes are written in the database's own."""
    own = "`" if connection.dialect.name in ("mysql", "mariadb") else '"'
    for statement in stranger.statements:
        connection.execute(sa.text(statement.replace('"', own).replace(":", "\\:")))


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


_PERSONAL = """"Address" VARCHAR(70), "City" VARCHAR(40), "State" VARCHAR(40),
    "Country" VARCHAR(40), "PostalCode" VARCHAR(10), "Phone" VARCHAR(24), "Fax" VARCHAR(24)"""

CHINOOK = Stranger(
    _split(f"""
CREATE TABLE "Artist" ("ArtistId" INT PRIMARY KEY, "Name" VARCHAR(120));
CREATE TABLE "Album" ("AlbumId" INT PRIMARY KEY, "Title" VARCHAR(160) NOT NULL,
    "ArtistId" INT NOT NULL, FOREIGN KEY ("ArtistId") REFERENCES "Artist" ("ArtistId"));
CREATE TABLE "Genre" ("GenreId" INT PRIMARY KEY, "Name" VARCHAR(120));
CREATE TABLE "MediaType" ("MediaTypeId" INT PRIMARY KEY, "Name" VARCHAR(120));
CREATE TABLE "Track" ("TrackId" INT PRIMARY KEY, "Name" VARCHAR(200) NOT NULL, "AlbumId" INT,
    "MediaTypeId" INT NOT NULL, "GenreId" INT, "Composer" VARCHAR(220),
    "Milliseconds" INT NOT NULL, "Bytes" INT, "UnitPrice" NUMERIC(10,2) NOT NULL,
    FOREIGN KEY ("AlbumId") REFERENCES "Album" ("AlbumId"),
    FOREIGN KEY ("GenreId") REFERENCES "Genre" ("GenreId"),
    FOREIGN KEY ("MediaTypeId") REFERENCES "MediaType" ("MediaTypeId"));
CREATE TABLE "Employee" ("EmployeeId" INT PRIMARY KEY, "LastName" VARCHAR(20) NOT NULL,
    "FirstName" VARCHAR(20) NOT NULL, "Title" VARCHAR(30), "ReportsTo" INT,
    "BirthDate" TIMESTAMP NULL, "HireDate" TIMESTAMP NULL, {_PERSONAL}, "Email" VARCHAR(60),
    FOREIGN KEY ("ReportsTo") REFERENCES "Employee" ("EmployeeId"));
CREATE TABLE "Customer" ("CustomerId" INT PRIMARY KEY, "FirstName" VARCHAR(40) NOT NULL,
    "LastName" VARCHAR(20) NOT NULL, "Company" VARCHAR(80), {_PERSONAL},
    "Email" VARCHAR(60) NOT NULL, "SupportRepId" INT,
    FOREIGN KEY ("SupportRepId") REFERENCES "Employee" ("EmployeeId"));
CREATE TABLE "Invoice" ("InvoiceId" INT PRIMARY KEY, "CustomerId" INT NOT NULL,
    "InvoiceDate" TIMESTAMP NULL, "BillingAddress" VARCHAR(70), "BillingCity" VARCHAR(40),
    "BillingState" VARCHAR(40), "BillingCountry" VARCHAR(40), "BillingPostalCode" VARCHAR(10),
    "Total" NUMERIC(10,2) NOT NULL,
    FOREIGN KEY ("CustomerId") REFERENCES "Customer" ("CustomerId"));
CREATE TABLE "InvoiceLine" ("InvoiceLineId" INT PRIMARY KEY, "InvoiceId" INT NOT NULL,
    "TrackId" INT NOT NULL, "UnitPrice" NUMERIC(10,2) NOT NULL, "Quantity" INT NOT NULL,
    FOREIGN KEY ("InvoiceId") REFERENCES "Invoice" ("InvoiceId"),
    FOREIGN KEY ("TrackId") REFERENCES "Track" ("TrackId"));
CREATE TABLE "Playlist" ("PlaylistId" INT PRIMARY KEY, "Name" VARCHAR(120));
CREATE TABLE "PlaylistTrack" ("PlaylistId" INT, "TrackId" INT,
    PRIMARY KEY ("PlaylistId", "TrackId"),
    FOREIGN KEY ("PlaylistId") REFERENCES "Playlist" ("PlaylistId"),
    FOREIGN KEY ("TrackId") REFERENCES "Track" ("TrackId"));
INSERT INTO "Artist" VALUES (1, 'The Examples');
INSERT INTO "Album" VALUES (1, 'Specimens', 1);
INSERT INTO "MediaType" VALUES (1, 'a file');
INSERT INTO "Track" VALUES (1, 'First', 1, 1, NULL, NULL, 1000, 1, 0.99);
INSERT INTO "Employee" ("EmployeeId", "LastName", "FirstName", "Email")
    VALUES (880077, 'Staff', 'Sam', 'sam.staff@example.org');
INSERT INTO "Customer" ("CustomerId", "FirstName", "LastName", "Email", "SupportRepId")
    VALUES (5, 'Zoë', 'Mine', 'mine@example.org', 880077);
INSERT INTO "Customer" ("CustomerId", "FirstName", "LastName", "Email", "SupportRepId")
    VALUES (6, 'Jörg', 'Other', 'other@example.org', 880077);
INSERT INTO "Invoice" ("InvoiceId", "CustomerId", "BillingAddress", "Total")
    VALUES (1, 5, 'Mine Street 1', 1.98), (2, 6, 'Other Street 2', 0.99), (3, 5, NULL, 0.99);
INSERT INTO "InvoiceLine" VALUES (11, 1, 1, 0.99, 2), (12, 2, 1, 0.99, 1), (13, 3, 1, 0.99, 1)
"""),
    person="5",
    sections={"account": 1, "invoice": 2, "invoice_line": 2},
    shown=["mine@example.org", "Mine Street 1", "1.98", "[masked: another person]"],
    hidden=["other@example.org", "Other Street", "880077", "Sam"],
)

_UPDATED = "last_update TIMESTAMP DEFAULT now() NOT NULL"

PAGILA = Stranger(
    _split(
        f"""
CREATE TYPE mpaa_rating AS ENUM ('G', 'PG', 'R');
CREATE DOMAIN year AS integer CHECK (VALUE >= 1901 AND VALUE <= 2155);
CREATE TABLE country (country_id serial PRIMARY KEY, country text NOT NULL, {_UPDATED});
CREATE TABLE city (city_id serial PRIMARY KEY, city text NOT NULL,
    country_id integer NOT NULL REFERENCES country, {_UPDATED});
CREATE TABLE address (address_id serial PRIMARY KEY, address text NOT NULL, address2 text,
    district text NOT NULL, city_id integer NOT NULL REFERENCES city, postal_code text,
    phone text NOT NULL, {_UPDATED});
CREATE TABLE store (store_id serial PRIMARY KEY, manager_staff_id integer NOT NULL,
    address_id integer NOT NULL REFERENCES address, {_UPDATED});
CREATE TABLE staff (staff_id serial PRIMARY KEY, first_name text NOT NULL,
    last_name text NOT NULL, address_id integer NOT NULL REFERENCES address, email text,
    store_id integer NOT NULL REFERENCES store DEFERRABLE INITIALLY DEFERRED,
    active boolean DEFAULT true NOT NULL, username text NOT NULL, password text, {_UPDATED},
    picture bytea);
ALTER TABLE store ADD FOREIGN KEY (manager_staff_id) REFERENCES staff;
CREATE TABLE customer (customer_id serial PRIMARY KEY,
    store_id integer NOT NULL REFERENCES store, first_name text NOT NULL,
    last_name text NOT NULL, email text, address_id integer NOT NULL REFERENCES address,
    activebool boolean DEFAULT true NOT NULL, create_date date DEFAULT CURRENT_DATE NOT NULL,
    last_update timestamptz DEFAULT now(), active integer);
CREATE TABLE language (language_id serial PRIMARY KEY, name char(20) NOT NULL, {_UPDATED});
CREATE TABLE film (film_id serial PRIMARY KEY, title text NOT NULL, release_year year,
    language_id integer NOT NULL REFERENCES language, rating mpaa_rating DEFAULT 'G',
    special_features text[], fulltext tsvector, {_UPDATED});
CREATE TABLE actor (actor_id serial PRIMARY KEY, first_name text NOT NULL,
    last_name text NOT NULL, {_UPDATED});
CREATE TABLE film_actor (actor_id integer REFERENCES actor, film_id integer REFERENCES film,
    {_UPDATED}, PRIMARY KEY (actor_id, film_id));
CREATE TABLE inventory (inventory_id serial PRIMARY KEY,
    film_id integer NOT NULL REFERENCES film, store_id integer NOT NULL REFERENCES store,
    {_UPDATED});
CREATE TABLE rental (rental_id serial PRIMARY KEY, rental_period tstzrange NOT NULL,
    inventory_id integer NOT NULL REFERENCES inventory,
    customer_id integer NOT NULL REFERENCES customer,
    staff_id integer NOT NULL REFERENCES staff, {_UPDATED});
CREATE TABLE payment (payment_id serial, customer_id integer NOT NULL REFERENCES customer,
    staff_id integer NOT NULL REFERENCES staff, rental_id integer NOT NULL REFERENCES rental,
    amount numeric(5,2) NOT NULL, payment_date timestamptz NOT NULL,
    PRIMARY KEY (payment_date, payment_id)) PARTITION BY RANGE (payment_date);
CREATE TABLE payment_p2026_01 PARTITION OF payment
    FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE payment_p2026_02 PARTITION OF payment
    FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO country VALUES (1, 'Utopia');
INSERT INTO city VALUES (1, 'Nowhere', 1);
INSERT INTO address VALUES (1, 'Mine Street 1', NULL, 'North', 1, '00001', '+44 1632 960001'),
    (2, 'Other Street 2', NULL, 'South', 1, '00002', '+44 1632 960002'),
    (3, 'Staff Street 3', NULL, 'West', 1, '00003', '+44 1632 960003');
BEGIN_DEFERRED;
INSERT INTO staff VALUES (880077, 'Sam', 'Staff', 3, 'sam.staff@example.org', 1, true, 'sam',
    'never-shown');
INSERT INTO store VALUES (1, 880077, 3);
INSERT INTO customer VALUES (5, 1, 'Zoë', 'Mine', 'mine@example.org', 1),
    (6, 1, 'Jörg', 'Other', 'other@example.org', 2);
INSERT INTO language VALUES (1, 'Esperanto');
INSERT INTO film VALUES (1, 'The Example', 2020, 1, 'PG', '{{trailers}}', 'example');
INSERT INTO inventory VALUES (1, 1, 1);
INSERT INTO rental VALUES (1, '[2026-01-05,2026-01-07)', 1, 5, 880077),
    (2, '[2026-02-05,2026-02-07)', 1, 6, 880077), (3, '[2026-02-08,)', 1, 5, 880077);
INSERT INTO payment VALUES (1, 5, 880077, 1, 2.99, '2026-01-07'),
    (2, 6, 880077, 2, 4.99, '2026-02-07'), (3, 5, 880077, 3, 0.99, '2026-02-09')
""".replace("BEGIN_DEFERRED;\n", "")
    ),
    person="5",
    sections={"account": 1, "address": 1, "rental": 2, "payment": 2},
    shown=["mine@example.org", "Mine Street 1", "2.99", "[masked: another person]"],
    hidden=["other@example.org", "Other Street", "Staff Street", "880077", "never-shown"],
)

_ID = "INTEGER PRIMARY KEY"

DJANGO = Stranger(
    _split(f"""
CREATE TABLE django_migrations (id {_ID}, app VARCHAR(255), name VARCHAR(255), applied DATETIME);
CREATE TABLE django_content_type (id {_ID}, app_label VARCHAR(100) NOT NULL,
    model VARCHAR(100) NOT NULL);
CREATE TABLE auth_permission (id {_ID}, content_type_id INTEGER NOT NULL
    REFERENCES django_content_type (id), codename VARCHAR(100) NOT NULL,
    name VARCHAR(255) NOT NULL);
CREATE TABLE auth_group (id {_ID}, name VARCHAR(150) NOT NULL);
CREATE TABLE auth_group_permissions (id {_ID}, group_id INTEGER NOT NULL
    REFERENCES auth_group (id), permission_id INTEGER NOT NULL REFERENCES auth_permission (id));
CREATE TABLE auth_user (id {_ID}, password VARCHAR(128) NOT NULL, last_login DATETIME,
    is_superuser BOOL NOT NULL, username VARCHAR(150) NOT NULL UNIQUE,
    last_name VARCHAR(150) NOT NULL, email VARCHAR(254) NOT NULL, is_staff BOOL NOT NULL,
    is_active BOOL NOT NULL, date_joined DATETIME NOT NULL, first_name VARCHAR(150) NOT NULL);
CREATE TABLE auth_user_groups (id {_ID}, user_id INTEGER NOT NULL REFERENCES auth_user (id),
    group_id INTEGER NOT NULL REFERENCES auth_group (id));
CREATE TABLE auth_user_user_permissions (id {_ID}, user_id INTEGER NOT NULL
    REFERENCES auth_user (id), permission_id INTEGER NOT NULL REFERENCES auth_permission (id));
CREATE TABLE django_admin_log (id {_ID}, object_id TEXT, object_repr VARCHAR(200) NOT NULL,
    action_flag SMALLINT UNSIGNED NOT NULL CHECK (action_flag >= 0), change_message TEXT NOT NULL,
    content_type_id INTEGER REFERENCES django_content_type (id),
    user_id INTEGER NOT NULL REFERENCES auth_user (id), action_time DATETIME NOT NULL);
CREATE TABLE django_session (session_key VARCHAR(40) NOT NULL PRIMARY KEY,
    session_data TEXT NOT NULL, expire_date DATETIME NOT NULL);
CREATE TABLE authtoken_token ("key" VARCHAR(40) NOT NULL PRIMARY KEY, created DATETIME NOT NULL,
    user_id INTEGER NOT NULL UNIQUE REFERENCES auth_user (id));
CREATE TABLE shop_profile (id CHAR(32) NOT NULL PRIMARY KEY, user_id INTEGER NOT NULL UNIQUE
    REFERENCES auth_user (id), settings TEXT NOT NULL CHECK ((JSON_VALID("settings"))));
INSERT INTO auth_user VALUES (5, 'never-shown', NULL, 0, 'mine', 'Mine', 'mine@example.org', 0, 1,
    '2026-01-05 08:30', 'Zoë'), (6, 'never-shown', NULL, 0, 'other', 'Other',
    'other@example.org', 1, 1, '2026-01-05 08:30', 'Jörg');
INSERT INTO auth_group VALUES (1, 'editors');
INSERT INTO auth_user_groups VALUES (1, 5, 1), (2, 6, 1);
INSERT INTO django_admin_log VALUES (1, '5', 'mine', 2, 'mine did this', NULL, 5, '2026-01-05'),
    (2, '5', 'x', 2, 'other did that', NULL, 6, '2026-01-05');
INSERT INTO authtoken_token VALUES ('never-shown-5', '2026-01-05', 5);
INSERT INTO django_session VALUES ('never-shown', 'never-shown', '2026-02-05');
INSERT INTO shop_profile VALUES ('123e4567e89b12d3a456426614174000', 5, '{{"theme": "dark"}}')
"""),
    person="5",
    sections={
        "account": 1,
        "auth_user_groups": 1,
        "auth_user_user_permissions": 0,
        "authtoken_token": 1,
        "django_admin_log": 1,
        "shop_profile": 1,
    },
    shown=["mine@example.org", "mine did this", '"theme": "dark"'],
    hidden=["other@example.org", "other did that", "never-shown"],
)

RAILS = Stranger(
    _split("""
CREATE TABLE schema_migrations (version VARCHAR(255) PRIMARY KEY);
CREATE TABLE ar_internal_metadata ("key" VARCHAR(255) PRIMARY KEY, value VARCHAR(255));
CREATE TABLE users (id BIGINT PRIMARY KEY, email VARCHAR(255) NOT NULL,
    encrypted_password VARCHAR(255) NOT NULL, reset_password_token VARCHAR(255),
    reset_password_sent_at TIMESTAMP NULL, sign_in_count INT, current_sign_in_ip VARCHAR(45),
    otp_secret VARCHAR(255), invited_by_id BIGINT, deleted_at TIMESTAMP NULL);
CREATE TABLE companies (id BIGINT PRIMARY KEY, title VARCHAR(255));
CREATE TABLE posts (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, company_id BIGINT,
    body VARCHAR(255));
CREATE TABLE comments (id BIGINT PRIMARY KEY, post_id BIGINT NOT NULL, body VARCHAR(255));
CREATE TABLE newsletter (id BIGINT PRIMARY KEY, email VARCHAR(255));
INSERT INTO users (id, email, encrypted_password, otp_secret, invited_by_id) VALUES
    (5, 'mine@example.org', 'never-shown', 'never-shown', 6),
    (6, 'other@example.org', 'never-shown', NULL, NULL);
INSERT INTO posts VALUES (1, 5, NULL, 'mine wrote'), (2, 6, NULL, 'other wrote');
INSERT INTO comments VALUES (1, 1, 'below mine'), (2, 2, 'below other')
"""),
    person="5",
    sections={"account": 1, "posts": 1, "comments": 1, "newsletter": 0},
    shown=["mine@example.org", "mine wrote", "below mine"],
    hidden=["other@example.org", "other wrote", "below other", "never-shown"],
)


def settled(text: str) -> str:
    """A draft whose every TODO somebody has settled."""
    return "\n".join(_settled_lines(text.splitlines())) + "\n"


def _settled_lines(lines: Sequence[str]) -> Iterator[Any]:
    for line in lines:
        before, todo, after = line.partition('"TODO: ')
        yield before + '"settled: ' + after if todo else line
