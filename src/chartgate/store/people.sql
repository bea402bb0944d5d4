-- name: upsert_person
-- Only of our own: an account that a provider vouches for is not given a password.
INSERT INTO person (tenant, name, password_hash, roles, sites, sealed)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant, name) DO UPDATE
  SET password_hash = EXCLUDED.password_hash, roles = EXCLUDED.roles, sites = EXCLUDED.sites,
      sealed = EXCLUDED.sealed, failures = 0, locked_until = NULL, opened_at = NULL,
      removed_at = NULL
  WHERE person.issuer IS NULL
RETURNING name;

-- name: delete_sessions_of
DELETE FROM person_session WHERE tenant = $1 AND person = $2;

-- name: select_person
SELECT name, password_hash, roles, sites, locked_until, issuer, sealed, opened_at, removed_at
FROM person WHERE tenant = $1 AND name = $2;

-- name: lock_subject
-- Sign-ins of one subject queue here.
SELECT pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2 || ' ' || $3, 1));

-- name: select_subject
SELECT name, roles, sites, removed_at FROM person
WHERE tenant = $1 AND issuer = $2 AND subject = $3;

-- name: insert_subject
-- A name that somebody has, or had, is nobody else's.
INSERT INTO person (tenant, name, roles, sites, issuer, subject) VALUES ($1, $2, $5, $6, $3, $4)
ON CONFLICT (tenant, name) DO NOTHING
RETURNING name;

-- name: update_subject
UPDATE person SET roles = $3, sites = $4 WHERE tenant = $1 AND name = $2;

-- name: count_failure
-- The count starts anew once a lock has run out.
UPDATE person SET
  failures = CASE WHEN locked_until <= $3 THEN 1 ELSE failures + 1 END,
  locked_until = CASE
    WHEN (CASE WHEN locked_until <= $3 THEN 1 ELSE failures + 1 END) >= $4 THEN $5::timestamptz
    WHEN locked_until <= $3 THEN NULL
    ELSE locked_until END
WHERE tenant = $1 AND name = $2;

-- name: break_seal
-- The secret is used up: of two who show it at once, one gets in.
UPDATE person SET password_hash = NULL, opened_at = $4
WHERE tenant = $1 AND name = $2 AND password_hash = $3 AND sealed AND removed_at IS NULL
RETURNING name;

-- name: clear_failures
UPDATE person SET failures = 0, locked_until = NULL WHERE tenant = $1 AND name = $2;

-- name: lock_person
-- Until this transaction ends nobody removes them, opens a session for them or changes them.
SELECT name FROM person WHERE tenant = $1 AND name = $2 AND removed_at IS NULL FOR UPDATE;

-- name: remove_person
UPDATE person SET removed_at = $3, password_hash = NULL
WHERE tenant = $1 AND name = $2 AND removed_at IS NULL
RETURNING name;

-- name: restore_person
UPDATE person SET removed_at = NULL
WHERE tenant = $1 AND name = $2 AND removed_at IS NOT NULL
RETURNING name;

-- name: select_people
SELECT p.name, p.roles, p.sites, p.issuer, p.sealed, p.opened_at, p.removed_at,
       p.password_hash IS NOT NULL AS has_secret,
       count(s.session_hash) AS sessions, max(s.seen_at) AS seen_at
FROM person p LEFT JOIN person_session s
  ON s.tenant = p.tenant AND s.person = p.name AND s.expires_at > $2 AND s.seen_at > $3
WHERE p.tenant = $1
GROUP BY p.tenant, p.name ORDER BY p.name;

-- name: insert_session
INSERT INTO person_session (tenant, session_hash, person, csrf, roles, sites, mfa, sealed, patient,
  seen_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: select_session
SELECT s.person AS name, s.csrf, s.seen_at, s.roles, s.sites, s.mfa, s.sealed, s.patient
FROM person_session s JOIN person p ON p.tenant = s.tenant AND p.name = s.person
WHERE s.tenant = $1 AND s.session_hash = $2 AND s.expires_at > $3 AND s.seen_at > $4
  AND p.removed_at IS NULL;

-- name: touch_session
UPDATE person_session SET seen_at = $3
WHERE tenant = $1 AND session_hash = $2 AND seen_at < $3;

-- name: delete_session
DELETE FROM person_session WHERE tenant = $1 AND session_hash = $2;

-- name: delete_old_sessions
DELETE FROM person_session WHERE tenant = $1 AND (expires_at <= $2 OR seen_at <= $3);
