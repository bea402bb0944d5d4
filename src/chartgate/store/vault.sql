-- name: hold_erasures
-- Until the transaction ends nobody is erased: what it seals has a key when it commits.
SELECT pg_advisory_xact_lock_shared(hashtextextended('chartgate.erase ' || $1, 0));

-- name: hold_writers
-- Waits for every transaction that seals; none goes on until this one ends.
SELECT pg_advisory_xact_lock(hashtextextended('chartgate.erase ' || $1, 0));

-- name: select_keys
-- Each by its own look into the index, whatever the planner believes of a fresh table.
SELECT w.connection, w.patient, k.id, k.wrapped
FROM unnest($2::text[], $3::text[]) AS w (connection, patient)
CROSS JOIN LATERAL (
  SELECT id, wrapped FROM patient_key
  WHERE tenant = $1 AND connection = w.connection AND patient = w.patient LIMIT 1) AS k;

-- name: insert_keys
-- Only under the master key in force: one that is being replaced wraps nothing new.
WITH in_force AS (
  SELECT FROM vault_master WHERE tenant = $1 AND master = $2 FOR SHARE
)
INSERT INTO patient_key (tenant, id, connection, patient, wrapped)
SELECT $1, k.id, k.connection, k.patient, k.wrapped
FROM in_force, unnest($3::bigint[], $4::text[], $5::text[], $6::bytea[])
       AS k (id, connection, patient, wrapped)
ORDER BY k.connection, k.patient
ON CONFLICT (tenant, connection, patient) DO NOTHING;

-- name: take_turn
-- Of the session: two that rotate at once would each make a key, and one of them would be lost.
SELECT pg_try_advisory_lock(hashtextextended('chartgate.rotate', 0));

-- name: give_turn
SELECT pg_advisory_unlock(hashtextextended('chartgate.rotate', 0));

-- name: insert_master
INSERT INTO vault_master (tenant, master) VALUES ($1, $2) ON CONFLICT DO NOTHING;

-- name: select_master
SELECT master FROM vault_master WHERE tenant = $1;

-- name: update_master
UPDATE vault_master SET master = $2 WHERE tenant = $1;

-- name: select_wrapped_otherwise
SELECT id, wrapped FROM patient_key
WHERE tenant = $1 AND substring(wrapped FOR 4) <> $2 AND id > $3 ORDER BY id LIMIT $4
FOR UPDATE;

-- name: update_wrapped
UPDATE patient_key k SET wrapped = n.wrapped
FROM unnest($2::bigint[], $3::bytea[]) AS n (id, wrapped)
WHERE k.tenant = $1 AND k.id = n.id;

-- name: count_keys
SELECT count(*) AS keys, count(*) FILTER (WHERE patient <> '') AS patients,
       count(*) FILTER (WHERE substring(wrapped FOR 4) <> coalesce($2, ''::bytea)) AS otherwise
FROM patient_key WHERE tenant = $1;
