CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60), default_address_id INTEGER
    REFERENCES addresses (id)); -- on sqlite
CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60),
    default_address_id INTEGER); -- on postgresql, mariadb
CREATE TABLE addresses (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, street VARCHAR(60),
    FOREIGN KEY (user_id) REFERENCES users (id));
INSERT INTO users VALUES (1, 'ann@example.org', NULL), (2, 'bob@example.org', NULL);
INSERT INTO addresses VALUES (5, 1, 'Ann Street'), (6, 2, 'Bob Street'), (7, 1, 'Second Street');
UPDATE users SET default_address_id = 7 WHERE id = 1;
ALTER TABLE users ADD FOREIGN KEY (default_address_id)
    REFERENCES addresses (id); -- on postgresql, mariadb
