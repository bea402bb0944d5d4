-- name: insert_events
INSERT INTO event (tenant, site, kind, focus, occurred_at, inbox_id)
SELECT $1, site, kind, string_to_array(focus, ' '), occurred_at, inbox_id
FROM unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::bigint[])
  AS e (site, kind, focus, occurred_at, inbox_id)
RETURNING id, inbox_id;

-- name: insert_own_event
-- No message brought it: 0 is the id of none.
INSERT INTO event (tenant, site, kind, focus, occurred_at, inbox_id)
VALUES ($1, $2, $3, $4::text[], $5, 0)
RETURNING id;

-- name: take_numbers
-- Holds the subscriptions' rows until the commit: numbers become visible in their order.
INSERT INTO subscription AS s (tenant, client, charter, last_number)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[])
ON CONFLICT (tenant, client, charter) DO UPDATE SET last_number = s.last_number + EXCLUDED.last_number
RETURNING client, charter, last_number;

-- name: insert_notifications
INSERT INTO notification (tenant, client, charter, number, event_id, next_try_at)
SELECT $1, n.*, $6 FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS n;

-- name: notify_work
SELECT pg_notify('chartgate_work', $1);

-- name: claim_due
-- Of each subscription whose first undelivered notification is due and nobody's: that one and
-- those behind it. `head` comes back too: without it, in a race, the rest must be let go.
WITH head AS MATERIALIZED (
  SELECT s.client, s.charter, n.number
  FROM subscription s CROSS JOIN LATERAL (
    SELECT number, next_try_at, lease_until FROM notification
    WHERE tenant = s.tenant AND client = s.client AND charter = s.charter
      AND delivered_at IS NULL
    ORDER BY number LIMIT 1) n
  WHERE s.tenant = $1 AND n.next_try_at <= $2 AND (n.lease_until IS NULL OR n.lease_until < $2)
), behind AS MATERIALIZED (
  SELECT head.client, head.charter, head.number AS head, n.number
  FROM head CROSS JOIN LATERAL (
    SELECT number FROM notification
    WHERE tenant = $1 AND client = head.client AND charter = head.charter
      AND delivered_at IS NULL
    ORDER BY number LIMIT $4) n
), claimed AS (
  UPDATE notification n SET lease_until = $3
  FROM behind b
  WHERE n.tenant = $1 AND n.client = b.client AND n.charter = b.charter AND n.number = b.number
    AND n.delivered_at IS NULL AND (n.lease_until IS NULL OR n.lease_until < $2)
  RETURNING n.client, n.charter, n.number, n.event_id, n.attempts, b.head
)
SELECT c.client, c.charter, c.number, c.attempts, c.head, e.site, e.kind, e.focus, e.occurred_at,
       e.inbox_id
FROM claimed c JOIN event e ON e.tenant = $1 AND e.id = c.event_id
ORDER BY c.client, c.charter, c.number;

-- name: release
UPDATE notification SET lease_until = NULL
WHERE tenant = $1 AND client = $2 AND charter = $3 AND number >= $4 AND delivered_at IS NULL
  AND lease_until = $5;

-- name: mark_delivered
UPDATE notification SET delivered_at = $5, lease_until = NULL, last_error = NULL
WHERE tenant = $1 AND client = $2 AND charter = $3 AND number = $4 AND delivered_at IS NULL;

-- name: mark_failed
UPDATE notification
SET attempts = attempts + 1, next_try_at = $5, lease_until = NULL, last_error = $6
WHERE tenant = $1 AND client = $2 AND charter = $3 AND number = $4 AND delivered_at IS NULL;

-- name: select_stuck
SELECT n.client, n.charter, count(*) AS waiting, min(n.number) AS number,
       max(n.attempts) AS attempts, min(e.occurred_at) AS since,
       max(n.last_error) AS last_error
FROM notification n JOIN event e ON e.tenant = n.tenant AND e.id = n.event_id
WHERE n.tenant = $1 AND n.delivered_at IS NULL
GROUP BY n.client, n.charter
HAVING max(n.attempts) > 0
ORDER BY since;
