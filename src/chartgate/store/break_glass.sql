-- name: insert_break_glass
INSERT INTO break_glass (tenant, id, person, site, patient, code, words, sealed, opened_at, ends_at,
  review_due_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: select_break_glass
SELECT * FROM break_glass WHERE tenant = $1 AND id = $2;

-- name: select_active
SELECT * FROM break_glass
WHERE tenant = $1 AND person = $2 AND site = $3 AND patient = $4
  AND ended_at IS NULL AND opened_at <= $5 AND ends_at > $5
LIMIT 1;

-- name: count_opened_since
SELECT count(*) FROM break_glass WHERE tenant = $1 AND person = $2 AND opened_at > $3;

-- name: count_same_words
SELECT count(*) FROM break_glass
WHERE tenant = $1 AND person = $2 AND site = $3 AND patient = $4 AND lower(words) = lower($5);

-- name: end_break_glass
UPDATE break_glass SET ended_at = $3, ended_by = $4
WHERE tenant = $1 AND id = $2 AND ended_at IS NULL
RETURNING id;

-- name: end_all_of
UPDATE break_glass SET ended_at = $3, ended_by = $4
WHERE tenant = $1 AND person = $2 AND ended_at IS NULL AND ends_at > $3
RETURNING *;

-- name: end_due
UPDATE break_glass SET ended_at = ends_at, ended_by = $3
WHERE tenant = $1 AND ended_at IS NULL AND ends_at <= $2
RETURNING *;

-- name: note_overdue
UPDATE break_glass SET overdue_at = $2
WHERE tenant = $1 AND reviewed_at IS NULL AND review_due_at <= $2 AND overdue_at IS NULL
RETURNING *;

-- name: review_break_glass
-- Once, once it has ended, and never by whoever it was.
UPDATE break_glass SET reviewed_at = $3, reviewed_by = $4, finding = $5, remark = $6
WHERE tenant = $1 AND id = $2 AND reviewed_at IS NULL AND ended_at IS NOT NULL
  AND $4::text <> 'person:' || person
RETURNING id;

-- name: select_break_glasses
-- Each of $2 and $3 may be null: then it does not narrow the list.
SELECT * FROM break_glass
WHERE tenant = $1
  AND ($2::text IS NULL OR person = $2)
  AND ($3::text[] IS NULL OR site = ANY ($3))
  AND (NOT $4::boolean OR reviewed_at IS NULL)
ORDER BY reviewed_at IS NOT NULL, opened_at DESC
LIMIT $5;

-- name: count_seen_under
SELECT count(*) FROM audit_event
WHERE tenant = $1 AND agent = $2 AND action IN ('fhir.read', 'fhir.search') AND outcome = 'success'
  AND recorded >= $3 AND recorded <= $4;
