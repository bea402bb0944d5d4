-- name: note_batch
-- Committed without waiting for the disk: it matters only if the worker dies and the store lives.
INSERT INTO inbox_batch AS b (tenant, worker, ids, tries, taken_at)
SELECT $1, $2, $3::bigint[], $4, $5
FROM (SELECT set_config('synchronous_commit', 'off', true)) AS unwaited
ON CONFLICT (tenant, worker) DO UPDATE
  SET ids = EXCLUDED.ids, tries = EXCLUDED.tries, taken_at = EXCLUDED.taken_at;

-- name: select_suspects
SELECT id, max(tries) AS tries
FROM (SELECT unnest(ids) AS id, tries FROM inbox_batch WHERE tenant = $1 AND worker <> $2) AS taken
WHERE id = ANY($3::bigint[]) GROUP BY id;

-- name: clear_suspect
UPDATE inbox_batch SET ids = array_remove(ids, $3)
WHERE tenant = $1 AND worker <> $2 AND $3 = ANY(ids);

-- name: delete_done
DELETE FROM inbox_batch b
WHERE tenant = $1 AND worker <> $2 AND NOT EXISTS (
  SELECT FROM inbox i WHERE i.tenant = $1 AND i.id = ANY(b.ids) AND i.status = 'queued');
