-- name: bump_epoch
-- Microseconds since 1970, so that a database that came back as an older copy of itself never
-- gives a number again that stood for something else.
INSERT INTO governance (tenant, epoch)
VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
ON CONFLICT (tenant) DO UPDATE SET epoch = greatest(governance.epoch + 1, EXCLUDED.epoch);

-- name: select_epoch
SELECT coalesce((SELECT epoch FROM governance WHERE tenant = $1), 0);
