CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60));
CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, deleted BIT(1),
    FOREIGN KEY (user_id) REFERENCES users (id)); -- on mariadb, postgresql
CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, deleted BOOLEAN,
    FOREIGN KEY (user_id) REFERENCES users (id)); -- on sqlite
CREATE TABLE files (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, deleted_at TIMESTAMP NULL,
    FOREIGN KEY (user_id) REFERENCES users (id));
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO notes VALUES (1, 1, b'0'), (2, 1, b'1'), (3, 2, NULL), (4, 2, b'1'); -- on mariadb, postgresql
INSERT INTO notes VALUES (1, 1, FALSE), (2, 1, TRUE), (3, 2, NULL), (4, 2, TRUE); -- on sqlite
INSERT INTO files VALUES (1, 1, NULL), (2, 1, '2026-01-01 00:00:00'), (3, 2, NULL);
