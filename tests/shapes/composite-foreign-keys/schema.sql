CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60));
CREATE TABLE orders (shop INTEGER, number INTEGER, user_id INTEGER NOT NULL,
    PRIMARY KEY (shop, number), FOREIGN KEY (user_id) REFERENCES users (id));
CREATE TABLE order_lines (shop INTEGER, number INTEGER, line INTEGER, title VARCHAR(60),
    PRIMARY KEY (shop, number, line),
    FOREIGN KEY (shop, number) REFERENCES orders (shop, number));
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO orders VALUES (1, 1, 1), (1, 2, 2), (2, 1, 2), (2, 2, 1);
INSERT INTO order_lines VALUES (1, 1, 1, 'ann 11'), (1, 2, 1, 'bob 12'), (2, 1, 1, 'bob 21'),
    (2, 2, 1, 'ann 22');
