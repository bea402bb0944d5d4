-- name: insert_provenance_due
-- Beside the move to verified. One a proposal, whatever happens.
INSERT INTO provenance_due (tenant, proposal, status, changed_at)
VALUES ($1, $2, 'due', $3)
ON CONFLICT (tenant, proposal) DO UPDATE SET changed_at = EXCLUDED.changed_at
RETURNING 1;

-- name: claim_provenance
UPDATE provenance_due SET fence = fence + 1, lease_until = $3
WHERE tenant = $1 AND proposal = (
  SELECT d.proposal FROM provenance_due d
  WHERE d.tenant = $1 AND d.status = 'due'
    AND (d.lease_until IS NULL OR d.lease_until <= $2)
    AND (d.next_try_at IS NULL OR d.next_try_at <= $2)
  ORDER BY d.next_try_at NULLS FIRST, d.proposal
  LIMIT 1
  FOR UPDATE SKIP LOCKED)
RETURNING proposal, fence, attempts;

-- name: postpone_provenance
UPDATE provenance_due SET lease_until = NULL, next_try_at = $4, attempts = attempts + 1
WHERE tenant = $1 AND proposal = $2 AND fence = $3;

-- name: end_provenance
UPDATE provenance_due
SET status = $4, reference = $5, reason = $6, changed_at = $7, lease_until = NULL
WHERE tenant = $1 AND proposal = $2 AND fence = $3 AND status = 'due'
RETURNING proposal;

-- name: select_provenance
SELECT status, reference, reason FROM provenance_due WHERE tenant = $1 AND proposal = $2;
