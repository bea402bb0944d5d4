-- name: select_charter_digests
SELECT charter, digest FROM charter_revision WHERE tenant = $1 AND digest = ANY ($2::text[]);

-- name: insert_charter_revision
INSERT INTO charter_revision (tenant, charter, digest, revision, body, loaded_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING;
