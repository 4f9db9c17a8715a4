CREATE TABLE users (id integer PRIMARY KEY, email text);
CREATE TABLE events (id integer PRIMARY KEY, user_id integer REFERENCES users, kind text);
CREATE TABLE purchases (card text, amount numeric(8, 2)) INHERITS (events);
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO events VALUES (1, 1, 'login'), (2, 2, 'login');
INSERT INTO purchases VALUES (3, 1, 'purchase', '4242', 9.90), (4, 2, 'purchase', '1111', 1);
