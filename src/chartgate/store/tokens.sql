-- name: insert_assertion
-- No row back: this assertion was used before.
INSERT INTO assertion_seen (tenant, client, jti, expires_at) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING RETURNING jti;

-- name: insert_token
INSERT INTO access_token
  (tenant, token_hash, client, charter, scopes, sites, audience, issued_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: insert_service_token
INSERT INTO service_token (tenant, token_hash, service, audience, issued_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6);

-- name: select_token
-- With the epoch at which it was found, so that whoever keeps it knows when to ask again.
SELECT token_hash, client, charter, scopes, sites, audience, issued_at, expires_at,
       coalesce((SELECT epoch FROM governance WHERE tenant = $1), 0) AS epoch
FROM access_token WHERE tenant = $1 AND token_hash = $2 AND expires_at > $3;

-- name: select_service_token
SELECT token_hash, service, audience, issued_at, expires_at
FROM service_token WHERE tenant = $1 AND token_hash = $2 AND expires_at > $3;

-- name: select_tokens
SELECT token_hash, 'client' AS kind, client AS holder, charter, scopes, sites, audience,
       issued_at, expires_at
FROM access_token WHERE tenant = $1 AND expires_at > $2
UNION ALL
SELECT token_hash, 'service', service, '', '{}', '{}', audience, issued_at, expires_at
FROM service_token WHERE tenant = $1 AND expires_at > $2
ORDER BY issued_at, token_hash LIMIT $3;

-- name: delete_tokens
-- Which go: one, or all of a client, of a service, or of everybody. Null: not asked for.
WITH clients AS (
  DELETE FROM access_token
  WHERE tenant = $1 AND ($2::bytea IS NULL OR token_hash = $2)
    AND ($3::text IS NULL OR client = $3) AND $4::text IS NULL
  RETURNING token_hash
), services AS (
  DELETE FROM service_token
  WHERE tenant = $1 AND ($2::bytea IS NULL OR token_hash = $2)
    AND ($4::text IS NULL OR service = $4) AND $3::text IS NULL
  RETURNING token_hash
)
SELECT token_hash FROM clients UNION ALL SELECT token_hash FROM services;

-- name: delete_expired_assertions
DELETE FROM assertion_seen WHERE tenant = $1 AND (client, jti) IN
  (SELECT client, jti FROM assertion_seen WHERE tenant = $1 AND expires_at < $2
   LIMIT 100 FOR UPDATE SKIP LOCKED);

-- name: delete_expired_tokens
DELETE FROM access_token WHERE tenant = $1 AND token_hash IN
  (SELECT token_hash FROM access_token WHERE tenant = $1 AND expires_at < $2
   LIMIT 100 FOR UPDATE SKIP LOCKED);

-- name: delete_expired_service_tokens
DELETE FROM service_token WHERE tenant = $1 AND token_hash IN
  (SELECT token_hash FROM service_token WHERE tenant = $1 AND expires_at < $2
   LIMIT 100 FOR UPDATE SKIP LOCKED);
