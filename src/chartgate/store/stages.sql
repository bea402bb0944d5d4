-- name: select_stage
SELECT stage FROM charter_stage WHERE tenant = $1 AND charter = $2;

-- name: upsert_stage
INSERT INTO charter_stage (tenant, charter, stage, set_by, set_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant, charter) DO UPDATE
  SET stage = EXCLUDED.stage, set_by = EXCLUDED.set_by, set_at = EXCLUDED.set_at;

-- name: select_standing
SELECT stage, set_at FROM charter_stage WHERE tenant = $1 AND charter = $2;
