-- name: select_interaction
SELECT client, charter, site, started_at FROM interaction WHERE tenant = $1 AND id = $2;

-- name: select_read_set
SELECT reference, version, digest, as_of, search FROM read_set
WHERE tenant = $1 AND interaction = $2 ORDER BY position;
