-- name: select_queues
-- What waits, by kind, with the time of its oldest.
SELECT 'messages' AS queue, count(*) AS waiting, min(received_at) AS oldest
  FROM inbox WHERE tenant = $1 AND status = 'queued'
UNION ALL
SELECT 'notifications', count(*), min(i.received_at)
  FROM notification n
  JOIN event e ON e.tenant = n.tenant AND e.id = n.event_id
  JOIN inbox i ON i.tenant = e.tenant AND i.id = e.inbox_id
  WHERE n.tenant = $1 AND n.delivered_at IS NULL
UNION ALL
SELECT 'reviews', count(*), min(created_at)
  FROM proposal WHERE tenant = $1 AND status = 'pending-review'
UNION ALL
SELECT 'writes', count(*), min(changed_at)
  FROM proposal
  WHERE tenant = $1 AND status IN ('approved', 'committing', 'committed', 'rolling-back')
UNION ALL
SELECT 'quarantine', count(*), min(first_seen_at) FROM quarantine
  WHERE tenant = $1 AND status = 'open'
UNION ALL
SELECT 'handoffs', count(*), min(opened_at)
  FROM handoff WHERE tenant = $1 AND status <> 'closed'
UNION ALL
SELECT 'handoffs overdue', count(*), min(due_at)
  FROM handoff WHERE tenant = $1 AND status <> 'closed' AND due_at < $2
UNION ALL
SELECT 'glass to review', count(*), min(opened_at)
  FROM break_glass WHERE tenant = $1 AND reviewed_at IS NULL
UNION ALL
SELECT 'glass overdue', count(*), min(review_due_at)
  FROM break_glass WHERE tenant = $1 AND reviewed_at IS NULL AND review_due_at <= $2
UNION ALL
SELECT 'seals broken', count(*), min(opened_at)
  FROM person WHERE tenant = $1 AND sealed AND password_hash IS NULL AND removed_at IS NULL;

-- name: select_proposal_counts
SELECT status, count(*) AS count FROM proposal WHERE tenant = $1 GROUP BY status ORDER BY status;

-- name: select_write_rights
SELECT connection, count(*) FILTER (WHERE holds) AS holding, count(*) AS tried,
       max(probed_at) AS probed_at
  FROM connection_verdict WHERE tenant = $1 GROUP BY connection ORDER BY connection;
