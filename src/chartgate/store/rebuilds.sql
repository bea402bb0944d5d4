-- name: insert_rebuild
INSERT INTO rebuild (tenant, connection, revision, overrides, started_by, started_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING RETURNING connection;

-- name: select_rebuild
SELECT connection, revision, overrides, cursor, folded, filtered, refused, examples, started_by,
       started_at
FROM rebuild WHERE tenant = $1 AND connection = $2;

-- name: select_rebuilds
SELECT connection, revision, overrides, cursor, folded, filtered, refused, examples, started_by,
       started_at
FROM rebuild WHERE tenant = $1 ORDER BY connection;

-- name: lock_rebuild
-- Two that continue one rebuild take turns.
SELECT connection, revision, overrides, cursor, folded, filtered, refused, examples, started_by,
       started_at
FROM rebuild WHERE tenant = $1 AND connection = $2 FOR UPDATE;

-- name: advance
WITH taken AS (
  INSERT INTO rebuild_message (tenant, connection, id)
  SELECT $1, $2, unnest($3::bigint[])
)
UPDATE rebuild SET cursor = greatest(cursor, $4), folded = folded + $5, filtered = filtered + $6,
                   refused = refused + cardinality($7::bigint[]),
                   examples = (examples || $7::bigint[])[1:20]
WHERE tenant = $1 AND connection = $2;

-- name: delete_rebuild
DELETE FROM rebuild WHERE tenant = $1 AND connection = $2;

-- name: select_delivered
-- Up to the first that still waits, so that a patient's messages never overtake one another.
SELECT i.id, i.connection, i.message_type, i.raw, i.digest, i.received_at, i.application_ack, i.lane,
       k.key_id, k.wrapped
FROM inbox i
LEFT JOIN LATERAL (SELECT id AS key_id, wrapped FROM patient_key
                   WHERE tenant = $1 AND connection = i.connection AND patient = '' LIMIT 1) k ON true
WHERE i.tenant = $1 AND i.id > $3 AND i.connection = $2 AND i.status = 'delivered'
  AND i.raw <> '' AND ($5 OR i.id < ALL (SELECT w.id FROM inbox w
                       WHERE w.tenant = $1 AND w.status = 'queued' AND w.id > $3
                         AND w.connection = $2
                       ORDER BY w.id LIMIT 1))
ORDER BY i.id LIMIT $4;

-- name: select_behind
-- Delivered after the rebuild had come past them.
SELECT i.id, i.connection, i.message_type, i.raw, i.digest, i.received_at, i.application_ack, i.lane,
       k.key_id, k.wrapped
FROM inbox i
LEFT JOIN LATERAL (SELECT id AS key_id, wrapped FROM patient_key
                   WHERE tenant = $1 AND connection = i.connection AND patient = '' LIMIT 1) k ON true
WHERE i.tenant = $1 AND i.id <= $3 AND i.connection = $2 AND i.status = 'delivered'
  AND i.raw <> ''
  AND NOT EXISTS (SELECT FROM rebuild_message t
                  WHERE t.tenant = $1 AND t.connection = $2 AND t.id = i.id)
ORDER BY i.id LIMIT $4;

-- name: select_messages
SELECT i.id, i.connection, i.message_type, i.raw, i.digest, i.received_at, i.application_ack, i.lane,
       k.key_id, k.wrapped
FROM inbox i
LEFT JOIN LATERAL (SELECT id AS key_id, wrapped FROM patient_key
                   WHERE tenant = $1 AND connection = i.connection AND patient = '' LIMIT 1) k ON true
WHERE i.tenant = $1 AND i.id = ANY($2::bigint[]) ORDER BY i.id;

-- name: count_delivered
-- What was erased is in no rebuild.
SELECT count(*) FROM inbox
WHERE tenant = $1 AND connection = $2 AND status = 'delivered' AND raw <> '';

-- name: hold_processing
-- Until the transaction ends no batch is under way, and none begins.
SELECT pg_advisory_xact_lock(hashtext('chartgate.inbox.switch.' || $1));

-- name: select_differences
-- Where one of the two records lacks a resource, or says otherwise.
SELECT coalesce(a.resource_type, b.resource_type) AS resource_type, coalesce(a.id, b.id) AS id,
       va.body AS before, va.sealed_by AS before_key, a.digest AS before_digest,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = va.sealed_by)
         AS before_wrapped,
       vb.body AS after, vb.sealed_by AS after_key, b.digest AS after_digest,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = vb.sealed_by)
         AS after_wrapped
FROM (SELECT * FROM record WHERE tenant = $1 AND connection = $2) a
FULL JOIN (SELECT * FROM record WHERE tenant = $1 AND connection = $3) b
  USING (resource_type, id)
LEFT JOIN record_version va ON va.tenant = $1 AND va.connection = $2
  AND va.resource_type = a.resource_type AND va.id = a.id AND va.digest = a.digest
LEFT JOIN record_version vb ON vb.tenant = $1 AND vb.connection = $3
  AND vb.resource_type = b.resource_type AND vb.id = b.id AND vb.digest = b.digest
WHERE a.digest IS DISTINCT FROM b.digest;

-- name: copy_versions
-- A version whose key was deleted is replaced by the one that was made since.
INSERT INTO record_version AS o
  (tenant, connection, resource_type, id, digest, version, body, sealed_by, seen_at, message, trace)
SELECT v.tenant, $2, v.resource_type, v.id, v.digest, v.version, v.body, v.sealed_by, v.seen_at,
       v.message, v.trace
FROM record r JOIN record_version v USING (tenant, connection, resource_type, id, digest)
WHERE r.tenant = $1 AND r.connection = $3
ON CONFLICT (tenant, connection, resource_type, id, digest) DO UPDATE
  SET body = EXCLUDED.body, sealed_by = EXCLUDED.sealed_by, message = EXCLUDED.message,
      trace = EXCLUDED.trace
  WHERE o.sealed_by IS DISTINCT FROM EXCLUDED.sealed_by;

-- name: copy_current
INSERT INTO record AS r (tenant, connection, resource_type, id, digest, version, as_of, stamps,
                         sealed_by)
SELECT tenant, $2, resource_type, id, digest, version, as_of, stamps, sealed_by
FROM record WHERE tenant = $1 AND connection = $3
ON CONFLICT (tenant, connection, resource_type, id) DO UPDATE
  SET digest = EXCLUDED.digest, version = EXCLUDED.version, as_of = EXCLUDED.as_of,
      stamps = EXCLUDED.stamps, sealed_by = EXCLUDED.sealed_by;

-- name: delete_missing
-- What the rebuilt record does not know is current no more; its versions stay.
DELETE FROM record r
WHERE r.tenant = $1 AND r.connection = $2 AND NOT EXISTS (
  SELECT FROM record s WHERE s.tenant = $1 AND s.connection = $3
    AND s.resource_type = r.resource_type AND s.id = r.id);

-- name: drop_current
DELETE FROM record WHERE tenant = $1 AND connection = $2;

-- name: drop_versions
DELETE FROM record_version WHERE tenant = $1 AND connection = $2;
