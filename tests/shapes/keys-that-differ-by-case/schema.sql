CREATE TABLE users (id TEXT PRIMARY KEY, email VARCHAR(60)); -- on sqlite
CREATE TABLE messages (id INTEGER PRIMARY KEY, user_id TEXT COLLATE NOCASE, body VARCHAR(60)); -- on sqlite
CREATE TABLE users (id VARCHAR(21) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    email VARCHAR(60)); -- on mariadb
CREATE TABLE messages (id INTEGER PRIMARY KEY,
    user_id VARCHAR(21) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci,
    body VARCHAR(60)); -- on mariadb
INSERT INTO users VALUES ('v1StGXR8', 'ann@example.org'), ('V1STGXR8', 'bob@example.org');
INSERT INTO messages VALUES (1, 'v1StGXR8', 'of ann'), (2, 'V1STGXR8', 'of bob'),
    (3, 'v1stgxr8', 'of nobody');
