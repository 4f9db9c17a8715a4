CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60));
CREATE TABLE audit_logs (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, actor_id INTEGER,
    actor_ip VARCHAR(40), action VARCHAR(40), FOREIGN KEY (user_id) REFERENCES users (id),
    FOREIGN KEY (actor_id) REFERENCES users (id));
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO audit_logs VALUES (1, 1, 2, '10.0.0.2', 'locked'), (2, 1, 1, '10.0.0.1', 'opened'),
    (3, 2, 2, '10.0.0.2', 'opened');
