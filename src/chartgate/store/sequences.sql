-- name: open_links
INSERT INTO feed_sequence (tenant, connection, sender, expected)
SELECT $1, connection, sender, -1 FROM unnest($2::text[], $3::text[]) AS link (connection, sender)
ON CONFLICT (tenant, connection, sender) DO NOTHING;

-- name: lock_links
-- In one order everywhere: no deadlock.
SELECT connection, sender, expected
FROM feed_sequence JOIN unnest($2::text[], $3::text[]) AS link (connection, sender)
  USING (connection, sender)
WHERE tenant = $1 ORDER BY connection, sender FOR UPDATE OF feed_sequence;

-- name: move_links
UPDATE feed_sequence SET expected = moved.expected
FROM unnest($2::text[], $3::text[], $4::bigint[]) AS moved (connection, sender, expected)
WHERE feed_sequence.tenant = $1 AND feed_sequence.connection = moved.connection
  AND feed_sequence.sender = moved.sender;

-- name: reset_link
INSERT INTO feed_sequence (tenant, connection, sender, expected) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant, connection, sender) DO UPDATE SET expected = EXCLUDED.expected;

-- name: select_links
SELECT connection, sender, expected FROM feed_sequence
WHERE tenant = $1 ORDER BY connection, sender;
