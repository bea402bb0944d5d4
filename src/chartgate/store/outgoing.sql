-- name: insert_outgoing
-- A control id that is here already is left alone: what caused it was done before.
INSERT INTO outgoing (tenant, queued_at, status, reason, destination, lane, control_id, cause,
                      patient, raw, sealed_by)
SELECT $1, $2, $3, $4, * FROM unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                                     $10::bytea[], $11::bigint[])
ON CONFLICT (tenant, control_id, destination) DO NOTHING
RETURNING id, control_id;

-- name: ensure_lanes
INSERT INTO outgoing_lane (tenant, next_try_at, destination, lane)
SELECT $1, $2, * FROM unnest($3::text[], $4::text[])
ON CONFLICT (tenant, destination, lane) DO NOTHING;

-- name: notify_outgoing
SELECT pg_notify('chartgate_work', $1);

-- name: claim_lanes
-- Of each destination as many lanes as there is room for, those first that were left alone
-- longest. A lane is held as a whole: a message that commits late under a smaller id than one on
-- its way cannot go out beside it.
WITH due AS MATERIALIZED (
  SELECT l.destination, l.lane
  FROM unnest($4::text[], $5::int[]) AS room (destination, free)
  CROSS JOIN LATERAL (
    SELECT destination, lane FROM outgoing_lane
    WHERE tenant = $1 AND destination = room.destination AND next_try_at <= $2
      AND (lease_until IS NULL OR lease_until <= $2)
      AND EXISTS (SELECT FROM outgoing o
                  WHERE o.tenant = $1 AND o.destination = outgoing_lane.destination
                    AND o.lane = outgoing_lane.lane AND o.status IN ('queued', 'sent'))
    ORDER BY next_try_at, claimed_at NULLS FIRST, lane
    LIMIT room.free FOR UPDATE SKIP LOCKED) l
)
UPDATE outgoing_lane l SET fence = l.fence + 1, lease_until = $3, claimed_at = $2
FROM due
WHERE l.tenant = $1 AND l.destination = due.destination AND l.lane = due.lane
RETURNING l.destination, l.lane AS name, l.fence, l.failures;

-- name: hold_lane
-- An answer ($6) shows that the link works; a try that has yet to be answered shows nothing.
UPDATE outgoing_lane
SET lease_until = $5, failures = CASE WHEN $6 THEN 0 ELSE failures END,
    last_error = CASE WHEN $6 THEN NULL ELSE last_error END
WHERE tenant = $1 AND destination = $2 AND lane = $3 AND fence = $4;

-- name: release_lane
UPDATE outgoing_lane SET lease_until = NULL
WHERE tenant = $1 AND destination = $2 AND lane = $3 AND fence = $4;

-- name: select_head
SELECT id, destination, lane, control_id, cause, patient, raw, status, attempts, refusals,
       queued_at, sealed_by,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = sealed_by) AS wrapped
FROM outgoing
WHERE tenant = $1 AND destination = $2 AND lane = $3 AND status IN ('queued', 'sent')
  AND id <> $4
ORDER BY id LIMIT 1;

-- name: mark_sent
UPDATE outgoing SET status = 'sent', attempts = attempts + 1
WHERE tenant = $1 AND id = $2 AND status = $3;

-- name: settle_sent
UPDATE outgoing
SET status = $3, ack = $4, reason = $5, ended_at = $6, refusals = refusals + ($3 = 'failed')::int
WHERE tenant = $1 AND id = $2 AND status = 'sent';

-- name: put_off_lane
UPDATE outgoing_lane
SET lease_until = NULL, next_try_at = $5, failures = $6, last_error = $7
WHERE tenant = $1 AND destination = $2 AND lane = $3 AND fence = $4;

-- name: note_refusal
UPDATE outgoing SET refusals = refusals + 1, ack = $3 WHERE tenant = $1 AND id = $2;

-- name: lock_outgoing
SELECT id, status, destination, cause, patient, applied FROM outgoing
WHERE tenant = $1 AND control_id = $2 AND ($3::text IS NULL OR destination = $3)
  AND status <> 'queued'
FOR UPDATE;

-- name: apply_outgoing
UPDATE outgoing
SET status = $4, applied = $5, applied_at = $6, reason = $7, ended_at = coalesce(ended_at, $6)
WHERE tenant = $1 AND id = $2 AND status = $3;

-- name: count_by_destination
SELECT destination, count(*) AS waiting, min(queued_at) AS oldest_at, max(attempts) AS attempts
FROM outgoing WHERE tenant = $1 AND status IN ('queued', 'sent')
GROUP BY destination;

-- name: select_failed_by_destination
SELECT destination, count(*) AS failed, (array_agg(reason ORDER BY id DESC))[1] AS last_failure
FROM outgoing WHERE tenant = $1 AND status = 'failed'
GROUP BY destination;

-- name: select_lane_errors
-- Of each destination the lane that has failed most often in a row.
SELECT DISTINCT ON (destination) destination, failures, last_error, next_try_at
FROM outgoing_lane WHERE tenant = $1
ORDER BY destination, last_error IS NULL, failures DESC;
