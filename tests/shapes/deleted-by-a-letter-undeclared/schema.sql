CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60));
CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, gone CHAR(1),
    body VARCHAR(60), FOREIGN KEY (user_id) REFERENCES users (id));
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO notes VALUES (1, 1, 'N', 'kept'), (2, 1, 'Y', 'deleted'), (3, 1, NULL, 'kept too'),
    (4, 2, 'y', 'in small letters'), (5, 2, '', 'empty'), (6, 2, 'Y', 'deleted');
