CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60));
CREATE TABLE posts (id INTEGER PRIMARY KEY, user_id INTEGER, title VARCHAR(60));
CREATE TABLE comments (id INTEGER PRIMARY KEY, post_id INTEGER, body VARCHAR(60));
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO posts VALUES (1, 1, 'of ann'), (2, 2, 'of bob'), (3, NULL, 'an orphan');
INSERT INTO comments VALUES (1, 1, 'below ann'), (2, 2, 'below bob'), (3, 3, 'below an orphan'),
    (4, 99, 'below nothing');
