CREATE TABLE employees (id INTEGER PRIMARY KEY, name VARCHAR(60), manager_id INTEGER,
    FOREIGN KEY (manager_id) REFERENCES employees (id));
CREATE TABLE reviews (id INTEGER PRIMARY KEY, employee_id INTEGER NOT NULL, grade INTEGER,
    FOREIGN KEY (employee_id) REFERENCES employees (id));
INSERT INTO employees VALUES (1, 'Ann', NULL), (2, 'Bob', 1), (3, 'Cid', 3);
INSERT INTO reviews VALUES (1, 1, 5), (2, 2, 4), (3, 3, 3);
