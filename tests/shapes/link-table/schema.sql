CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60));
CREATE TABLE clubs (id INTEGER PRIMARY KEY, title VARCHAR(60));
CREATE TABLE club_users (club_id INTEGER, user_id INTEGER, PRIMARY KEY (club_id, user_id),
    FOREIGN KEY (club_id) REFERENCES clubs (id), FOREIGN KEY (user_id) REFERENCES users (id));
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO clubs VALUES (1, 'chess'), (2, 'rowing'), (3, 'empty');
INSERT INTO club_users VALUES (1, 1), (1, 2), (2, 2);
