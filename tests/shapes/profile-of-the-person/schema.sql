CREATE TABLE profiles (id INTEGER PRIMARY KEY, phone VARCHAR(30));
CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60), profile_id INTEGER,
    FOREIGN KEY (profile_id) REFERENCES profiles (id));
INSERT INTO profiles VALUES (7, '+49 30 1'), (8, '+49 30 2'), (9, '+49 30 3');
INSERT INTO users VALUES (1, 'ann@example.org', 8), (2, 'bob@example.org', 7);
