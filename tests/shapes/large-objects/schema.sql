CREATE TABLE users (id integer PRIMARY KEY, email text);
CREATE TABLE scans (id integer PRIMARY KEY, user_id integer REFERENCES users, content oid);
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO scans VALUES (1, 1, lo_from_bytea(0, 'of ann')), (2, 2, lo_from_bytea(0, 'of bob'));
