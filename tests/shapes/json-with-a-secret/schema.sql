CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(60), settings JSON);
INSERT INTO users VALUES
    (1, 'ann@example.org', '{"theme": "dark", "smtp": {"host": "a", "password": "S3CRET"}}'),
    (2, 'bob@example.org', '{"smtp": [{"PASSWORD": "S3CRET"}, {"password": "S3CRET"}]}');
