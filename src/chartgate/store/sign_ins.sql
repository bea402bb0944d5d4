-- name: insert_attempt_to_sign_in
INSERT INTO sign_in_attempt
  (tenant, state_hash, browser_hash, way, then_path, session_hash, expires_at)
SELECT $1, $2, $3, $4, $5, $6, $7
WHERE (SELECT count(*) FROM (SELECT FROM sign_in_attempt WHERE tenant = $1 LIMIT $8) AS under_way) < $8
RETURNING way;

-- name: delete_old_attempts
DELETE FROM sign_in_attempt WHERE tenant = $1 AND expires_at <= $2;

-- name: take_attempt
-- It is gone whatever comes of it: a state works once.
DELETE FROM sign_in_attempt WHERE tenant = $1 AND state_hash = $2
RETURNING browser_hash, way, then_path, session_hash, expires_at;
