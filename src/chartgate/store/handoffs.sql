-- name: insert_handoff
-- One for each proposal, ever: the second is refused by its key.
INSERT INTO handoff
  (tenant, id, proposal, worklist, site, reason, opened_at, due_at, status)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open');

-- name: select_handoff
SELECT * FROM handoff WHERE tenant = $1 AND id = $2;

-- name: select_handoff_of
SELECT * FROM handoff WHERE tenant = $1 AND proposal = $2;

-- name: select_handoffs
SELECT * FROM handoff
WHERE tenant = $1 AND status <> 'closed' AND site = ANY ($2)
  AND ($3::text IS NULL OR worklist = $3)
ORDER BY due_at LIMIT $4;

-- name: move_handoff
UPDATE handoff SET status = $4, taken_by = $5, outcome = $6
WHERE tenant = $1 AND id = $2 AND status = $3 AND taken_by IS NOT DISTINCT FROM $7;
