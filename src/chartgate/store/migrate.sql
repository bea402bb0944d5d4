-- name: lock_migrations
-- Of the session: a transaction's own would be given back between two migrations.
SELECT pg_advisory_lock(hashtext('chartgate.migrate'));

-- name: create_migration_table
CREATE TABLE IF NOT EXISTS migration (
  version integer PRIMARY KEY,
  name text NOT NULL,
  digest text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: list_migrations
SELECT version, digest FROM migration ORDER BY version;

-- name: insert_migration
INSERT INTO migration (version, name, digest) VALUES ($1, $2, $3);

-- name: read_store_facts
SELECT current_setting('server_version_num')::integer AS server_version_num,
       current_setting('server_version') AS server_version,
       current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       role.rolname AS role, role.rolsuper AS is_superuser, role.rolbypassrls AS bypasses_rls,
       (SELECT coalesce(array_agg(c.relname::text ORDER BY c.relname), '{}')
          FROM pg_class c
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
           AND c.relpersistence = 'u') AS unlogged
  FROM pg_roles role WHERE role.rolname = current_user;
