-- name: select_current_many
-- The body comes along only where the caller does not hold that very version already.
-- The epoch comes with each row, and a row with each question. What was erased is not there,
-- whether the caller holds it still or not.
SELECT w.position, r.version, r.digest, r.as_of, v.body,
       coalesce((SELECT epoch FROM governance WHERE tenant = $1), 0), v.sealed_by,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = v.sealed_by)
FROM unnest($2::integer[], $3::text[], $4::text[], $5::text[], $6::bytea[])
       AS w (position, connection, resource_type, id, known)
LEFT JOIN record r ON r.tenant = $1 AND r.connection = w.connection
       AND r.resource_type = w.resource_type AND r.id = w.id
       AND (r.sealed_by IS NULL OR EXISTS (SELECT FROM patient_key k
                                           WHERE k.tenant = $1 AND k.id = r.sealed_by))
LEFT JOIN record_version v ON v.tenant = $1 AND v.connection = w.connection
       AND v.resource_type = w.resource_type AND v.id = w.id AND v.digest = r.digest
       AND r.digest IS DISTINCT FROM w.known;

-- name: touch_current_many
UPDATE record r SET as_of = t.as_of
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
       AS t (connection, resource_type, id, version, as_of)
WHERE r.tenant = $1 AND r.connection = t.connection AND r.resource_type = t.resource_type
  AND r.id = t.id AND r.version = t.version AND r.as_of < t.as_of;
