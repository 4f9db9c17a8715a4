-- Three roles, each with what it needs and no more:
--
--   dsar_owner   runs `dsar migrate`: owns our tables
--   dsar         DSAR_DATABASE_URL: reads and writes our tables, and nothing of the people's
--   dsar_reader  DSAR_SOURCE_DATABASE_URL: reads the people's tables, and writes nothing
--
-- As a superuser, in the application's database, before `dsar migrate` and once more after it, also
-- at an upgrade (see "Database roles" in deploy/RUNBOOK.md). May be repeated.
--
--   psql -d app -v ON_ERROR_STOP=1 -1 -f deploy/database/postgresql-roles.sql
--
-- No password is set here, and without one none of them can log in by password: \password dsar

DO $roles$
DECLARE
    -- What your sections read. Yours differ? Name them here.
    people text[] := ARRAY['users', 'workflows', 'workflow_runs', 'api_tokens', 'audit_logs'];
    ours   text[] := ARRAY['dsar_requests', 'dsar_attempts', 'dsar_sweeps'];
    name   text;
BEGIN
    FOREACH name IN ARRAY ARRAY['dsar_owner', 'dsar', 'dsar_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', name);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), name);
    END LOOP;
    EXECUTE format('GRANT CREATE ON SCHEMA %I TO dsar_owner', current_schema());
    ALTER ROLE dsar_reader SET default_transaction_read_only = on;

    FOREACH name IN ARRAY ours || ARRAY['dsar_schema_version'] LOOP
        CONTINUE WHEN to_regclass(name) IS NULL; -- not migrated yet
        -- One that was there before, and is adopted, belongs to somebody else.
        EXECUTE format('ALTER TABLE %I OWNER TO dsar_owner', name);
        EXECUTE format('GRANT SELECT ON %I TO dsar', name);
        IF name = ANY (ours) THEN
            EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %I TO dsar', name);
        END IF;
    END LOOP;
    IF to_regclass('dsar_requests') IS NOT NULL THEN
        name := pg_get_serial_sequence('dsar_requests', 'id');
        IF name IS NOT NULL THEN
            EXECUTE format('GRANT USAGE ON SEQUENCE %s TO dsar', name);
        END IF;
    END IF;

    FOREACH name IN ARRAY people LOOP
        IF to_regclass(name) IS NOT NULL THEN
            EXECUTE format('GRANT SELECT ON %I TO dsar_reader', name);
        END IF;
    END LOOP;
END
$roles$;

-- Have the people's tables row-level security? An export that a policy shortens is refused:
--   ALTER ROLE dsar_reader BYPASSRLS;
-- With a replica as the source, one thing more: it tells a person whom the replica does not have yet
-- from one who is gone. Without it both are tried again until the attempts are used up.
--   GRANT SELECT (id) ON users TO dsar;
-- The application opens requests as a role of its own:
--   GRANT INSERT ON dsar_requests TO app;
