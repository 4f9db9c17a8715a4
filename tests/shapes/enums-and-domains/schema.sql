CREATE DOMAIN customer_key AS varchar(20) CHECK (VALUE LIKE 'cus_%');
CREATE TYPE plan AS ENUM ('free', 'paid');
CREATE TABLE users (id customer_key PRIMARY KEY, email text, plan plan NOT NULL);
CREATE TABLE invoices (id integer PRIMARY KEY, user_id customer_key REFERENCES users,
    plans plan[] NOT NULL, total numeric(8, 2));
INSERT INTO users VALUES ('cus_1', 'ann@example.org', 'paid'), ('cus_2', 'bob@example.org', 'free');
INSERT INTO invoices VALUES (1, 'cus_1', '{free,paid}', 10), (2, 'cus_2', '{}', 0);
