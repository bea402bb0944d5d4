-- name: select_written
-- What was written, or may have been, within a span of time; the newest intent first. A write is
-- within it if it can have been made there: between its intent and the end of its attempt. Each of
-- $2 to $4 may be null: then it does not narrow. What was erased is not in it.
SELECT p.*, c.body AS content_body, c.edited_by, a.started_at, a.ended_at,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = p.tenant AND k.id = p.sealed_by)
         AS wrapped
FROM proposal p
CROSS JOIN LATERAL (
  SELECT t.started_at, t.ended_at FROM proposal_attempt t
  WHERE t.tenant = p.tenant AND t.proposal = p.id AND t.direction = 'commit'
    AND t.verdict IN ('applied', 'cannot-tell', 'partly')
  ORDER BY t.verdict = 'applied' DESC, t.attempt DESC
  LIMIT 1) AS a
LEFT JOIN proposal_content c
  ON c.tenant = p.tenant AND c.proposal = p.id AND c.version = p.content_version
WHERE p.tenant = $1
  AND (p.sealed_by IS NULL OR EXISTS (
    SELECT FROM patient_key k WHERE k.tenant = p.tenant AND k.id = p.sealed_by))
  AND p.status IN ('committed', 'verified', 'handed-off', 'closed', 'rolling-back')
  AND ($2::text IS NULL OR p.author = $2)
  AND ($3::text IS NULL OR p.charter = $3)
  AND ($4::text IS NULL OR p.stage = $4)
  AND a.ended_at >= $5 AND a.started_at <= $6
ORDER BY a.started_at DESC, p.id
LIMIT $7;

-- name: count_under_way
-- What is on its way into a chart, and so may still be written after a look.
SELECT count(*) FROM proposal p
WHERE p.tenant = $1 AND p.status IN ('approved', 'committing')
  AND ($2::text IS NULL OR p.author = $2)
  AND ($3::text IS NULL OR p.charter = $3)
  AND ($4::text IS NULL OR p.stage = $4);

-- name: select_undone
-- What was taken back, or is being taken back, since a time; the latest first.
SELECT p.*, c.body AS content_body, c.edited_by,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = p.tenant AND k.id = p.sealed_by)
         AS wrapped
FROM proposal p
LEFT JOIN proposal_content c
  ON c.tenant = p.tenant AND c.proposal = p.id AND c.version = p.content_version
WHERE p.tenant = $1 AND p.connection = $2 AND p.status IN ('rolling-back', 'rolled-back')
  AND p.changed_at >= $3
  AND (p.sealed_by IS NULL OR EXISTS (
    SELECT FROM patient_key k WHERE k.tenant = p.tenant AND k.id = p.sealed_by))
ORDER BY p.changed_at DESC, p.id
LIMIT $4;
