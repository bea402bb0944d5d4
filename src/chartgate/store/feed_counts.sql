-- name: fold_changes
-- Adds what transactions left to the counts, and lets minutes go that no rate asks for. What
-- another worker folds at this moment is left to it.
WITH gone AS (
  DELETE FROM inbox_change WHERE tenant = $1 AND id IN (
    SELECT id FROM inbox_change WHERE tenant = $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)
  RETURNING connection, reason, date_trunc('minute', at) AS minute, received, queued, delivered,
            quarantined, filtered, flagged, late
), forgotten AS (
  DELETE FROM inbox_count
  WHERE tenant = $1 AND minute > '-infinity' AND minute < now() - interval '2 hours'
), folded AS (
  INSERT INTO inbox_count AS c (tenant, connection, reason, minute, received, queued, delivered,
                                quarantined, filtered, flagged, late)
  SELECT $1, connection, reason, coalesce(minute, '-infinity'), sum(received), sum(queued),
         sum(delivered), sum(quarantined), sum(filtered), sum(flagged), sum(late)
  FROM gone GROUP BY GROUPING SETS ((connection, reason), (connection, reason, minute))
  HAVING minute IS NULL OR minute >= now() - interval '2 hours'
  ORDER BY connection, reason, minute NULLS FIRST
  ON CONFLICT (tenant, connection, reason, minute) DO UPDATE
    SET received = c.received + EXCLUDED.received, queued = c.queued + EXCLUDED.queued,
        delivered = c.delivered + EXCLUDED.delivered,
        quarantined = c.quarantined + EXCLUDED.quarantined,
        filtered = c.filtered + EXCLUDED.filtered, flagged = c.flagged + EXCLUDED.flagged,
        late = c.late + EXCLUDED.late
)
SELECT count(*) FROM gone;

-- name: select_counts
-- Of all time, and of the last one to two and sixty to sixty-one minutes, whose lengths come too.
WITH counted AS (
  SELECT connection, reason, minute, received, queued, delivered, quarantined, filtered, flagged, late
    FROM inbox_count WHERE tenant = $1
  UNION ALL
  SELECT connection, reason, '-infinity', received, queued, delivered, quarantined, filtered, flagged,
         late
    FROM inbox_change WHERE tenant = $1
  UNION ALL
  SELECT connection, reason, date_trunc('minute', at), received, 0, delivered, 0, 0, 0, 0
    FROM inbox_change WHERE tenant = $1
), span AS (
  SELECT date_trunc('minute', now()) - interval '1 minute' AS short,
         date_trunc('minute', now()) - interval '60 minutes' AS long
)
SELECT connection, reason,
       coalesce(sum(received) FILTER (WHERE minute = '-infinity'), 0)::bigint AS received,
       coalesce(sum(queued) FILTER (WHERE minute = '-infinity'), 0)::bigint AS queued,
       coalesce(sum(delivered) FILTER (WHERE minute = '-infinity'), 0)::bigint AS delivered,
       coalesce(sum(quarantined) FILTER (WHERE minute = '-infinity'), 0)::bigint AS quarantined,
       coalesce(sum(filtered) FILTER (WHERE minute = '-infinity'), 0)::bigint AS filtered,
       coalesce(sum(flagged) FILTER (WHERE minute = '-infinity'), 0)::bigint AS flagged,
       coalesce(sum(late) FILTER (WHERE minute = '-infinity'), 0)::bigint AS late,
       coalesce(sum(received) FILTER (WHERE minute >= short), 0)::bigint AS received_short,
       coalesce(sum(received) FILTER (WHERE minute >= long), 0)::bigint AS received_long,
       coalesce(sum(delivered) FILTER (WHERE minute >= short), 0)::bigint AS delivered_short,
       coalesce(sum(delivered) FILTER (WHERE minute >= long), 0)::bigint AS delivered_long,
       extract(epoch FROM now() - min(short))::float8 AS short_s,
       extract(epoch FROM now() - min(long))::float8 AS long_s
