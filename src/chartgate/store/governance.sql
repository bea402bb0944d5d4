-- name: bump_epoch
INSERT INTO governance (tenant, epoch) VALUES ($1, 1)
ON CONFLICT (tenant) DO UPDATE SET epoch = governance.epoch + 1;

-- name: select_epoch
SELECT coalesce((SELECT epoch FROM governance WHERE tenant = $1), 0);
