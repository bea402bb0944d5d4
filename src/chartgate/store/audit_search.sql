-- name: search_events
-- What is asked for narrows; NULL leaves open. Newest first, from before ($9, $10) on. An event
-- about several patients is found by each of them.
WITH found AS (
  (SELECT id, recorded, body FROM audit_event
   WHERE tenant = $1 AND ($2::text IS NULL OR patient = $2)
     AND ($3::text IS NULL OR agent = $3) AND ($4::text IS NULL OR action = $4)
     AND ($5::text IS NULL OR outcome = $5) AND ($6::text IS NULL OR site = $6)
     AND recorded >= $7 AND recorded < $8 AND (recorded, id) < ($9, $10)
   ORDER BY recorded DESC, id DESC LIMIT $11)
  UNION ALL
  (SELECT id, recorded, body FROM audit_event
   WHERE tenant = $1 AND $2 IS NOT NULL AND patients IS NOT NULL AND patients @> ARRAY[$2]
     AND patient IS DISTINCT FROM $2
     AND ($3::text IS NULL OR agent = $3) AND ($4::text IS NULL OR action = $4)
     AND ($5::text IS NULL OR outcome = $5) AND ($6::text IS NULL OR site = $6)
     AND recorded >= $7 AND recorded < $8 AND (recorded, id) < ($9, $10)
   ORDER BY recorded DESC, id DESC LIMIT $11)
)
SELECT f.id, f.recorded, f.body,
       (SELECT l.seq FROM ledger_leaf l WHERE l.tenant = $1 AND l.event_id = f.id) AS seq
FROM found f
ORDER BY f.recorded DESC, f.id DESC
LIMIT $11;

-- name: plan_anew
-- Which index is best depends on what is asked for, so no plan is kept for all questions.
SET LOCAL plan_cache_mode = force_custom_plan;

-- name: count_by_agent
-- Activity of each agent, by action and outcome, in a span of time.
SELECT agent, action, outcome, count(*) AS events,
       count(DISTINCT patient) AS patients, min(recorded) AS first, max(recorded) AS last
FROM audit_event
WHERE tenant = $1 AND recorded >= $2 AND recorded < $3
GROUP BY agent, action, outcome
ORDER BY agent, action, outcome;

-- name: count_by_agent_and_hour
SELECT agent, date_trunc('hour', recorded, 'UTC') AS hour, count(*) AS events
FROM audit_event
WHERE tenant = $1 AND recorded >= $2 AND recorded < $3 AND action LIKE 'fhir.%'
GROUP BY 1, 2;

-- name: insert_review
INSERT INTO audit_review (tenant, since, until, signed_by, signed_at, digest, note)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: read_reviews
SELECT since, until, signed_by, signed_at, digest, note FROM audit_review
WHERE tenant = $1 AND until > $2 AND since < $3 ORDER BY signed_at;

-- name: insert_accounting
INSERT INTO accounting (tenant, id, patient, since, until, made_by, made_at, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: count_accountings
SELECT count(*) FROM accounting WHERE tenant = $1 AND patient = $2 AND made_at >= $3;

-- name: read_accounting
SELECT body FROM accounting WHERE tenant = $1 AND id = $2;

-- name: put_suspension
INSERT INTO accounting_suspension (tenant, patient, recipient, until, reason, set_by, set_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (tenant, patient, recipient) DO UPDATE
SET until = EXCLUDED.until, reason = EXCLUDED.reason, set_by = EXCLUDED.set_by,
    set_at = EXCLUDED.set_at;

-- name: read_suspensions
SELECT recipient, until FROM accounting_suspension
WHERE tenant = $1 AND patient = $2 AND until > $3;
