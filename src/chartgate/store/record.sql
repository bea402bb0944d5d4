-- name: insert_versions
-- A version whose key was deleted is sealed anew by the key that its patient has now.
INSERT INTO record_version AS v
  (tenant, connection, resource_type, id, digest, version, body, sealed_by, seen_at, message, trace)
SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::bytea[], $6::text[], $7::bytea[],
                             $8::bigint[], $9::timestamptz[], $10::bigint[], $11::text[])
ON CONFLICT (tenant, connection, resource_type, id, digest) DO UPDATE
  SET body = EXCLUDED.body, sealed_by = EXCLUDED.sealed_by, message = EXCLUDED.message,
      trace = EXCLUDED.trace
  WHERE v.sealed_by IS DISTINCT FROM EXCLUDED.sealed_by;

-- name: upsert_current
-- A copy that is older than the one we have never takes its place.
INSERT INTO record AS r (tenant, connection, resource_type, id, digest, version, as_of, stamps,
                         sealed_by)
SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::bytea[], $6::text[], $7::timestamptz[],
                             $8::text[], $9::bigint[])
ON CONFLICT (tenant, connection, resource_type, id) DO UPDATE
  SET digest = EXCLUDED.digest, version = EXCLUDED.version, as_of = EXCLUDED.as_of,
      stamps = EXCLUDED.stamps, sealed_by = EXCLUDED.sealed_by
  WHERE r.as_of <= EXCLUDED.as_of OR NOT (r.sealed_by IS NULL OR EXISTS (
    SELECT FROM patient_key k WHERE k.tenant = r.tenant AND k.id = r.sealed_by));

-- name: select_current
SELECT r.digest, r.version, v.body, v.sealed_by, r.as_of,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = v.sealed_by) AS wrapped
FROM record r JOIN record_version v USING (tenant, connection, resource_type, id, digest)
WHERE r.tenant = $1 AND r.connection = $2 AND r.resource_type = $3 AND r.id = $4;

-- name: select_version
SELECT v.body, v.sealed_by,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = v.sealed_by) AS wrapped
FROM record_version v
WHERE v.tenant = $1 AND v.connection = $2 AND v.resource_type = $3 AND v.id = $4 AND v.digest = $5;

-- name: touch_current
UPDATE record SET as_of = $6
WHERE tenant = $1 AND connection = $2 AND resource_type = $3 AND id = $4 AND version = $5
  AND as_of < $6;

-- name: select_versions
-- Each by its key, and by a plan that is made once, as in select_bodies.
SELECT wanted.resource_type || '/' || wanted.id AS reference, v.digest, v.body, v.sealed_by,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = v.sealed_by) AS wrapped
FROM unnest((SELECT $3::text[]), (SELECT $4::text[]), (SELECT $5::bytea[]))
  AS wanted (resource_type, id, digest)
CROSS JOIN LATERAL (
  SELECT x.digest, x.body, x.sealed_by FROM record_version x
  WHERE x.tenant = $1 AND x.connection = $2 AND x.resource_type = wanted.resource_type
    AND x.id = wanted.id AND x.digest = wanted.digest
  LIMIT 1) AS v;

-- name: select_bodies
-- Each by its key: a plan for freshly filled tables would else read all of them, every time. What is
-- wanted comes from subqueries: with its number in sight it would be planned anew, every time.
SELECT wanted.resource_type || '/' || wanted.id AS reference, r.version, r.digest, v.body,
       v.sealed_by, r.as_of, r.stamps,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = v.sealed_by) AS wrapped
FROM unnest((SELECT $3::text[]), (SELECT $4::text[])) AS wanted (resource_type, id)
CROSS JOIN LATERAL (
  SELECT c.version, c.digest, c.as_of, c.stamps
  FROM record c
  WHERE c.tenant = $1 AND c.connection = $2 AND c.resource_type = wanted.resource_type
    AND c.id = wanted.id
  LIMIT 1) AS r
CROSS JOIN LATERAL (
  SELECT x.body, x.sealed_by FROM record_version x
  WHERE x.tenant = $1 AND x.connection = $2 AND x.resource_type = wanted.resource_type
    AND x.id = wanted.id AND x.digest = r.digest
  LIMIT 1) AS v;

-- name: select_origin
SELECT message, trace FROM record_version
WHERE tenant = $1 AND connection = $2 AND resource_type = $3 AND id = $4 AND digest = $5;
