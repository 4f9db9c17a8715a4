CREATE TABLE users (id integer PRIMARY KEY, email text);
CREATE TABLE orders (id integer PRIMARY KEY, user_id integer REFERENCES users, total integer);
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO orders VALUES (1, 1, 10), (2, 2, 20), (3, 1, 5);
CREATE MATERIALIZED VIEW spending AS
    SELECT user_id, sum(total)::integer AS spent FROM orders GROUP BY user_id;
