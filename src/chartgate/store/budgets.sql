-- name: lock_scope
SELECT pg_advisory_xact_lock(hashtextextended($1 || ' budget ' || $2, 0));

-- name: count_others
SELECT count(*) FROM patient_met
WHERE tenant = $1 AND scope = $2 AND met_at > $3 AND patient <> ALL ($4::text[]);

-- name: upsert_met
INSERT INTO patient_met (tenant, scope, patient, met_at)
SELECT $1, $2, patient, $3 FROM unnest($4::text[]) AS patient
ON CONFLICT (tenant, scope, patient) DO UPDATE SET met_at = excluded.met_at;

-- name: delete_met_before
DELETE FROM patient_met WHERE tenant = $1 AND (scope, patient) IN (
  SELECT scope, patient FROM patient_met WHERE tenant = $1 AND met_at < $2 LIMIT 100);

-- name: delete_met_of
DELETE FROM patient_met WHERE tenant = $1 AND patient = ANY ($2::text[]);
