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

-- A superuser who runs this must run nothing that the application planted: before anything is called,
-- only pg_catalog is searched, and what is called is named with its schema.

DO $roles$
DECLARE
    -- What your sections read. Yours differ? Name them here.
    people pg_catalog.text[] := ARRAY['users', 'workflows', 'workflow_runs', 'api_tokens', 'audit_logs'];
    ours   pg_catalog.text[] := ARRAY['dsar_requests', 'dsar_attempts', 'dsar_sweeps'];
    home   pg_catalog.text := pg_catalog.current_schema();
    name   pg_catalog.text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    FOREACH name IN ARRAY ARRAY['dsar_owner', 'dsar', 'dsar_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I LOGIN', name);
        END IF;
        EXECUTE pg_catalog.format(
            'GRANT CONNECT ON DATABASE %I TO %I', pg_catalog.current_database(), name
        );
        EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %I', home, name);
    END LOOP;
    EXECUTE pg_catalog.format('GRANT CREATE ON SCHEMA %I TO dsar_owner', home);
    ALTER ROLE dsar_reader SET default_transaction_read_only = on;

    FOREACH name IN ARRAY ours || ARRAY['dsar_schema_version'] LOOP
        -- Not migrated yet?
        CONTINUE WHEN pg_catalog.to_regclass(pg_catalog.format('%I.%I', home, name)) IS NULL;
        -- One that was there before, and is adopted, belongs to somebody else.
        EXECUTE pg_catalog.format('ALTER TABLE %I.%I OWNER TO dsar_owner', home, name);
        EXECUTE pg_catalog.format('GRANT SELECT ON %I.%I TO dsar', home, name);
        IF name = ANY (ours) THEN
            EXECUTE pg_catalog.format(
                'GRANT INSERT, UPDATE, DELETE ON %I.%I TO dsar', home, name
            );
        END IF;
    END LOOP;
    name := pg_catalog.format('%I.dsar_requests', home);
    IF pg_catalog.to_regclass(name) IS NOT NULL THEN
        name := pg_catalog.pg_get_serial_sequence(name, 'id');
        IF name IS NOT NULL THEN
            EXECUTE pg_catalog.format('GRANT USAGE ON SEQUENCE %s TO dsar', name);
        END IF;
    END IF;

    FOREACH name IN ARRAY people LOOP
        IF pg_catalog.to_regclass(pg_catalog.format('%I.%I', home, name)) IS NOT NULL THEN
            EXECUTE pg_catalog.format('GRANT SELECT ON %I.%I TO dsar_reader', home, name);
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
