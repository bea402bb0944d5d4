-- name: insert_rebuild
INSERT INTO rebuild (tenant, connection, revision, overrides, started_by, started_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING RETURNING connection;

-- name: select_rebuild
SELECT connection, revision, overrides, cursor, folded, refused, examples, started_by, started_at
FROM rebuild WHERE tenant = $1 AND connection = $2;

-- name: select_rebuilds
SELECT connection, revision, overrides, cursor, folded, refused, examples, started_by, started_at
FROM rebuild WHERE tenant = $1 ORDER BY connection;

-- name: advance
UPDATE rebuild SET cursor = $3, folded = folded + $4, refused = refused + $5,
                   examples = (examples || $6::bigint[])[1:20]
WHERE tenant = $1 AND connection = $2 AND cursor < $3;

-- name: delete_rebuild
DELETE FROM rebuild WHERE tenant = $1 AND connection = $2;

-- name: select_delivered
SELECT id, connection, message_type, raw, received_at, application_ack FROM inbox
WHERE tenant = $1 AND id > $3 AND connection = $2 AND status = 'delivered'
ORDER BY id LIMIT $4;

-- name: count_delivered
SELECT count(*) FROM inbox
WHERE tenant = $1 AND connection = $2 AND id > $3 AND status = 'delivered';

-- name: hold_processing
-- Until the transaction ends no batch is under way, and none begins.
SELECT pg_advisory_xact_lock(hashtext('chartgate.inbox.switch.' || $1));

-- name: select_differences
-- Of what the two records hold: where one lacks it, or says otherwise.
SELECT coalesce(a.resource_type, b.resource_type) AS resource_type, coalesce(a.id, b.id) AS id,
       a.digest AS before, b.digest AS after
FROM (SELECT resource_type, id, digest FROM record WHERE tenant = $1 AND connection = $2) a
FULL JOIN (SELECT resource_type, id, digest FROM record WHERE tenant = $1 AND connection = $3) b
  USING (resource_type, id)
WHERE a.digest IS DISTINCT FROM b.digest
  AND (coalesce(a.resource_type, b.resource_type), coalesce(a.id, b.id)) > ($4, $5)
ORDER BY 1, 2 LIMIT $6;

-- name: copy_versions
INSERT INTO record_version
  (tenant, connection, resource_type, id, digest, version, body, seen_at, message, trace)
SELECT v.tenant, $2, v.resource_type, v.id, v.digest, v.version, v.body, v.seen_at, v.message,
       v.trace
FROM record r JOIN record_version v USING (tenant, connection, resource_type, id, digest)
WHERE r.tenant = $1 AND r.connection = $3
ON CONFLICT DO NOTHING;

-- name: copy_current
INSERT INTO record AS r (tenant, connection, resource_type, id, digest, version, as_of, stamps)
SELECT tenant, $2, resource_type, id, digest, version, as_of, stamps
FROM record WHERE tenant = $1 AND connection = $3
ON CONFLICT (tenant, connection, resource_type, id) DO UPDATE
  SET digest = EXCLUDED.digest, version = EXCLUDED.version, as_of = EXCLUDED.as_of,
      stamps = EXCLUDED.stamps;

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
