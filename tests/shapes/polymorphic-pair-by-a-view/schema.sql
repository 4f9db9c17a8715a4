CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60));
CREATE TABLE products (id INTEGER PRIMARY KEY, title VARCHAR(60));
CREATE TABLE attachments (id INTEGER PRIMARY KEY, record_type VARCHAR(40), record_id INTEGER,
    filename VARCHAR(60));
CREATE VIEW user_attachments AS
    SELECT id, record_id AS user_id, filename FROM attachments WHERE record_type = 'User';
INSERT INTO users VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO products VALUES (1, 'lamp');
INSERT INTO attachments VALUES (1, 'User', 1, 'ann.pdf'), (2, 'Product', 1, 'lamp.png'),
    (3, 'User', 2, 'bob.pdf');
