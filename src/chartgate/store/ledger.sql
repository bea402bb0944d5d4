-- name: take_lead
-- The leader holds this lock to the end of its transaction. What it reads must be read by a later
-- statement, whose snapshot then holds all that the leader before it committed.
SELECT pg_try_advisory_xact_lock(hashtextextended('chartgate.ledger ' || $1, 0));

-- name: read_position
-- Transactions below the horizon have all ended, so no event can appear below it any more.
SELECT coalesce((SELECT max(seq) + 1 FROM ledger_leaf WHERE tenant = $1), 0) AS size,
       pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon,
       (SELECT system_identifier::text FROM pg_control_system()) AS cluster,
       c.xid::text::bigint AS cursor_xid, c.event_id AS cursor_event,
       c.system_identifier AS cursor_cluster
FROM (SELECT) AS one LEFT JOIN ledger_cursor c ON c.tenant = $1;

-- name: read_settled
-- Events after the cursor whose transactions have ended. After a restore, rows of the old cluster
-- may lie ahead of the cursor though they have their number: they are passed over, by a scalar
-- query, which the planner cannot turn into a look at all leaves.
SELECT e.id, e.xid::text::bigint AS xid, e.recorded, e.body
FROM audit_event e
WHERE e.tenant = $1 AND (e.xid, e.id) > ($2::bigint::text::xid8, $3)
  AND e.xid < $4::bigint::text::xid8
  AND (SELECT l.seq FROM ledger_leaf l WHERE l.tenant = $1 AND l.event_id = e.id) IS NULL
ORDER BY e.xid, e.id
LIMIT $5;

-- name: read_unnumbered
-- Every committed event without a number, wherever the cursor stands: a full look, for the first
-- round in a restored cluster only.
SELECT e.id, e.xid::text::bigint AS xid, e.recorded, e.body
FROM audit_event e
WHERE e.tenant = $1
  AND NOT EXISTS (SELECT FROM ledger_leaf l WHERE l.tenant = $1 AND l.event_id = e.id)
ORDER BY e.xid, e.id
LIMIT $2;

-- name: append_leaves
WITH leaves AS (
  INSERT INTO ledger_leaf (tenant, seq, event_id, hash)
  SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::bytea[])
), nodes AS (
  INSERT INTO ledger_node (tenant, level, idx, hash)
  SELECT $1, * FROM unnest($5::smallint[], $6::bigint[], $7::bytea[])
)
INSERT INTO ledger_cursor (tenant, xid, event_id, system_identifier)
VALUES ($1, $8::bigint::text::xid8, $9, $10)
ON CONFLICT (tenant) DO UPDATE
SET xid = EXCLUDED.xid, event_id = EXCLUDED.event_id,
    system_identifier = EXCLUDED.system_identifier;

-- name: read_nodes
-- Leaves (level 0) and nodes of the given spans, none of which is wider than 255. The limits keep
-- the planner to the index, also when a ledger has grown much since it was last analysed.
SELECT 0::smallint AS level, found.idx, found.hash
FROM unnest($2::bigint[], $3::bigint[]) AS s (first, until)
CROSS JOIN LATERAL (
  SELECT l.seq AS idx, l.hash FROM ledger_leaf l
  WHERE l.tenant = $1 AND l.seq >= s.first AND l.seq < s.until ORDER BY l.seq LIMIT 256
) AS found
UNION ALL
SELECT s.level, found.idx, found.hash
FROM unnest($4::smallint[], $5::bigint[], $6::bigint[]) AS s (level, first, until)
CROSS JOIN LATERAL (
  SELECT n.idx, n.hash FROM ledger_node n
  WHERE n.tenant = $1 AND n.level = s.level AND n.idx >= s.first AND n.idx < s.until
  ORDER BY n.idx LIMIT 256
) AS found;

-- name: read_newest_head
SELECT tree_size, root, signed_at, checkpoint FROM ledger_head
WHERE tenant = $1 ORDER BY tree_size DESC LIMIT 1;

