-- name: upsert_person
INSERT INTO person (tenant, name, password_hash, roles, sites) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant, name) DO UPDATE
  SET password_hash = EXCLUDED.password_hash, roles = EXCLUDED.roles, sites = EXCLUDED.sites,
      failures = 0, locked_until = NULL;

-- name: delete_sessions_of
DELETE FROM person_session WHERE tenant = $1 AND person = $2;

-- name: select_person
SELECT name, password_hash, roles, sites, failures, locked_until FROM person
WHERE tenant = $1 AND name = $2;

-- name: count_failure
-- The count starts anew once a lock has run out.
UPDATE person SET
  failures = CASE WHEN locked_until <= $3 THEN 1 ELSE failures + 1 END,
  locked_until = CASE
    WHEN (CASE WHEN locked_until <= $3 THEN 1 ELSE failures + 1 END) >= $4 THEN $5::timestamptz
    WHEN locked_until <= $3 THEN NULL
    ELSE locked_until END
WHERE tenant = $1 AND name = $2;

-- name: clear_failures
UPDATE person SET failures = 0, locked_until = NULL WHERE tenant = $1 AND name = $2;

-- name: insert_session
INSERT INTO person_session (tenant, session_hash, person, csrf, seen_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6);

-- name: select_session
SELECT s.csrf, s.seen_at, p.name, p.roles, p.sites
FROM person_session s JOIN person p ON p.tenant = s.tenant AND p.name = s.person
WHERE s.tenant = $1 AND s.session_hash = $2 AND s.expires_at > $3 AND s.seen_at > $4;

-- name: touch_session
UPDATE person_session SET seen_at = $3
WHERE tenant = $1 AND session_hash = $2 AND seen_at < $3;

-- name: delete_session
DELETE FROM person_session WHERE tenant = $1 AND session_hash = $2;

-- name: delete_old_sessions
DELETE FROM person_session WHERE tenant = $1 AND (expires_at <= $2 OR seen_at <= $3);
