CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60));
CREATE TABLE visits (user_id INTEGER NOT NULL, page VARCHAR(60),
    FOREIGN KEY (user_id) REFERENCES users (id));
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO visits VALUES (1, 'home'), (1, 'home'), (2, 'home');