-- name: read_heads
SELECT tree_size, root, signed_at, checkpoint FROM ledger_head
WHERE tenant = $1 AND tree_size > $2 AND tree_size <= $3 ORDER BY tree_size;

-- name: insert_head
INSERT INTO ledger_head (tenant, tree_size, root, signed_at, checkpoint)
VALUES ($1, $2, $3, $4, $5);

-- name: read_leaves
SELECT l.seq, l.hash, e.body, e.recorded, e.action, e.agent, e.patient, e.outcome, e.site,
       e.patients
FROM ledger_leaf l LEFT JOIN LATERAL (
  SELECT * FROM audit_event WHERE tenant = $1 AND id = l.event_id LIMIT 1
) AS e ON true
WHERE l.tenant = $1 AND l.seq >= $2 AND l.seq < $3
ORDER BY l.seq
LIMIT $4;

-- name: count_unnumbered
-- Events without a number: waiting for the sequencer, or passed over by it, which means that a
-- row was put in behind its back or a leaf was taken away.
SELECT count(*) FILTER (WHERE NOT passed) AS waiting, count(*) FILTER (WHERE passed) AS passed,
       min(recorded) FILTER (WHERE NOT passed) AS oldest
FROM (
  SELECT e.recorded, c.tenant IS NOT NULL AND (e.xid, e.id) <= (c.xid, c.event_id)
         AND c.system_identifier = (SELECT system_identifier::text FROM pg_control_system())
         AS passed
  FROM audit_event e LEFT JOIN ledger_cursor c ON c.tenant = $1
  WHERE e.tenant = $1
    AND NOT EXISTS (SELECT FROM ledger_leaf l WHERE l.tenant = $1 AND l.event_id = e.id)
) AS unnumbered;

-- name: count_waiting
-- As `count_unnumbered`, but only past the cursor: cheap enough for a status page.
SELECT count(*) AS waiting, min(e.recorded) AS oldest
FROM audit_event e
WHERE e.tenant = $1
  AND (e.xid, e.id) > (coalesce((SELECT xid FROM ledger_cursor WHERE tenant = $1), '0'::xid8),
                       coalesce((SELECT event_id FROM ledger_cursor WHERE tenant = $1), 0))
  AND (SELECT l.seq FROM ledger_leaf l WHERE l.tenant = $1 AND l.event_id = e.id) IS NULL;

-- name: read_recorded_between
-- Numbered events recorded in a span, in the order of their numbers, from number $2 on.
SELECT l.seq, l.hash, e.body
FROM ledger_leaf l JOIN audit_event e ON e.tenant = $1 AND e.id = l.event_id
WHERE l.tenant = $1 AND l.seq >= $2 AND l.seq < $3 AND e.recorded >= $4 AND e.recorded < $5
ORDER BY l.seq
LIMIT $6;

-- name: oldest_unsigned
-- When the first event was recorded that no signed head covers: the first behind the newest head,
-- or the first that has no number yet.
SELECT least(
  (SELECT e.recorded FROM audit_event e WHERE e.tenant = $1 AND e.id =
     (SELECT l.event_id FROM ledger_leaf l WHERE l.tenant = $1 AND l.seq =
        coalesce((SELECT max(h.tree_size) FROM ledger_head h WHERE h.tenant = $1), 0))),
  (SELECT e.recorded FROM audit_event e
   WHERE e.tenant = $1
     AND (e.xid, e.id) > (coalesce((SELECT xid FROM ledger_cursor WHERE tenant = $1), '0'::xid8),
                          coalesce((SELECT event_id FROM ledger_cursor WHERE tenant = $1), 0))
     AND (SELECT l.seq FROM ledger_leaf l WHERE l.tenant = $1 AND l.event_id = e.id) IS NULL
   ORDER BY e.xid, e.id LIMIT 1));
