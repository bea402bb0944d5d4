-- name: select_known
-- Each patient by key: what the system of record said, what was recorded here, and the epoch. One
-- plan for any number of them, made once.
SELECT w.site, w.connection, w.patient, s.as_of, s.digest, s.bodies,
       coalesce((SELECT epoch FROM governance WHERE tenant = $1), 0) AS epoch,
       (SELECT array_agg(l.body ORDER BY l.id) FROM consent_local l
        WHERE l.tenant = $1 AND l.site = w.site AND l.patient = w.patient) AS local
FROM unnest((SELECT $2::text[]), (SELECT $3::text[]), (SELECT $4::text[]))
  AS w (site, connection, patient)
LEFT JOIN LATERAL (
  SELECT c.as_of, c.digest, c.bodies FROM consent_state c
  WHERE c.tenant = $1 AND c.connection = w.connection AND c.patient = w.patient
  LIMIT 1) AS s ON true;

-- name: touch_state
UPDATE consent_state SET as_of = greatest(as_of, $5)
WHERE tenant = $1 AND connection = $2 AND patient = $3 AND digest = $4
RETURNING true;

-- name: insert_state
INSERT INTO consent_state (tenant, connection, patient, as_of, digest, bodies)
VALUES ($1, $2, $3, $5, $4, $6)
ON CONFLICT DO NOTHING
RETURNING true;

-- name: replace_state
-- What was said earlier never takes the place of what was said later.
UPDATE consent_state SET as_of = $5, digest = $4, bodies = $6
WHERE tenant = $1 AND connection = $2 AND patient = $3 AND digest <> $4 AND as_of <= $5
RETURNING true;

-- name: put_local
INSERT INTO consent_local (tenant, site, patient, id, kind, body, recorded_by, recorded_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (tenant, site, patient, id) DO UPDATE
  SET kind = EXCLUDED.kind, body = EXCLUDED.body, recorded_by = EXCLUDED.recorded_by,
      recorded_at = EXCLUDED.recorded_at;

-- name: select_local
SELECT id, kind, body, recorded_by, recorded_at FROM consent_local
WHERE tenant = $1 AND site = $2 AND patient = $3
ORDER BY recorded_at, id;

-- name: delete_states
DELETE FROM consent_state WHERE tenant = $1 AND connection = ANY ($2::text[]) AND patient = $3;

-- name: delete_local
DELETE FROM consent_local WHERE tenant = $1 AND site = $2 AND patient = $3;
