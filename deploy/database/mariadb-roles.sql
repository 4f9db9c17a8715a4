-- Three users, each with what it needs and no more:
--
--   dsar_owner   runs `dsar migrate`: makes and alters our tables
--   dsar         DSAR_DATABASE_URL: reads and writes our tables, and nothing of the people's
--   dsar_reader  DSAR_SOURCE_DATABASE_URL: reads the people's tables, and writes nothing
--
-- As root, in the application's database, before `dsar migrate` and once more after it, also at an
-- upgrade (see "Database roles" in deploy/RUNBOOK.md). May be repeated. MariaDB grants nothing on a
-- table that is not there, hence the IFs.
--
--   mariadb app < deploy/database/mariadb-roles.sql
--
-- They are made locked. Then: ALTER USER dsar IDENTIFIED BY '...' ACCOUNT UNLOCK;

CREATE USER IF NOT EXISTS dsar_owner ACCOUNT LOCK;
CREATE USER IF NOT EXISTS dsar ACCOUNT LOCK;
CREATE USER IF NOT EXISTS dsar_reader ACCOUNT LOCK;

-- ALL holds CREATE, which is why these may be granted before the tables are there.
GRANT ALL PRIVILEGES ON dsar_requests TO dsar_owner;
GRANT ALL PRIVILEGES ON dsar_attempts TO dsar_owner;
GRANT ALL PRIVILEGES ON dsar_sweeps TO dsar_owner;
GRANT ALL PRIVILEGES ON dsar_schema_version TO dsar_owner;

SET @migrated = EXISTS (
    SELECT 1 FROM information_schema.tables
    WHERE table_schema = DATABASE() AND table_name = 'dsar_schema_version'
);
EXECUTE IMMEDIATE IF(@migrated, 'GRANT SELECT, INSERT, UPDATE, DELETE ON dsar_requests TO dsar', 'DO 0');
EXECUTE IMMEDIATE IF(@migrated, 'GRANT SELECT, INSERT, UPDATE, DELETE ON dsar_attempts TO dsar', 'DO 0');
EXECUTE IMMEDIATE IF(@migrated, 'GRANT SELECT, INSERT, UPDATE, DELETE ON dsar_sweeps TO dsar', 'DO 0');
EXECUTE IMMEDIATE IF(@migrated, 'GRANT SELECT ON dsar_schema_version TO dsar', 'DO 0');

-- What your sections read. Yours differ? Name them here.
GRANT SELECT ON users TO dsar_reader;
GRANT SELECT ON workflows TO dsar_reader;
GRANT SELECT ON workflow_runs TO dsar_reader;
GRANT SELECT ON api_tokens TO dsar_reader;
GRANT SELECT ON audit_logs TO dsar_reader;

-- With a replica as the source, one thing more: it tells a person whom the replica does not have yet
-- from one who is gone. Without it both are tried again until the attempts are used up.
--   GRANT SELECT (id) ON users TO dsar;
-- The application opens requests as a user of its own:
--   GRANT INSERT ON dsar_requests TO app;
