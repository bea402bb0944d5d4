-- name: upsert_quarantine
-- The same bytes seen again are open again, whatever had been decided about them: else a message
-- could be lost in silence.
INSERT INTO quarantine AS q (tenant, connection, inbox_id, sender, message_type, reason_class,
                             reason, position, digest, raw, first_seen_at, last_seen_at, count)
SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
                         $8::text[], $9::bytea[], $10::bytea[], $11::timestamptz[],
                         $12::timestamptz[], $13::int[])
ON CONFLICT (tenant, connection, reason_class, digest) DO UPDATE
  SET last_seen_at = EXCLUDED.last_seen_at, count = q.count + EXCLUDED.count,
      reason = EXCLUDED.reason, position = EXCLUDED.position,
      inbox_id = coalesce(EXCLUDED.inbox_id, q.inbox_id),
      status = 'open', resolved_at = NULL, resolved_by = NULL, because = NULL;

-- name: settle_other_reasons
-- A message that failed for another reason this time has got past the one before.
UPDATE quarantine q SET status = 'replayed', resolved_at = seen.at, resolved_by = 'process:worker'
FROM unnest($2::bigint[], $3::text[], $4::timestamptz[]) AS seen (inbox_id, reason_class, at)
WHERE q.tenant = $1 AND q.inbox_id = seen.inbox_id AND q.status = 'open'
  AND q.reason_class <> seen.reason_class;

-- name: settle_messages
UPDATE quarantine SET status = 'replayed', resolved_at = $3, resolved_by = $4
WHERE tenant = $1 AND inbox_id = ANY($2::bigint[]) AND status = 'open';

-- name: select_listed
SELECT q.id, q.connection, q.inbox_id, q.sender, q.message_type, q.reason_class, q.reason,
       q.position, q.digest, q.first_seen_at, q.last_seen_at, q.count, q.status, q.resolved_at,
       q.resolved_by, q.because, coalesce(i.status = 'queued', false) AS queued_again
FROM quarantine q LEFT JOIN inbox i ON i.tenant = q.tenant AND i.id = q.inbox_id
WHERE q.tenant = $1 AND ($2::text IS NULL OR q.status = $2)
  AND ($3::text IS NULL OR q.reason_class = $3) AND ($4::text IS NULL OR q.connection = $4)
  AND ($5::timestamptz IS NULL OR q.last_seen_at >= $5)
  AND ($6::timestamptz IS NULL OR q.last_seen_at < $6)
ORDER BY q.id DESC LIMIT $7;

-- name: select_one
SELECT q.id, q.connection, q.inbox_id, q.sender, q.message_type, q.reason_class, q.reason,
       q.position, q.digest, q.first_seen_at, q.last_seen_at, q.count, q.status, q.resolved_at,
       q.resolved_by, q.because, coalesce(i.status = 'queued', false) AS queued_again, q.raw,
       k.key_id, k.wrapped,
       (SELECT max(c.id) FROM inbox c WHERE c.tenant = $1 AND c.edited_from = q.id) AS copy
FROM quarantine q LEFT JOIN inbox i ON i.tenant = q.tenant AND i.id = q.inbox_id
LEFT JOIN LATERAL (SELECT id AS key_id, wrapped FROM patient_key
                   WHERE tenant = $1 AND connection = q.connection AND patient = '' LIMIT 1) k ON true
WHERE q.tenant = $1 AND q.id = $2;

-- name: summarise_open
-- By connection and class, from the index of open rows alone.
SELECT connection, reason_class, count(*) AS rows, sum(count)::bigint AS times,
       count(*) FILTER (WHERE last_seen_at > $2::timestamptz - interval '1 hour') AS last_hour,
       min(first_seen_at) AS oldest
FROM quarantine WHERE tenant = $1 AND status = 'open'
GROUP BY connection, reason_class ORDER BY rows DESC, connection, reason_class;

-- name: count_quarantine
SELECT reason_class, reason, sum(count)::bigint AS count, min(first_seen_at) AS first_seen_at
FROM quarantine WHERE tenant = $1 GROUP BY reason_class, reason ORDER BY 3 DESC, 1, 2;

-- name: lock_message
-- Whoever replays, edits or dismisses holds the message first, so that only one of them does it.
SELECT i.status FROM quarantine q JOIN inbox i ON i.tenant = q.tenant AND i.id = q.inbox_id
WHERE q.tenant = $1 AND q.id = $2 FOR UPDATE OF i;

