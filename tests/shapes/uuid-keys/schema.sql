CREATE TABLE users (id UUID PRIMARY KEY, email VARCHAR(60)); -- on postgresql, mariadb
CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id UUID NOT NULL, body VARCHAR(60),
    FOREIGN KEY (user_id) REFERENCES users (id)); -- on postgresql, mariadb
CREATE TABLE users (id CHAR(36) PRIMARY KEY, email VARCHAR(60)); -- on sqlite
CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id CHAR(36) NOT NULL, body VARCHAR(60),
    FOREIGN KEY (user_id) REFERENCES users (id)); -- on sqlite
INSERT INTO users VALUES ('123e4567-e89b-12d3-a456-426614174000', 'ann@example.org'),
    ('123e4567-e89b-12d3-a456-42661417400a', 'bob@example.org');
INSERT INTO notes VALUES (1, '123e4567-e89b-12d3-a456-426614174000', 'of ann'),
    (2, '123e4567-e89b-12d3-a456-42661417400a', 'of bob');