FROM counted CROSS JOIN span GROUP BY connection, reason ORDER BY connection, reason;

-- name: recount
-- The counts beside the rows themselves, both of one moment. Reads the whole inbox.
SELECT connection, status, sum(counted)::bigint AS counted, sum(kept)::bigint AS kept
FROM (
  SELECT connection, status, n AS counted, 0 AS kept
    FROM (SELECT connection, queued, delivered, quarantined, filtered FROM inbox_count
            WHERE tenant = $1 AND minute = '-infinity'
          UNION ALL
          SELECT connection, queued, delivered, quarantined, filtered FROM inbox_change
            WHERE tenant = $1) c
    CROSS JOIN LATERAL (VALUES ('queued', queued), ('delivered', delivered),
                               ('quarantined', quarantined), ('filtered', filtered)) s (status, n)
  UNION ALL
  SELECT connection, status, 0, count(*) FROM inbox WHERE tenant = $1 GROUP BY connection, status
) b
GROUP BY connection, status HAVING sum(counted) <> 0 OR sum(kept) <> 0
ORDER BY connection, status;

-- name: select_oldest_queued
-- Of each connection among the first of the queue, its oldest; `last` is where the look ended.
SELECT connection, min(received_at) AS oldest, max(max(received_at)) OVER () AS last
FROM (SELECT connection, received_at FROM inbox WHERE tenant = $1 AND status = 'queued'
      ORDER BY id LIMIT $2) first
GROUP BY connection;

-- name: select_subscriptions
-- How each subscription stands: its first undelivered notification tells most of it.
SELECT s.client, s.charter, s.last_number,
       (SELECT count(*) FROM (
          SELECT FROM notification n
          WHERE n.tenant = $1 AND n.client = s.client AND n.charter = s.charter
            AND n.delivered_at IS NULL LIMIT $2) w) AS waiting,
       head.number, coalesce(head.attempts, 0) AS attempts, head.last_error, head.since,
       (SELECT n.delivered_at FROM notification n
        WHERE n.tenant = $1 AND n.client = s.client AND n.charter = s.charter
          AND n.number = coalesce(head.number, s.last_number + 1) - 1) AS last_delivered_at
FROM subscription s LEFT JOIN LATERAL (
  SELECT n.number, n.attempts, n.last_error, coalesce(i.ended_at, i.received_at) AS since
  FROM notification n
    LEFT JOIN event e ON e.tenant = $1 AND e.id = n.event_id
    LEFT JOIN inbox i ON i.tenant = $1 AND i.id = e.inbox_id
  WHERE n.tenant = $1 AND n.client = s.client AND n.charter = s.charter AND n.delivered_at IS NULL
  ORDER BY n.number LIMIT 1) head ON true
WHERE s.tenant = $1 ORDER BY s.client, s.charter;

-- name: select_last_heard
-- When a connection last brought a message: to the moment where it is among the last messages of
-- all, else to its minute, which is never later than it was.
SELECT greatest(
  (SELECT max(received_at) FROM inbox
   WHERE tenant = $1 AND connection = $2
     AND id > (SELECT coalesce(max(id), 0) FROM inbox WHERE tenant = $1) - $3),
  (SELECT max(minute) FROM inbox_count
   WHERE tenant = $1 AND connection = $2 AND received > 0 AND minute > '-infinity'));

-- name: select_tail
-- The last messages, among at most $4 ids, so that a silent connection costs no long search.
SELECT id, received_at, ended_at, connection, sender, message_type, control_id, status, reason,
       edited_from
FROM inbox
WHERE tenant = $1 AND id > (SELECT coalesce(max(id), 0) FROM inbox WHERE tenant = $1) - $4
  AND ($2::text IS NULL OR connection = $2)
ORDER BY id DESC LIMIT $3;
