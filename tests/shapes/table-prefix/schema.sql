CREATE TABLE app_users (id INTEGER PRIMARY KEY, email VARCHAR(60));
CREATE TABLE app_orders (id INTEGER PRIMARY KEY, user_id INTEGER, total INTEGER);
CREATE TABLE app_order_notes (id INTEGER PRIMARY KEY, order_id INTEGER, body VARCHAR(60));
INSERT INTO app_users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO app_orders VALUES (10, 1, 5), (11, 2, 6);
INSERT INTO app_order_notes VALUES (1, 10, 'of ann'), (2, 11, 'of bob');
