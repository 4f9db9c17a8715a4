CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60));
CREATE TABLE messages (id INTEGER PRIMARY KEY, sender_id INTEGER NOT NULL, recipient_id INTEGER,
    body VARCHAR(60), FOREIGN KEY (sender_id) REFERENCES users (id),
    FOREIGN KEY (recipient_id) REFERENCES users (id));
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org'), (3, 'cid@example.org');
INSERT INTO messages VALUES (1, 1, 2, 'to bob'), (2, 2, 1, 'to ann'), (3, 1, 1, 'to myself'),
    (4, 2, 3, 'not of ann'), (5, 1, NULL, 'a draft');
