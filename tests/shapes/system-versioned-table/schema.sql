CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60));
CREATE TABLE addresses (id INTEGER PRIMARY KEY, user_id INTEGER, street VARCHAR(60),
    FOREIGN KEY (user_id) REFERENCES users (id)) WITH SYSTEM VERSIONING;
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO addresses VALUES (1, 1, 'First Street'), (2, 2, 'Other Street');
UPDATE addresses SET street = 'Second Street' WHERE id = 1;
