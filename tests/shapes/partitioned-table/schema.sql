CREATE TABLE users (id integer PRIMARY KEY, email text);
CREATE TABLE payments (id integer, user_id integer NOT NULL REFERENCES users, paid_on date,
    PRIMARY KEY (id, paid_on)) PARTITION BY RANGE (paid_on);
CREATE TABLE payments_2025 PARTITION OF payments FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE payments_2026 PARTITION OF payments FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO payments VALUES (1, 1, '2025-05-05'), (2, 2, '2025-06-06'), (3, 1, '2026-07-07');
