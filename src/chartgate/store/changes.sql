-- name: select_adopted
SELECT serial, digest, body FROM adopted_state WHERE tenant = $1 AND kind = $2;

-- name: adopt_state
-- The serial says what the caller compared with: whoever comes second changes nothing.
INSERT INTO adopted_state (tenant, kind, serial, digest, body, adopted_at)
VALUES ($1, $2, $3 + 1, $4, $5, $6)
ON CONFLICT (tenant, kind) DO UPDATE
  SET serial = EXCLUDED.serial, digest = EXCLUDED.digest, body = EXCLUDED.body,
      adopted_at = EXCLUDED.adopted_at
  WHERE adopted_state.serial = $3;

-- name: ask_change
-- One that lapsed may be asked for anew; what was approved of it before is forgotten.
INSERT INTO change_request
  (tenant, digest, kind, subject, sentences, asked_by, asked_at, expires_at, status)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'waiting')
ON CONFLICT (tenant, digest) DO UPDATE
  SET asked_by = EXCLUDED.asked_by, asked_at = EXCLUDED.asked_at,
      expires_at = EXCLUDED.expires_at, status = 'waiting'
  WHERE change_request.status IN ('waiting', 'approved')
    AND change_request.expires_at <= EXCLUDED.asked_at;

-- name: delete_lapsed_approvals
DELETE FROM change_approval WHERE tenant = $1 AND digest = $2 AND approved_at < $3;

-- name: select_change
SELECT r.digest, r.kind, r.subject, r.sentences, r.asked_by, r.asked_at, r.expires_at, r.status,
       coalesce(array_agg(a.person ORDER BY a.approved_at) FILTER (WHERE a.person IS NOT NULL),
                '{}') AS approved_by
FROM change_request r
LEFT JOIN change_approval a ON a.tenant = r.tenant AND a.digest = r.digest
WHERE r.tenant = $1 AND r.digest = $2
GROUP BY r.tenant, r.digest;

-- name: select_changes
SELECT r.digest, r.kind, r.subject, r.sentences, r.asked_by, r.asked_at, r.expires_at, r.status,
       coalesce(array_agg(a.person ORDER BY a.approved_at) FILTER (WHERE a.person IS NOT NULL),
                '{}') AS approved_by
FROM change_request r
LEFT JOIN change_approval a ON a.tenant = r.tenant AND a.digest = r.digest
WHERE r.tenant = $1
GROUP BY r.tenant, r.digest
ORDER BY r.asked_at DESC, r.digest
LIMIT $2;

-- name: lock_change
SELECT status FROM change_request WHERE tenant = $1 AND digest = $2 FOR UPDATE;

-- name: insert_approval
INSERT INTO change_approval (tenant, digest, person, approved_at) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING;

-- name: count_approvals
SELECT count(*) FROM change_approval WHERE tenant = $1 AND digest = $2;

-- name: move_change
UPDATE change_request SET status = $4 WHERE tenant = $1 AND digest = $2 AND status = $3;
