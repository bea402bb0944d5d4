-- name: claim_destination
-- Takes a destination whose time has come and that nobody else is sending to.
INSERT INTO atna_cursor (tenant, destination, seq, next_try_at, lease_until)
VALUES ($1, $2, $5, $3, $4)
ON CONFLICT (tenant, destination) DO UPDATE SET lease_until = EXCLUDED.lease_until
WHERE atna_cursor.next_try_at <= $3
  AND (atna_cursor.lease_until IS NULL OR atna_cursor.lease_until <= $3)
RETURNING seq, failures;

-- name: note_sent
UPDATE atna_cursor
SET seq = $3, failures = 0, next_try_at = $4, lease_until = NULL, sent_at = $4, last_error = NULL
WHERE tenant = $1 AND destination = $2 AND lease_until = $5 AND seq <= $3;

-- name: note_failed
-- What was taken before the failure is kept.
UPDATE atna_cursor
SET seq = $3, failures = failures + 1, next_try_at = $4, lease_until = NULL, last_error = $5
WHERE tenant = $1 AND destination = $2 AND lease_until = $6 AND seq <= $3;

-- name: release
UPDATE atna_cursor SET seq = $3, lease_until = NULL, next_try_at = $4
WHERE tenant = $1 AND destination = $2 AND lease_until = $5 AND seq <= $3;

-- name: read_standing
SELECT c.destination, c.seq, c.failures, c.sent_at, c.last_error,
       coalesce((SELECT max(l.seq) + 1 FROM ledger_leaf l WHERE l.tenant = $1), 0) AS size,
       (SELECT e.recorded FROM audit_event e WHERE e.tenant = $1 AND e.id =
          (SELECT l.event_id FROM ledger_leaf l WHERE l.tenant = $1 AND l.seq = c.seq)) AS oldest
FROM atna_cursor c
WHERE c.tenant = $1
ORDER BY c.destination;
