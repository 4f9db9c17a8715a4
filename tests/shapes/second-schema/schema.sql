CREATE SCHEMA billing;
CREATE TABLE users (id integer PRIMARY KEY, email text);
CREATE TABLE notes (id integer PRIMARY KEY, user_id integer REFERENCES users, body text);
CREATE TABLE billing.notes (id integer PRIMARY KEY, user_id integer REFERENCES users, sum integer);
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO notes VALUES (1, 1, 'ann'), (2, 2, 'bob');
INSERT INTO billing.notes VALUES (1, 2, 20), (2, 1, 10);