-- name: close_open
UPDATE quarantine SET status = $3, resolved_at = $4, resolved_by = $5, because = $6
WHERE tenant = $1 AND id = $2 AND status = 'open';

-- name: insert_copy
-- An edited copy, with its place in the counts. Its control id in the inbox is its own, since the
-- original's stays taken; what the message itself says in MSH-10 is not touched.
WITH taken AS (
  INSERT INTO inbox (tenant, connection, sender, control_id, message_type, lane, merged_lane,
                     digest, raw, ack, received_at, edited_from)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
  ON CONFLICT (tenant, connection, sender, control_id) DO NOTHING
  RETURNING id, connection
), counted AS (
  INSERT INTO inbox_change (tenant, connection, received, queued)
  SELECT $1, connection, 1, 1 FROM taken
)
SELECT id, pg_notify('chartgate_work', '') FROM taken;

-- name: select_replayable
-- Messages that may be queued again, a page of them in the order of their ids: of open rows of the
-- quarantine, and with $7 also what was filtered.
SELECT q.inbox_id AS id, i.connection, i.status
FROM quarantine q JOIN inbox i ON i.tenant = q.tenant AND i.id = q.inbox_id
WHERE q.tenant = $1 AND q.status = 'open' AND i.status = 'quarantined' AND q.inbox_id > $8
  AND i.raw <> ''
  AND ($2::bigint[] IS NULL OR q.id = ANY($2)) AND ($3::text IS NULL OR q.reason_class = $3)
  AND ($4::text IS NULL OR q.connection = $4)
  AND ($5::timestamptz IS NULL OR q.last_seen_at >= $5)
  AND ($6::timestamptz IS NULL OR q.last_seen_at < $6)
UNION
SELECT id, connection, status FROM inbox
WHERE tenant = $1 AND status = 'filtered' AND $7 AND $2 IS NULL AND id > $8 AND raw <> ''
  AND ($3::text IS NULL OR reason = $3) AND ($4::text IS NULL OR connection = $4)
  AND ($5::timestamptz IS NULL OR received_at >= $5)
  AND ($6::timestamptz IS NULL OR received_at < $6)
ORDER BY id LIMIT $9;

-- name: count_unreplayable
-- Open rows that match and whose bytes never became a message.
SELECT count(*) FROM quarantine q
WHERE q.tenant = $1 AND q.status = 'open' AND q.inbox_id IS NULL
  AND ($2::bigint[] IS NULL OR q.id = ANY($2)) AND ($3::text IS NULL OR q.reason_class = $3)
  AND ($4::text IS NULL OR q.connection = $4)
  AND ($5::timestamptz IS NULL OR q.last_seen_at >= $5)
  AND ($6::timestamptz IS NULL OR q.last_seen_at < $6);

-- name: lock_messages
-- Before `requeue`, which then sees what whoever held them has done.
SELECT id FROM inbox WHERE tenant = $1 AND id = ANY($2::bigint[]) ORDER BY id FOR UPDATE;

-- name: requeue
-- Twice is once: what is queued or delivered by now is left, and what was fixed or dismissed.
WITH before AS (
  SELECT i.id, i.connection, i.status, i.flags, CASE i.status WHEN 'filtered' THEN i.reason ELSE '' END AS why
  FROM inbox i
  WHERE i.tenant = $1 AND i.id = ANY($2::bigint[]) AND i.raw <> ''
    AND (i.status = 'filtered'
         OR i.status = 'quarantined' AND EXISTS (
           SELECT FROM quarantine q
           WHERE q.tenant = $1 AND q.inbox_id = i.id AND q.status = 'open'))
), moved AS (
  UPDATE inbox SET status = 'queued', reason = NULL, ended_at = NULL, flags = '{}'
  FROM before WHERE inbox.tenant = $1 AND inbox.id = before.id AND inbox.status = before.status
  RETURNING before.id, before.connection, before.status, before.why, before.flags
), counted AS (
  INSERT INTO inbox_change (tenant, connection, reason, queued, quarantined, filtered, flagged, late)
  SELECT $1, connection, why, count(*), -count(*) FILTER (WHERE status = 'quarantined'),
         -count(*) FILTER (WHERE status = 'filtered'), -count(*) FILTER (WHERE flags <> '{}'),
         -count(*) FILTER (WHERE 'late' = ANY(flags))
  FROM moved GROUP BY connection, why
)
SELECT id, pg_notify('chartgate_work', '') FROM moved ORDER BY id;
