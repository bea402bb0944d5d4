-- Each gives the next rows after $2, with what it takes to open them: `place` is what is bound into
-- the seal beside the table, `digest` that of the plain bytes (null: the seal itself is the check).

-- name: read_record_version
SELECT at, body, sealed_by, digest, wrapped, place FROM (
  SELECT v.connection || E'\x1f' || v.resource_type || E'\x1f' || v.id || E'\x1f'
           || encode(v.digest, 'hex') AS at,
         v.body, v.sealed_by, v.digest,
         (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = v.sealed_by) AS wrapped,
         ARRAY[split_part(v.connection, '~', 1), v.resource_type || '/' || v.id,
               encode(v.digest, 'hex')] AS place
  FROM record_version v
  WHERE v.tenant = $1 AND (v.connection, v.resource_type, v.id, v.digest) >
    (split_part($2, E'\x1f', 1), split_part($2, E'\x1f', 2), split_part($2, E'\x1f', 3),
     decode(split_part($2, E'\x1f', 4), 'hex'))
  ORDER BY v.connection, v.resource_type, v.id, v.digest LIMIT $3) AS page;

-- name: read_disclosure
SELECT encode(d.digest, 'hex') || E'\x1f' || d.sealed_by AS at, d.body, d.sealed_by, d.digest,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = d.sealed_by) AS wrapped,
       ARRAY[encode(d.digest, 'hex')] AS place
FROM disclosure d
WHERE d.tenant = $1 AND (d.digest, d.sealed_by) >
  (decode(split_part($2, E'\x1f', 1), 'hex'), coalesce(nullif(split_part($2, E'\x1f', 2), ''), '-1')::bigint)
ORDER BY d.digest, d.sealed_by LIMIT $3;

-- name: read_disclosure_frame
SELECT f.event_id::text AS at, f.frame AS body, f.sealed_by, NULL::bytea AS digest,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = f.sealed_by) AS wrapped,
       ARRAY[encode(f.digest, 'hex')] AS place
FROM disclosure_frame f
WHERE f.tenant = $1 AND f.event_id > coalesce(nullif($2, ''), '0')::bigint
ORDER BY f.event_id LIMIT $3;

-- name: read_inbox
SELECT i.id::text AS at, i.raw AS body, k.id AS sealed_by, i.digest, k.wrapped,
       ARRAY[split_part(i.connection, '~', 1), encode(i.digest, 'hex')] AS place
FROM inbox i
LEFT JOIN LATERAL (SELECT id, wrapped FROM patient_key
                   WHERE tenant = $1 AND connection = i.connection AND patient = '' LIMIT 1) k ON true
WHERE i.tenant = $1 AND i.id > coalesce(nullif($2, ''), '0')::bigint ORDER BY i.id LIMIT $3;

-- name: read_quarantine
SELECT q.id::text AS at, q.raw AS body, k.id AS sealed_by, q.digest, k.wrapped,
       ARRAY[split_part(q.connection, '~', 1), encode(q.digest, 'hex')] AS place
FROM quarantine q
LEFT JOIN LATERAL (SELECT id, wrapped FROM patient_key
                   WHERE tenant = $1 AND connection = q.connection AND patient = '' LIMIT 1) k ON true
WHERE q.tenant = $1 AND q.id > coalesce(nullif($2, ''), '0')::bigint ORDER BY q.id LIMIT $3;

-- name: read_outgoing
SELECT o.id::text AS at, o.raw AS body, o.sealed_by, NULL::bytea AS digest,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = o.sealed_by) AS wrapped,
       ARRAY[o.destination, o.control_id] AS place
FROM outgoing o
WHERE o.tenant = $1 AND o.id > coalesce(nullif($2, ''), '0')::bigint ORDER BY o.id LIMIT $3;

-- name: read_proposal_content
SELECT c.proposal || E'\x1f' || c.version AS at, c.body, p.sealed_by, decode(c.digest, 'hex') AS digest,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = p.sealed_by) AS wrapped,
       ARRAY[c.proposal::text, c.version::text] AS place
FROM proposal_content c JOIN proposal p ON p.tenant = $1 AND p.id = c.proposal
WHERE c.tenant = $1 AND (c.proposal, c.version) >
  (coalesce(nullif(split_part($2, E'\x1f', 1), ''), '00000000-0000-0000-0000-000000000000')::uuid,
   coalesce(nullif(split_part($2, E'\x1f', 2), ''), '0')::integer)
ORDER BY c.proposal, c.version LIMIT $3;

-- name: read_proposal
SELECT p.id::text || E'\x1f' || part.name AS at, part.body, p.sealed_by, NULL::bytea AS digest,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = p.sealed_by) AS wrapped,
       ARRAY[p.id::text, part.name] AS place
FROM proposal p
CROSS JOIN LATERAL (VALUES ('compensation', p.compensation), ('rationale', p.rationale),
                           ('receipt', p.receipt)) AS part (name, body)
WHERE p.tenant = $1 AND part.body IS NOT NULL AND (p.id, part.name) >
  (coalesce(nullif(split_part($2, E'\x1f', 1), ''), '00000000-0000-0000-0000-000000000000')::uuid,
   split_part($2, E'\x1f', 2) COLLATE "default")
ORDER BY p.id, part.name LIMIT $3;

-- name: read_proposal_attempt
SELECT a.proposal || E'\x1f' || a.direction || E'\x1f' || a.attempt || E'\x1f' || part.name AS at,
       part.body, p.sealed_by, NULL::bytea AS digest,
       (SELECT k.wrapped FROM patient_key k WHERE k.tenant = $1 AND k.id = p.sealed_by) AS wrapped,
       part.place
FROM proposal_attempt a JOIN proposal p ON p.tenant = $1 AND p.id = a.proposal
CROSS JOIN LATERAL (VALUES
  ('done', a.done, ARRAY[a.proposal::text, a.direction, a.attempt::text, 'done']),
  ('intent', a.intent, ARRAY[a.proposal::text, a.direction, a.fence::text])
) AS part (name, body, place)
WHERE a.tenant = $1 AND part.body IS NOT NULL AND (a.proposal, a.direction, a.attempt, part.name) >
  (coalesce(nullif(split_part($2, E'\x1f', 1), ''), '00000000-0000-0000-0000-000000000000')::uuid,
   split_part($2, E'\x1f', 2), coalesce(nullif(split_part($2, E'\x1f', 3), ''), '0')::integer,
   split_part($2, E'\x1f', 4) COLLATE "default")
ORDER BY a.proposal, a.direction, a.attempt, part.name LIMIT $3;

-- name: select_last
SELECT max(recorded) FROM audit_event WHERE tenant = $1 AND action = 'vault.scrub';

-- name: take_turn
SELECT pg_try_advisory_lock(hashtextextended('chartgate.scrub ' || $1, 0));

-- name: give_turn
SELECT pg_advisory_unlock(hashtextextended('chartgate.scrub ' || $1, 0));
