-- name: insert_halt
INSERT INTO halt (tenant, scope, reason, halted_by, halted_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant, scope) DO UPDATE
  SET reason = EXCLUDED.reason, halted_by = EXCLUDED.halted_by, halted_at = EXCLUDED.halted_at;

-- name: delete_halt
DELETE FROM halt WHERE tenant = $1 AND scope = $2;

-- name: select_in_force
SELECT reason FROM halt WHERE tenant = $1 AND scope IN ('*', $2) ORDER BY scope LIMIT 1;

-- name: select_halts
SELECT scope, reason, halted_by, halted_at FROM halt WHERE tenant = $1 ORDER BY scope;
