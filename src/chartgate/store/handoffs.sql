-- name: insert_handoff
-- One for each proposal, ever: the second is refused by its key.
INSERT INTO handoff
  (tenant, id, proposal, worklist, site, reason, opened_at, due_at, status, cause, assigned_to,
   step, escalate_at, revision)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9, $10, 0, $11, 1);

-- name: insert_item
INSERT INTO handoff_item (tenant, handoff, connection, kind, state, next_look_at)
VALUES ($1, $2, $3, $4, 'waiting', $5);

-- name: select_handoff
SELECT * FROM handoff WHERE tenant = $1 AND id = $2;

-- name: select_handoff_of
SELECT * FROM handoff WHERE tenant = $1 AND proposal = $2;

-- name: select_handoffs
-- $3 may be null: then it does not narrow the list.
SELECT * FROM handoff
WHERE tenant = $1 AND status <> 'closed' AND site = ANY ($2)
  AND ($3::text IS NULL OR worklist = $3)
ORDER BY due_at, id LIMIT $4;

-- name: select_unfinished
SELECT * FROM handoff WHERE tenant = $1 AND status <> 'closed' ORDER BY due_at, id LIMIT $2;

-- name: move_handoff
-- Whoever saw another revision moves nothing. Its item outside is looked at at once.
WITH moved AS (
  UPDATE handoff SET status = $4, worklist = $5, assigned_to = $6, taken_by = $7, outcome = $8,
    step = $9, escalate_at = $10, taken_at = $11, closed_at = $12, overdue_at = $13,
    revision = revision + 1
  WHERE tenant = $1 AND id = $2 AND revision = $3
  RETURNING id
), woken AS (
  UPDATE handoff_item i SET next_look_at = least(i.next_look_at, $14::timestamptz) FROM moved
  WHERE i.tenant = $1 AND i.handoff = moved.id
)
SELECT count(*) FROM moved;

-- name: notify_handoff
SELECT pg_notify('chartgate_work', 'handoff');

-- name: select_to_escalate
SELECT * FROM handoff
WHERE tenant = $1 AND status = 'open' AND escalate_at <= $2
ORDER BY escalate_at, id LIMIT 1;

-- name: select_not_noticed
SELECT * FROM handoff
WHERE tenant = $1 AND status <> 'closed' AND overdue_at IS NULL AND due_at <= $2
ORDER BY due_at, id LIMIT 1;

-- name: claim_items
WITH claimed AS (
  UPDATE handoff_item SET fence = fence + 1, lease_until = $3
  WHERE tenant = $1 AND handoff IN (
    SELECT handoff FROM handoff_item
    WHERE tenant = $1 AND state IN ('waiting', 'standing') AND next_look_at <= $2
      AND (lease_until IS NULL OR lease_until <= $2)
    ORDER BY next_look_at, handoff LIMIT $4
    FOR UPDATE SKIP LOCKED)
  RETURNING *)
SELECT * FROM claimed ORDER BY next_look_at, handoff;

-- name: select_item
SELECT * FROM handoff_item WHERE tenant = $1 AND handoff = $2;

-- name: select_are_items
SELECT EXISTS (SELECT FROM handoff_item
               WHERE tenant = $1 AND connection = $2 AND reference = ANY ($3));

-- name: select_items
SELECT * FROM handoff_item WHERE tenant = $1 AND handoff = ANY ($2);

-- name: intend_item
-- The last look before a write goes out: still ours, and no halt. With it the intent is durable.
UPDATE handoff_item i SET sent_at = coalesce(i.sent_at, $4)
WHERE i.tenant = $1 AND i.handoff = $2 AND i.fence = $3 AND i.lease_until > $4
RETURNING EXISTS (
  SELECT FROM halt h WHERE h.tenant = i.tenant AND h.scope IN ('*', $5)) AS halted;

-- name: settle_item
-- What moved meanwhile is looked at again at once.
UPDATE handoff_item i SET
  state = $4, reference = $5, version = $6, shown = $7, attempts = 0, last_error = $8,
  lease_until = NULL,
  next_look_at = CASE WHEN h.revision > $7 THEN $9::timestamptz ELSE $10::timestamptz END
FROM handoff h
WHERE i.tenant = $1 AND i.handoff = $2 AND i.fence = $3
  AND h.tenant = i.tenant AND h.id = i.handoff
RETURNING i.state;

-- name: put_off_item
UPDATE handoff_item
SET lease_until = NULL, next_look_at = $4, attempts = attempts + 1, last_error = $5
WHERE tenant = $1 AND handoff = $2 AND fence = $3;

-- name: lock_handoffs_of
-- Submissions of one author queue here, so that the limit is counted exactly.
SELECT pg_advisory_xact_lock(hashtextextended($1 || ' handoffs of ' || $2, 0));

-- name: count_open_of
-- How many of one author's proposals staff have for these causes.
SELECT count(*) FROM handoff h JOIN proposal p ON p.tenant = h.tenant AND p.id = h.proposal
WHERE h.tenant = $1 AND p.author = $2 AND p.charter = $3 AND h.cause = ANY ($4)
  AND h.status <> 'closed';

-- name: select_stalled
-- Approved, not sent for so long, and nothing under way that may still arrive.
SELECT p.id FROM proposal p
WHERE p.tenant = $1 AND p.status = 'approved' AND p.decided_at <= $2
  AND p.connection = ANY ($3) AND p.charter || '/' || p.action = ANY ($4)
  AND (p.lease_until IS NULL OR p.lease_until <= $5)
  AND (p.sealed_by IS NULL OR EXISTS (
    SELECT FROM patient_key k WHERE k.tenant = p.tenant AND k.id = p.sealed_by))
  AND NOT EXISTS (
    SELECT FROM proposal_attempt a
    WHERE a.tenant = p.tenant AND a.proposal = p.id AND a.verdict IS NULL)
ORDER BY p.decided_at, p.id LIMIT 1;

-- name: select_figures
SELECT worklist, cause,
  count(*) FILTER (WHERE status = 'open') AS open,
  count(*) FILTER (WHERE status = 'taken') AS taken,
  count(*) FILTER (WHERE status <> 'closed' AND due_at < $2) AS overdue,
  count(*) FILTER (WHERE taken_at > $3) AS acknowledged,
  coalesce(sum(extract(epoch FROM taken_at - opened_at)) FILTER (WHERE taken_at > $3), 0)::float8
    AS acknowledged_s
FROM handoff WHERE tenant = $1 AND (status <> 'closed' OR taken_at > $3)
GROUP BY worklist, cause ORDER BY worklist, cause;

-- name: select_items_behind
SELECT connection, count(*) AS waiting FROM handoff_item
WHERE tenant = $1 AND state = 'waiting' AND attempts > 0 GROUP BY connection;
