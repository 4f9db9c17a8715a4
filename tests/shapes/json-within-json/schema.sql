CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60), settings TEXT);
INSERT INTO users VALUES
    (1, 'ann@example.org', '{"theme": "dark", "smtp": {"password": "S3CRET", "host": "a"}}'),
    (2, 'bob@example.org', '{''smtp'': {''password'': ''S3CRET''}}');
