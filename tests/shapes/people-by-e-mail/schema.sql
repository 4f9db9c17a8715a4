CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60) NOT NULL UNIQUE);
CREATE TABLE tickets (id INTEGER PRIMARY KEY, requester_email VARCHAR(60), body VARCHAR(60));
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO tickets VALUES (1, 'ann@example.org', 'of ann'), (2, 'bob@example.org', 'of bob'),
    (3, 'cid@example.org', 'of nobody');
