-- name: insert_assertion
-- No row back: this assertion was used before.
INSERT INTO assertion_seen (tenant, client, jti, expires_at) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING RETURNING jti;

-- name: insert_token
INSERT INTO access_token (tenant, token_hash, client, charter, scopes, expires_at)
VALUES ($1, $2, $3, $4, $5, $6);

-- name: select_token
SELECT client, charter, scopes, expires_at FROM access_token
WHERE tenant = $1 AND token_hash = $2 AND expires_at > $3;

-- name: delete_expired_assertions
DELETE FROM assertion_seen WHERE tenant = $1 AND (client, jti) IN
  (SELECT client, jti FROM assertion_seen WHERE tenant = $1 AND expires_at < $2
   LIMIT 100 FOR UPDATE SKIP LOCKED);

-- name: delete_expired_tokens
DELETE FROM access_token WHERE tenant = $1 AND token_hash IN
  (SELECT token_hash FROM access_token WHERE tenant = $1 AND expires_at < $2
   LIMIT 100 FOR UPDATE SKIP LOCKED);
