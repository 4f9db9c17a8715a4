CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60) NOT NULL UNIQUE);
CREATE TABLE tickets (id INTEGER PRIMARY KEY, requester_email VARCHAR(60), body VARCHAR(60));
INSERT INTO users VALUES (1, 'Ann@example.org'), (2, 'bob@example.org');
INSERT INTO tickets VALUES (1, 'ann@Example.org', 'of ann'), (2, 'BOB@EXAMPLE.ORG', 'of bob'),
    (3, 'bob@example.org', 'of bob too'), (4, 'böb@example.org', 'of nobody');
