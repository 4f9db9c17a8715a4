CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60), user_pass VARCHAR(255),
    pin INTEGER, token CHAR(36));
CREATE TABLE webhooks (id INTEGER PRIMARY KEY, user_id INTEGER, title VARCHAR(20),
    secret CHAR(36), encrypted_key VARCHAR(60), FOREIGN KEY (user_id) REFERENCES users (id));
INSERT INTO users VALUES (1, 'ann@example.org', 'h', 1234, 't'), (2, 'bob@example.org', 'h', 9, 't');
INSERT INTO webhooks VALUES (1, 1, 'ann', 's', 'k'), (2, 2, 'bob', 's', 'k');
