-- name: insert_cursor
WITH old AS (
  DELETE FROM search_cursor WHERE tenant = $1 AND expires_at < $11
)
INSERT INTO search_cursor (tenant, cursor_hash, client, charter, site, decision, interaction,
                           resource_type, criteria, page_size, expires_at, position, after)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $12, $13, $14);

-- name: select_cursor
SELECT client, charter, site, decision, interaction::text, resource_type, criteria, page_size,
       position, after
FROM search_cursor WHERE tenant = $1 AND cursor_hash = $2 AND expires_at > $3;
