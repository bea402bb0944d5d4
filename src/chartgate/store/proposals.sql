-- name: insert_proposal
INSERT INTO proposal
  (tenant, id, charter, charter_digest, action, site, connection, author, interaction,
   idempotency_key, stage, status, content_version, content_digest, confidence, rationale,
   created_at, due_at, decided_by, decided_at, decided_digest, reason, changed_at, patient,
   sealed_by, seed, replaces)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
        $20, $21, $22, $17, $23, $24, $25, $26);

-- name: insert_content
INSERT INTO proposal_content
  (tenant, proposal, version, digest, body, edited_by, created_at, touches)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: select_key
-- What a proposal is sealed by.
SELECT p.sealed_by,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = p.tenant AND k.id = p.sealed_by)
         AS wrapped
FROM proposal p WHERE p.tenant = $1 AND p.id = $2;

-- name: lock_author
-- Submissions of one author queue here, so that the budget is counted exactly.
SELECT pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0));

-- name: count_open
SELECT count(*) FROM proposal
WHERE tenant = $1 AND author = $2 AND charter = $3 AND seed IS NULL
  AND status IN ('pending-review', 'approved', 'conflicted', 'committing');

-- name: select_proposal
SELECT p.*, c.body AS content_body, c.edited_by,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = p.tenant AND k.id = p.sealed_by)
         AS wrapped
FROM proposal p
LEFT JOIN proposal_content c
  ON c.tenant = p.tenant AND c.proposal = p.id AND c.version = p.content_version
WHERE p.tenant = $1 AND p.id = $2;

-- name: select_by_key
SELECT p.id, c.digest AS first_digest
FROM proposal p
LEFT JOIN proposal_content c ON c.tenant = p.tenant AND c.proposal = p.id AND c.version = 1
WHERE p.tenant = $1 AND p.author = $2 AND p.idempotency_key = $3;

-- name: select_listed
-- Each of $2 to $5 may be null: then it does not narrow the list. What was erased is not in it; an
-- author is shown only what is really theirs.
SELECT p.*, c.body AS content_body, c.edited_by,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = p.tenant AND k.id = p.sealed_by)
         AS wrapped
FROM proposal p
LEFT JOIN proposal_content c
  ON c.tenant = p.tenant AND c.proposal = p.id AND c.version = p.content_version
WHERE p.tenant = $1
  AND (p.sealed_by IS NULL OR EXISTS (
    SELECT FROM patient_key k WHERE k.tenant = p.tenant AND k.id = p.sealed_by))
  AND ($2::text[] IS NULL OR p.status = ANY ($2))
  AND ($3::text IS NULL OR p.author = $3 AND p.seed IS NULL)
  AND ($4::text[] IS NULL OR p.charter = ANY ($4))
  AND ($5::text[] IS NULL OR p.site = ANY ($5))
ORDER BY p.created_at DESC, p.id
LIMIT $6;

-- name: select_contents
SELECT c.version, c.digest, c.body, c.edited_by, p.sealed_by,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = p.tenant AND k.id = p.sealed_by)
         AS wrapped
FROM proposal p JOIN proposal_content c ON c.tenant = p.tenant AND c.proposal = p.id
WHERE p.tenant = $1 AND p.id = $2 ORDER BY c.version;

-- name: move_proposal
-- The fence keeps out a worker whose lease has passed to another.
UPDATE proposal SET
  status = $5, content_version = $6, content_digest = $7, due_at = $8, decided_by = $9,
  decided_at = $10, decided_digest = $11, reason = $12, receipt = $13, compensation = $14,
  attempts = $15, next_try_at = $16, changed_at = $17,
  lease_until = CASE WHEN $18 THEN lease_until END
WHERE tenant = $1 AND id = $2 AND status = $3 AND fence = $4 AND content_version = $19
  -- What is sealed now could not be read again if the patient had been erased meanwhile.
  AND ($20::bigint IS NULL OR EXISTS (
    SELECT FROM patient_key k WHERE k.tenant = $1 AND k.id = $20))
RETURNING status;

-- name: claim_proposal
-- A halt leaves what is only approved where it is; what was sent is still resolved by reading. What
-- touches what another one in work touches waits for it: each guard looks at what the others leave.
-- Each status is read in the order of its index until one fits, however many there are. The plan is
-- made once, since making it costs more than to run it: a value from a subquery cannot change it.
-- What is looked up by key is a value too: planned on a young table, a join would read all of it.
WITH busy AS MATERIALIZED (
  SELECT coalesce(array_agg(touched), '{}') AS touches
  FROM proposal o, unnest((
    SELECT w.touches FROM proposal_content w
    WHERE w.tenant = o.tenant AND w.proposal = o.id AND w.version = o.content_version)) AS touched
  WHERE o.tenant = $1 AND o.lease_until IS NOT NULL  -- few are, as its statistics say
    AND o.lease_until > (SELECT $3::timestamptz)),
