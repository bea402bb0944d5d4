-- name: select_verdicts
SELECT line, holds, detail FROM connection_verdict WHERE tenant = $1 AND connection = $2;

-- name: select_kept_verdicts
SELECT connection, line, holds, detail, probed_at
  FROM connection_verdict WHERE tenant = $1 ORDER BY connection, line;

-- name: delete_verdicts
DELETE FROM connection_verdict WHERE tenant = $1 AND connection = $2;

-- name: insert_verdicts
INSERT INTO connection_verdict (tenant, connection, line, holds, detail, probed_at)
SELECT $1, $2, line, holds, detail, $6
FROM unnest($3::text[], $4::boolean[], $5::text[]) AS verdict (line, holds, detail);
