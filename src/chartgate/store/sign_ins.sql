-- name: insert_attempt_to_sign_in
INSERT INTO sign_in_attempt
  (tenant, state_hash, browser_hash, way, then_path, session_hash, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: delete_old_attempts
-- What has expired, and beyond the newest $3 also what has not: a flood of strangers who begin and
-- never come back must neither fill the disk nor keep staff out.
DELETE FROM sign_in_attempt WHERE tenant = $1 AND expires_at <= greatest($2, coalesce((
  SELECT expires_at FROM sign_in_attempt WHERE tenant = $1
  ORDER BY expires_at DESC OFFSET $3 LIMIT 1), $2));

-- name: take_attempt
-- It is gone whatever comes of it: a state works once.
DELETE FROM sign_in_attempt WHERE tenant = $1 AND state_hash = $2
RETURNING browser_hash, way, then_path, session_hash, expires_at;
