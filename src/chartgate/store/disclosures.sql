-- name: select_frames
SELECT f.event_id, f.recorded, f.digest, f.sealed_by, f.frame, f.resource_key,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = f.sealed_by) AS wrapped,
       (SELECT e.body FROM audit_event e WHERE e.tenant = $1 AND e.id = f.event_id) AS event
FROM disclosure_frame f WHERE f.tenant = $1 AND f.interaction = $2 ORDER BY f.event_id;

-- name: select_bodies
-- A row for each that is asked for, whether it is still here or not.
SELECT w.digest, w.sealed_by, d.body,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = w.sealed_by) AS wrapped
FROM unnest($2::bytea[], $3::bigint[]) AS w (digest, sealed_by)
LEFT JOIN disclosure d ON d.tenant = $1 AND d.digest = w.digest AND d.sealed_by = w.sealed_by;
