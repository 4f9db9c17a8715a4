CREATE TABLE "Customer" ("CustomerId" INTEGER PRIMARY KEY, "eMail" VARCHAR(60));
CREATE TABLE "SupportTicket" ("TicketId" INTEGER PRIMARY KEY, "CustomerId" INTEGER NOT NULL,
    "openedAt" DATE, FOREIGN KEY ("CustomerId") REFERENCES "Customer" ("CustomerId"));
INSERT INTO "Customer" VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO "SupportTicket" VALUES (1, 1, '2026-01-31'), (2, 2, '2024-02-29');
