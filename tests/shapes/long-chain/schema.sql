CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60));
CREATE TABLE boards (id INTEGER PRIMARY KEY, user_id INTEGER,
    FOREIGN KEY (user_id) REFERENCES users (id));
CREATE TABLE lists (id INTEGER PRIMARY KEY, board_id INTEGER,
    FOREIGN KEY (board_id) REFERENCES boards (id));
CREATE TABLE cards (id INTEGER PRIMARY KEY, list_id INTEGER,
    FOREIGN KEY (list_id) REFERENCES lists (id));
CREATE TABLE checks (id INTEGER PRIMARY KEY, card_id INTEGER, done INTEGER,
    FOREIGN KEY (card_id) REFERENCES cards (id));
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO boards VALUES (10, 1), (11, 2);
INSERT INTO lists VALUES (20, 10), (21, 11), (22, 10);
INSERT INTO cards VALUES (30, 20), (31, 21), (32, 22), (33, NULL);
INSERT INTO checks VALUES (40, 30, 1), (41, 31, 0), (42, 32, 0), (43, 33, 1);
