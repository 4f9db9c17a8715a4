CREATE TABLE users (id TEXT PRIMARY KEY, email VARCHAR(60)); -- on sqlite, postgresql
CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id TEXT COLLATE RTRIM, body VARCHAR(60)); -- on sqlite
CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id CHAR(10), body VARCHAR(60)); -- on postgresql
CREATE TABLE users (id VARCHAR(21) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    email VARCHAR(60)); -- on mariadb
CREATE TABLE notes (id INTEGER PRIMARY KEY,
    user_id VARCHAR(21) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci,
    body VARCHAR(60)); -- on mariadb
INSERT INTO users VALUES ('zoe', 'ann@example.org'), ('zoë', 'bob@example.org');
INSERT INTO notes VALUES (1, 'zoe', 'of ann'), (2, 'zoë', 'of bob');
INSERT INTO notes VALUES (3, 'zoe ', 'of nobody'), (4, 'Zoe', 'of nobody'); -- on sqlite, mariadb
