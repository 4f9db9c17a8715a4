CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60), settings JSON);
CREATE TABLE measures (id INTEGER PRIMARY KEY, user_id INTEGER, weight FLOAT,
    FOREIGN KEY (user_id) REFERENCES users (id));
INSERT INTO users VALUES (1, 'ann@example.org', '{"theme": "dark", "sizes": [1, 2]}'),
    (2, 'bob@example.org', NULL);
INSERT INTO measures VALUES (1, 1, 16777216), (2, 1, 1234567.75), (3, 2, 0.1);
