CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60) NOT NULL);
CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, total NUMERIC(8, 2),
    FOREIGN KEY (user_id) REFERENCES users (id));
CREATE TABLE order_lines (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, title VARCHAR(60),
    FOREIGN KEY (order_id) REFERENCES orders (id));
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO orders VALUES (10, 1, 9.90), (11, 2, 1.00), (12, 1, NULL);
INSERT INTO order_lines VALUES (100, 10, 'lamp'), (101, 11, 'cup'), (102, 12, 'pen');