claimed AS (
  UPDATE proposal SET fence = fence + 1, lease_until = $4
  WHERE tenant = $1 AND id = (
    SELECT due.id FROM unnest((SELECT $2::text[])) AS waiting(status), LATERAL (
      SELECT p.id, coalesce(p.next_try_at, '-infinity') AS since, p.decided_at
      FROM proposal p
      WHERE p.tenant = $1 AND p.status = waiting.status AND p.seed IS NULL
        AND p.status IN ('pending-review', 'approved', 'conflicted', 'committing', 'committed',
                         'expired', 'mismatched', 'rolling-back')  -- as the index says it
        AND coalesce(p.next_try_at, '-infinity') <= (SELECT $3::timestamptz)
        AND (p.lease_until IS NULL OR p.lease_until <= (SELECT $3::timestamptz))
        AND (p.sealed_by IS NULL OR (
          SELECT k.id FROM patient_key k WHERE k.tenant = p.tenant AND k.id = p.sealed_by)
          IS NOT NULL)
        AND (p.status <> 'approved' OR NOT EXISTS (
          SELECT FROM halt h WHERE h.tenant = p.tenant AND h.scope IN ('*', p.charter)))
        AND NOT (SELECT touches FROM busy) && (
          SELECT t.touches FROM proposal_content t
          WHERE t.tenant = p.tenant AND t.proposal = p.id AND t.version = p.content_version)
      ORDER BY coalesce(p.next_try_at, '-infinity'), p.decided_at, p.id
      LIMIT 1
      FOR UPDATE SKIP LOCKED) due
    ORDER BY due.since, due.decided_at, due.id
    LIMIT 1)
  RETURNING *)
SELECT p.*, c.body AS content_body, c.edited_by,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = p.tenant AND k.id = p.sealed_by)
         AS wrapped
FROM claimed p
LEFT JOIN proposal_content c
  ON c.tenant = p.tenant AND c.proposal = p.id AND c.version = p.content_version;

-- name: select_overdue
SELECT p.id FROM proposal p
WHERE p.tenant = $1
  AND (p.sealed_by IS NULL OR EXISTS (
    SELECT FROM patient_key k WHERE k.tenant = p.tenant AND k.id = p.sealed_by))
  AND (p.status = 'pending-review' AND p.due_at <= $2
       OR p.status IN ('expired', 'conflicted', 'mismatched'))
ORDER BY p.due_at, p.id
LIMIT 1;

-- name: select_may_send
-- The last look before a write goes out: still ours, still decided, and no halt. A charter that
-- went back to shadow meanwhile holds commits, but nothing that takes back what was written ($7).
SELECT
  coalesce(
    (SELECT h.reason FROM halt h
     WHERE h.tenant = $1 AND h.scope IN ('*', p.charter) LIMIT 1),
    (SELECT s.stage FROM charter_stage s
     WHERE s.tenant = $1 AND s.charter = p.charter AND s.stage = 'shadow'
       AND p.status = 'committing' AND NOT $7)) AS halted,
  p.fence = $3 AND p.lease_until > $4 AND p.status = $5 AND p.seed IS NULL
    AND p.decided_digest = p.content_digest AND p.content_digest = $6 AS ours,
  p.lease_until,
  -- Two that were taken up in one moment: the one with the lower id goes first.
  EXISTS (
    SELECT FROM proposal o
    WHERE o.tenant = $1 AND o.lease_until IS NOT NULL
      AND o.lease_until > (SELECT $4::timestamptz) AND o.id < p.id
      AND t.touches && (
        SELECT w.touches FROM proposal_content w
        WHERE w.tenant = o.tenant AND w.proposal = o.id AND w.version = o.content_version))
    AS waits
FROM proposal p JOIN proposal_content t
  ON t.tenant = p.tenant AND t.proposal = p.id AND t.version = p.content_version
WHERE p.tenant = $1 AND p.id = $2;

-- name: postpone_proposal
UPDATE proposal SET lease_until = NULL, next_try_at = $4, attempts = attempts + $5
WHERE tenant = $1 AND id = $2 AND fence = $3;

-- name: wake_waiting
UPDATE proposal SET next_try_at = NULL
WHERE tenant = $1 AND $2 IN ('*', charter)
  AND (status IN ('approved', 'rolling-back') OR status = 'committing' AND lease_until IS NULL);

-- name: insert_attempt
INSERT INTO proposal_attempt
  (tenant, proposal, direction, attempt, fence, intent, started_at)
SELECT $1, $2, $3, coalesce(max(attempt), 0) + 1, $4, $5, $6
FROM proposal_attempt WHERE tenant = $1 AND proposal = $2 AND direction = $3
RETURNING attempt;

-- name: end_attempts
-- $4 is the attempt that was applied, if one was: all others were not.
UPDATE proposal_attempt SET
  verdict = CASE WHEN attempt = $4 THEN 'applied' ELSE $5 END, ended_at = $6
WHERE tenant = $1 AND proposal = $2 AND direction = $3 AND verdict IS NULL
RETURNING attempt;

-- name: end_attempt
UPDATE proposal_attempt SET verdict = $5, ended_at = $6
WHERE tenant = $1 AND proposal = $2 AND direction = $3 AND attempt = $4 AND verdict IS NULL;

-- name: note_done
-- Only while the proposal is still this worker's; a claim by another waits for this, or this for it.
WITH ours AS (
  SELECT p.id FROM proposal p WHERE p.tenant = $1 AND p.id = $2 AND p.fence = $6 FOR SHARE)
UPDATE proposal_attempt a SET done = $5 FROM ours
WHERE a.tenant = $1 AND a.proposal = ours.id AND a.direction = $3 AND a.attempt = $4
  AND a.verdict IS NULL
RETURNING a.attempt;

-- name: select_attempts
SELECT a.attempt, a.fence, a.intent, a.done, a.started_at, a.verdict, p.sealed_by,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = p.tenant AND k.id = p.sealed_by)
         AS wrapped
FROM proposal p JOIN proposal_attempt a ON a.tenant = p.tenant AND a.proposal = p.id
WHERE p.tenant = $1 AND p.id = $2 AND a.direction = $3 ORDER BY a.attempt;

-- name: notify_work
SELECT pg_notify('chartgate_work', $1);
