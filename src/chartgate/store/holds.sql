-- name: insert_hold
INSERT INTO legal_hold (tenant, id, patient, site, reason, placed_by, placed_at)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: lift_hold
UPDATE legal_hold SET lifted_by = $3, lifted_at = $4, lift_reason = $5
WHERE tenant = $1 AND id = $2 AND lifted_by IS NULL;

-- name: select_holds
SELECT id, patient, site, reason, placed_by, placed_at, lifted_by, lifted_at, lift_reason
FROM legal_hold WHERE tenant = $1 AND ($2 OR lifted_by IS NULL) ORDER BY placed_at, id;

-- name: select_holds_on
-- Those in force that hold this patient at this site.
SELECT id FROM legal_hold
WHERE tenant = $1 AND lifted_by IS NULL AND (patient IS NULL OR patient = $2)
  AND (site IS NULL OR site = $3);
