-- name: lock_keys
SELECT id FROM patient_key
WHERE tenant = $1 AND connection = ANY($2::text[]) AND patient = $3 FOR UPDATE;

-- name: delete_keys
DELETE FROM patient_key WHERE tenant = $1 AND id = ANY($2::bigint[]);

-- name: count_proposals_under_way
SELECT count(*) FROM proposal
WHERE tenant = $1 AND connection = ANY($2::text[]) AND patient = $3
  AND status NOT IN ('shadowed', 'rejected', 'withdrawn', 'verified', 'rolled-back', 'closed');

-- name: count_outgoing_under_way
SELECT count(*) FROM outgoing
WHERE tenant = $1 AND destination = ANY($2::text[]) AND patient = $3
  AND status IN ('queued', 'sent');

-- name: empty_proposals
-- The fence keeps whoever read one before from moving it any more.
WITH emptied AS (
  UPDATE proposal SET fence = fence + 1, rationale = '', reason = NULL, receipt = substring(receipt FROM 1 FOR 0),
                      compensation = substring(compensation FROM 1 FOR 0)
  WHERE tenant = $1 AND sealed_by = ANY($2::bigint[]) RETURNING id
), contents AS (
  UPDATE proposal_content SET body = '', touches = '{}' FROM emptied
  WHERE tenant = $1 AND proposal = emptied.id
), attempts AS (
  UPDATE proposal_attempt SET intent = '', done = substring(done FROM 1 FOR 0) FROM emptied
  WHERE tenant = $1 AND proposal = emptied.id
), given_back AS (
  UPDATE handoff SET reason = 'erased', outcome = CASE WHEN outcome IS NOT NULL THEN 'erased' END
  FROM emptied WHERE tenant = $1 AND proposal = emptied.id
)
SELECT count(*) FROM emptied;

-- name: insert_erasure
INSERT INTO erasure (tenant, id, site, connections, patient, keys, reason, asked_by, begun_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: select_open
SELECT id, site, connections, patient, keys, reason, asked_by, begun_at
FROM erasure WHERE tenant = $1 AND ended_at IS NULL ORDER BY begun_at, id LIMIT 1;

-- name: lock_open
SELECT id FROM erasure WHERE tenant = $1 AND id = $2 AND ended_at IS NULL FOR UPDATE;

-- name: end_erasure
UPDATE erasure SET ended_at = $3, counts = $4 WHERE tenant = $1 AND id = $2;

-- name: select_sealed
-- What the keys sealed in the record: a look at all of it.
SELECT connection, resource_type || '/' || id AS reference, digest, message FROM record_version
WHERE tenant = $1 AND sealed_by = ANY($2::bigint[]);

-- name: select_lanes
-- Where messages about the patient were processed: those that made versions, or events about them.
SELECT DISTINCT lane FROM (
  SELECT unnest(ARRAY[i.lane, i.merged_lane]) AS lane FROM inbox i
  WHERE i.tenant = $1 AND i.connection = ANY($2::text[])
    AND (i.id = ANY($3::bigint[])
         OR i.id IN (SELECT e.inbox_id FROM event e WHERE e.tenant = $1 AND $4 = ANY(e.focus)))
) AS lanes WHERE lane IS NOT NULL;

-- name: select_of_lanes
SELECT i.id, i.connection, i.message_type, i.raw, i.digest, i.received_at, i.application_ack, i.lane,
       k.key_id, k.wrapped
FROM inbox i
LEFT JOIN LATERAL (SELECT id AS key_id, wrapped FROM patient_key
                   WHERE tenant = $1 AND connection = i.connection AND patient = '' LIMIT 1) k ON true
WHERE i.tenant = $1 AND i.connection = ANY($2::text[]) AND i.id > $4 AND i.raw <> ''
  AND (i.lane = ANY($3::int[]) OR i.merged_lane = ANY($3::int[]))
  AND (NOT $6 OR i.status = 'queued')
ORDER BY i.id LIMIT $5;

-- name: select_set_aside
-- What never became a message: nothing says whom it is about but its bytes.
SELECT q.id, q.connection, q.message_type, q.raw, q.digest, q.first_seen_at AS received_at,
       '' AS application_ack, 0 AS lane, k.key_id, k.wrapped
FROM quarantine q
LEFT JOIN LATERAL (SELECT id AS key_id, wrapped FROM patient_key
                   WHERE tenant = $1 AND connection = q.connection AND patient = '' LIMIT 1) k ON true
WHERE q.tenant = $1 AND q.connection = ANY($2::text[]) AND q.id > $3 AND q.raw <> ''
ORDER BY q.id LIMIT $4;

-- name: delete_current
DELETE FROM record WHERE tenant = $1 AND sealed_by = ANY($2::bigint[]);

-- name: delete_versions
DELETE FROM record_version WHERE tenant = $1 AND sealed_by = ANY($2::bigint[]);

-- name: delete_read_set
DELETE FROM read_set s USING interaction i
WHERE s.tenant = $1 AND i.tenant = $1 AND i.id = s.interaction AND i.site = $2
  AND s.reference = ANY($3::text[]);

-- name: delete_disclosures
DELETE FROM disclosure WHERE tenant = $1 AND sealed_by = ANY($2::bigint[]);

-- name: empty_frames
UPDATE disclosure_frame SET frame = '' WHERE tenant = $1 AND sealed_by = ANY($2::bigint[])
  AND frame <> '';

-- name: empty_outgoing
UPDATE outgoing SET raw = '' WHERE tenant = $1 AND sealed_by = ANY($2::bigint[]) AND raw <> '';

-- name: empty_messages
UPDATE inbox SET raw = '' WHERE tenant = $1 AND id = ANY($2::bigint[]) AND raw <> '';

-- name: empty_quarantine
UPDATE quarantine
SET raw = '', status = CASE status WHEN 'open' THEN 'dismissed' ELSE status END,
    resolved_at = coalesce(resolved_at, $4), resolved_by = coalesce(resolved_by, $5),
    because = CASE status WHEN 'open' THEN 'erased' ELSE because END
WHERE tenant = $1 AND (id = ANY($2::bigint[]) OR inbox_id = ANY($3::bigint[])) AND raw <> '';

-- name: delete_met
DELETE FROM patient_met WHERE tenant = $1 AND patient = ANY($2::text[]);

-- name: delete_consents
-- Copies of what a system of record says; what was brought here stays, since it forbids.
DELETE FROM consent_state WHERE tenant = $1 AND connection = ANY($2::text[]) AND patient = $3;
