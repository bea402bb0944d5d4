-- name: insert_profile
INSERT INTO drift_profile (tenant, connection, sender, message_type, body)
VALUES ($1, $2, $3, $4, '') ON CONFLICT DO NOTHING;

-- name: lock_profile
SELECT body FROM drift_profile
WHERE tenant = $1 AND connection = $2 AND sender = $3 AND message_type = $4
FOR UPDATE;

-- name: update_profile
UPDATE drift_profile SET body = $5
WHERE tenant = $1 AND connection = $2 AND sender = $3 AND message_type = $4;

-- name: select_profiles
SELECT connection, sender, message_type, body
FROM drift_profile
  JOIN unnest($2::text[], $3::text[], $4::text[]) AS wanted (connection, sender, message_type)
  USING (connection, sender, message_type)
WHERE tenant = $1;

-- name: open_finding
INSERT INTO drift_finding AS f
  (tenant, connection, sender, message_type, position, kind, detail, was, now, count, examples,
   first_seen_at, last_seen_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (tenant, connection, sender, message_type, position, kind, detail)
  WHERE acknowledged_at IS NULL
DO UPDATE SET count = f.count + EXCLUDED.count,
              last_seen_at = greatest(f.last_seen_at, EXCLUDED.last_seen_at)
RETURNING id;

-- name: count_finding
UPDATE drift_finding
SET count = count + $8, last_seen_at = greatest(last_seen_at, $9)
WHERE tenant = $1 AND connection = $2 AND sender = $3 AND message_type = $4
  AND position = $5 AND kind = $6 AND detail = $7 AND acknowledged_at IS NULL;

-- name: select_findings
SELECT id, connection, sender, message_type, position, kind, detail, was, now, count, examples,
       first_seen_at, last_seen_at, acknowledged_by, acknowledged_at
FROM drift_finding
WHERE tenant = $1 AND ($2 OR acknowledged_at IS NULL)
ORDER BY last_seen_at DESC, id DESC LIMIT $3;

-- name: select_finding
SELECT id, connection, sender, message_type, position, kind, detail, was, now, count, examples,
       first_seen_at, last_seen_at, acknowledged_by, acknowledged_at
FROM drift_finding
WHERE tenant = $1 AND id = $2;

-- name: acknowledge_finding
UPDATE drift_finding SET acknowledged_by = $3, acknowledged_at = $4
WHERE tenant = $1 AND id = $2 AND acknowledged_at IS NULL;
