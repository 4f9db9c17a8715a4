CREATE TABLE users (id INTEGER PRIMARY KEY, first_name VARCHAR(30), last_name VARCHAR(30),
    initial VARCHAR(1) GENERATED ALWAYS AS (substr(last_name, 1, 1)) STORED);
CREATE TABLE scores (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, points INTEGER,
    doubled INTEGER GENERATED ALWAYS AS (points * 2) STORED,
    FOREIGN KEY (user_id) REFERENCES users (id));
INSERT INTO users (id, first_name, last_name) VALUES (1, 'Ann', 'Example'), (2, 'Bob', 'Sample');
INSERT INTO scores (id, user_id, points) VALUES (1, 1, 21), (2, 2, 4);
