CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60));
CREATE TABLE bookings (id INTEGER PRIMARY KEY, user_id INTEGER, room VARCHAR(20), margin INTEGER,
    FOREIGN KEY (user_id) REFERENCES users (id));
CREATE VIEW shown_bookings AS SELECT id AS number, user_id, room FROM bookings;
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO bookings VALUES (1, 1, 'blue', 30), (2, 2, 'red', 40);
