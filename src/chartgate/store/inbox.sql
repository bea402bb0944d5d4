-- name: accept_arrivals
-- Messages and the audit event that accounts for them, in one statement: one round trip and one
-- commit. A message that is here already is left alone. The event's body comes in parts, since
-- only here is it known how many are new, which ids they got, and what they add up to.
WITH taken AS (
  INSERT INTO inbox (tenant, received_at, connection, sender, control_id, message_type, lane,
                     merged_lane, digest, raw, ack, application_ack)
  SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::int[],
                               $8::int[], $9::bytea[], $10::bytea[], $11::bytea[], $12::text[])
  ON CONFLICT (tenant, connection, sender, control_id) DO NOTHING
  RETURNING id, digest, connection
), counted AS (
  INSERT INTO inbox_change (tenant, connection, received, queued)
  SELECT $1, connection, count(*), count(*) FROM taken GROUP BY connection
), audited AS (
  INSERT INTO audit_event (tenant, recorded, action, agent, outcome, body)
  SELECT $1, $2, $13, $14, $15,
         $16 || convert_to(count(*)::text, 'UTF8')
         || $17 || encode(sha256(string_agg(digest, ''::bytea ORDER BY id)), 'hex')::bytea
         || $18 || convert_to(min(id)::text, 'UTF8')
         || $19 || convert_to(max(id)::text, 'UTF8') || $20
  FROM taken HAVING count(*) > 0
)
SELECT count(*), pg_notify('chartgate_work', '') FROM taken;

-- name: select_accepted
SELECT connection, sender, control_id, digest, ack
FROM inbox JOIN unnest($2::text[], $3::text[], $4::text[])
  AS wanted (connection, sender, control_id) USING (connection, sender, control_id)
WHERE tenant = $1;

-- name: select_waiting
SELECT id, lane, merged_lane FROM inbox
WHERE tenant = $1 AND status = 'queued'
ORDER BY id LIMIT $2;

-- name: select_behind
-- Further back than the head of the queue, past the lanes that fill it. A merge is never passed
-- over: it may stand before messages of a lane that is not full.
SELECT id, lane, merged_lane FROM inbox
WHERE tenant = $1 AND status = 'queued' AND id > $2
  AND NOT (lane = ANY($3::int[]) AND merged_lane IS NULL)
ORDER BY id LIMIT $4;

-- name: lock_lanes
-- Held until the transaction ends. Tried in their order until there are $3, never waited for: two
-- workers cannot deadlock.
-- While a rebuilt record takes the running one's place, all batches wait.
SELECT lane
FROM (SELECT pg_advisory_xact_lock_shared(hashtext('chartgate.inbox.switch.' || $1))) AS running,
     unnest($2::int[]) AS lane
WHERE pg_try_advisory_xact_lock(hashtext('chartgate.inbox.' || $1), lane)
LIMIT $3;

-- name: select_messages
SELECT i.id, i.connection, i.message_type, i.raw, i.digest, i.received_at, i.application_ack, i.lane,
       k.key_id, k.wrapped
FROM inbox i
LEFT JOIN LATERAL (SELECT id AS key_id, wrapped FROM patient_key
                   WHERE tenant = $1 AND connection = i.connection AND patient = '' LIMIT 1) k ON true
WHERE i.tenant = $1 AND i.id = ANY($2::bigint[])
ORDER BY i.id;

-- name: end_messages
WITH moved AS (
  UPDATE inbox SET status = ended.status, reason = ended.reason, ended_at = clock_timestamp(),
                   flags = string_to_array(ended.flags, ' ')
  FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[]) AS ended (id, status, reason, flags)
  WHERE inbox.tenant = $1 AND inbox.id = ended.id AND inbox.status = 'queued'
  RETURNING inbox.connection, inbox.status, inbox.flags,
            CASE inbox.status WHEN 'filtered' THEN inbox.reason ELSE '' END AS why
), counted AS (
  INSERT INTO inbox_change (tenant, connection, reason, queued, delivered, quarantined, filtered,
                            flagged, late)
  SELECT $1, connection, why, -count(*), count(*) FILTER (WHERE status = 'delivered'),
         count(*) FILTER (WHERE status = 'quarantined'), count(*) FILTER (WHERE status = 'filtered'),
         count(*) FILTER (WHERE flags <> '{}'), count(*) FILTER (WHERE 'late' = ANY(flags))
  FROM moved GROUP BY connection, why
)
SELECT count(*) FROM moved;

-- name: count_by_status
SELECT status, count(*) FROM inbox WHERE tenant = $1 GROUP BY status;

-- name: select_raw
SELECT i.connection, i.raw, i.digest, k.key_id, k.wrapped
FROM inbox i
LEFT JOIN LATERAL (SELECT id AS key_id, wrapped FROM patient_key
                   WHERE tenant = $1 AND connection = i.connection AND patient = '' LIMIT 1) k ON true
WHERE i.tenant = $1 AND i.id = $2;
