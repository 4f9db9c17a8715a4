CREATE TABLE users (id INTEGER PRIMARY KEY, "e mail" VARCHAR(60), "100%" INTEGER);
CREATE TABLE "order history" ("nr." INTEGER PRIMARY KEY, "user:id" INTEGER NOT NULL,
    "größe" INTEGER, "it's" VARCHAR(20), FOREIGN KEY ("user:id") REFERENCES users (id));
INSERT INTO users VALUES (1, 'ann@example.org', 10), (2, 'bob@example.org', 20);
INSERT INTO "order history" VALUES (1, 1, 7, 'ann'), (2, 2, 8, 'bob');
