-- One query a class: $2 is the moment before which its rows may go, $3 keys and $4 patients that a
-- legal hold keeps, $5 how many at most. Each gives `what`: bytes that name what was deleted.

-- name: delete_frames
-- Of charters with a period of their own ($6, $7), those that are older than that.
WITH due AS (
  SELECT f.event_id FROM disclosure_frame f
  LEFT JOIN interaction i ON i.tenant = $1 AND i.id = f.interaction
  LEFT JOIN unnest($6::text[], $7::timestamptz[]) AS own (charter, before) ON own.charter = i.charter
  WHERE f.tenant = $1 AND f.recorded < greatest($2, (SELECT max(b) FROM unnest($7::timestamptz[]) b))
    AND f.recorded < coalesce(own.before, $2) AND f.sealed_by <> ALL($3::bigint[])
    AND NOT EXISTS (SELECT FROM audit_event e WHERE e.tenant = $1 AND e.id = f.event_id
                    AND (e.patient = ANY($4::text[]) OR e.patients && $4::text[]))
  LIMIT $5
)
DELETE FROM disclosure_frame f USING due
WHERE f.tenant = $1 AND f.event_id = due.event_id RETURNING f.digest AS what;

-- name: delete_bodies
-- What was last shown a day or more before the oldest answer that is still kept.
WITH due AS (
  SELECT digest, sealed_by FROM disclosure
  WHERE tenant = $1 AND shown_on < (least($2, (SELECT min(f.recorded) FROM disclosure_frame f
                                               WHERE f.tenant = $1)) - interval '1 day')::date
    AND sealed_by <> ALL($3::bigint[]) AND cardinality($4::text[]) >= 0
  LIMIT $5
)
DELETE FROM disclosure d USING due
WHERE d.tenant = $1 AND d.digest = due.digest AND d.sealed_by = due.sealed_by
RETURNING d.digest AS what;

-- name: delete_read_sets
WITH due AS (
  SELECT s.interaction, s.position FROM read_set s
  WHERE s.tenant = $1 AND s.as_of < $2 AND cardinality($3::bigint[]) = 0
    AND cardinality($4::text[]) = 0
    AND NOT EXISTS (SELECT FROM proposal p WHERE p.tenant = $1 AND p.interaction = s.interaction
                    AND p.status NOT IN ('shadowed', 'rejected', 'withdrawn', 'verified',
                                         'rolled-back', 'closed'))
  LIMIT $5
)
DELETE FROM read_set s USING due
WHERE s.tenant = $1 AND s.interaction = due.interaction AND s.position = due.position
RETURNING s.digest AS what;

-- name: delete_current
-- What a system of record once said and nobody has asked for since. What messages made stays: the
-- next message is laid over it.
WITH due AS (
  SELECT r.connection, r.resource_type, r.id FROM record r
  JOIN record_version v USING (tenant, connection, resource_type, id, digest)
  WHERE r.tenant = $1 AND r.as_of < $2 AND v.message IS NULL
    AND (r.sealed_by IS NULL OR r.sealed_by <> ALL($3::bigint[]))
    AND cardinality($4::text[]) >= 0
  LIMIT $5
)
DELETE FROM record r USING due
WHERE r.tenant = $1 AND r.connection = due.connection AND r.resource_type = due.resource_type
  AND r.id = due.id AND r.as_of < $2
RETURNING r.digest AS what;

-- name: delete_versions
WITH due AS (
  SELECT v.connection, v.resource_type, v.id, v.digest FROM record_version v
  WHERE v.tenant = $1 AND v.seen_at < $2
    AND (v.sealed_by IS NULL OR v.sealed_by <> ALL($3::bigint[]))
    AND cardinality($4::text[]) >= 0
    AND NOT EXISTS (SELECT FROM record r
                    WHERE r.tenant = $1 AND r.connection = v.connection
                      AND r.resource_type = v.resource_type AND r.id = v.id
                      AND r.digest = v.digest)
    AND NOT EXISTS (SELECT FROM read_set s WHERE s.tenant = $1 AND s.digest = v.digest
                      AND s.reference = v.resource_type || '/' || v.id AND s.as_of >= $2)
  LIMIT $5
)
DELETE FROM record_version v USING due
WHERE v.tenant = $1 AND v.connection = due.connection AND v.resource_type = due.resource_type
  AND v.id = due.id AND v.digest = due.digest
RETURNING v.digest AS what;

-- name: empty_messages
-- The row stays: it is what tells a repeat, and what the counts stand for. Whom a message is about
-- is not known here, so any hold on a patient keeps all of them.
WITH due AS (
  SELECT id FROM inbox
  WHERE tenant = $1 AND received_at < $2 AND status IN ('delivered', 'filtered') AND raw <> ''
    AND cardinality($3::bigint[]) = 0 AND cardinality($4::text[]) = 0
  ORDER BY id LIMIT $5
)
UPDATE inbox SET raw = '' FROM due WHERE inbox.tenant = $1 AND inbox.id = due.id
RETURNING inbox.digest AS what;

-- name: empty_quarantine
WITH due AS (
  SELECT id FROM quarantine
  WHERE tenant = $1 AND resolved_at < $2 AND raw <> '' AND cardinality($3::bigint[]) = 0
    AND cardinality($4::text[]) = 0
  ORDER BY id LIMIT $5
)
UPDATE quarantine SET raw = '' FROM due WHERE quarantine.tenant = $1 AND quarantine.id = due.id
RETURNING quarantine.digest AS what;

-- name: delete_outgoing
WITH due AS (
  SELECT id FROM outgoing
  WHERE tenant = $1 AND ended_at < $2 AND status IN ('acknowledged', 'failed')
    AND (sealed_by IS NULL OR sealed_by <> ALL($3::bigint[]))
    AND (patient IS NULL OR patient <> ALL($4::text[]))
  ORDER BY id LIMIT $5
)
DELETE FROM outgoing o USING due WHERE o.tenant = $1 AND o.id = due.id
RETURNING convert_to(o.control_id, 'UTF8') AS what;

-- name: delete_proposals
-- With all that hangs on them; that each was decided, by whom and on what, stands in the audit.
WITH due AS (
  SELECT id FROM proposal
  WHERE tenant = $1 AND changed_at < $2
    AND status IN ('shadowed', 'rejected', 'withdrawn', 'verified', 'rolled-back', 'closed')
    AND (sealed_by IS NULL OR sealed_by <> ALL($3::bigint[]))
    AND (patient IS NULL OR patient <> ALL($4::text[]))
  LIMIT $5
), given_back AS (
  DELETE FROM handoff USING due WHERE tenant = $1 AND proposal = due.id
), attempts AS (
  DELETE FROM proposal_attempt USING due WHERE tenant = $1 AND proposal = due.id
), versions AS (
  DELETE FROM proposal_content USING due WHERE tenant = $1 AND proposal = due.id
)
DELETE FROM proposal p USING due WHERE p.tenant = $1 AND p.id = due.id
RETURNING convert_to(p.content_digest, 'UTF8') AS what;

-- name: delete_notifications
WITH due AS (
  SELECT client, charter, number FROM notification
  WHERE tenant = $1 AND delivered_at < $2 AND cardinality($3::bigint[]) >= 0
    AND cardinality($4::text[]) >= 0
  LIMIT $5
)
DELETE FROM notification n USING due
WHERE n.tenant = $1 AND n.client = due.client AND n.charter = due.charter
  AND n.number = due.number
RETURNING convert_to(n.event_id::text, 'UTF8') AS what;

-- name: delete_events
WITH due AS (
  SELECT e.id FROM event e
  WHERE e.tenant = $1 AND e.occurred_at < $2 AND cardinality($3::bigint[]) = 0
    AND cardinality($4::text[]) = 0
    AND NOT EXISTS (SELECT FROM notification n WHERE n.tenant = $1 AND n.event_id = e.id)
    AND NOT EXISTS (SELECT FROM inbox i WHERE i.tenant = $1 AND i.id = e.inbox_id AND i.raw <> '')
  LIMIT $5
)
DELETE FROM event e USING due WHERE e.tenant = $1 AND e.id = due.id
RETURNING convert_to(e.id::text, 'UTF8') AS what;

-- name: delete_accountings
WITH due AS (
  SELECT id FROM accounting
  WHERE tenant = $1 AND made_at < $2 AND patient <> ALL($4::text[])
    AND cardinality($3::bigint[]) >= 0
  LIMIT $5
)
DELETE FROM accounting a USING due WHERE a.tenant = $1 AND a.id = due.id
RETURNING sha256(a.body) AS what;

-- name: delete_expired
-- Credentials that have run out: whatever is held, they are about nobody.
WITH tokens AS (
  DELETE FROM access_token WHERE tenant = $1 AND token_hash IN (
    SELECT token_hash FROM access_token WHERE tenant = $1 AND expires_at < $2 LIMIT $5)
  RETURNING token_hash AS what
), services AS (
  DELETE FROM service_token WHERE tenant = $1 AND token_hash IN (
    SELECT token_hash FROM service_token WHERE tenant = $1 AND expires_at < $2 LIMIT $5)
  RETURNING token_hash AS what
), sessions AS (
  DELETE FROM person_session WHERE tenant = $1 AND session_hash IN (
    SELECT session_hash FROM person_session WHERE tenant = $1 AND expires_at < $2 LIMIT $5)
  RETURNING session_hash AS what
), cursors AS (
  DELETE FROM search_cursor WHERE tenant = $1 AND cursor_hash IN (
    SELECT cursor_hash FROM search_cursor WHERE tenant = $1 AND expires_at < $2 LIMIT $5)
  RETURNING cursor_hash AS what
), assertions AS (
  DELETE FROM assertion_seen WHERE tenant = $1 AND (client, jti) IN (
    SELECT client, jti FROM assertion_seen WHERE tenant = $1 AND expires_at < $2 LIMIT $5)
    AND cardinality($3::bigint[]) >= 0 AND cardinality($4::text[]) >= 0
  RETURNING sha256(convert_to(client || jti, 'UTF8')) AS what
)
SELECT what FROM tokens UNION ALL SELECT what FROM services UNION ALL SELECT what FROM sessions
UNION ALL SELECT what FROM cursors UNION ALL SELECT what FROM assertions;

-- name: prune_events
-- Only numbered ones under a signed head; never those that a verifier needs, nor held ones. Their
-- leaves stay, so the tree verifies as before.
WITH due AS (
  SELECT e.id, l.seq, l.hash FROM audit_event e
  JOIN ledger_leaf l ON l.tenant = $1 AND l.event_id = e.id
  WHERE e.tenant = $1 AND e.recorded < $2 AND cardinality($3::bigint[]) >= 0
    AND l.seq < (SELECT max(tree_size) FROM ledger_head WHERE tenant = $1)
    AND e.action NOT IN ('retention.prune', 'ledger.rotate-key')
    AND (e.patient IS NULL OR e.patient <> ALL($4::text[]))
    AND (e.patients IS NULL OR NOT e.patients && $4::text[])
  ORDER BY e.recorded, e.id LIMIT $5
)
DELETE FROM audit_event e USING due WHERE e.tenant = $1 AND e.id = due.id
RETURNING due.hash AS what, due.seq AS seq;

-- name: select_held_keys
SELECT id FROM patient_key WHERE tenant = $1 AND patient = ANY($2::text[]);

-- name: take_turn
-- One process at a time deletes.
SELECT pg_try_advisory_xact_lock(hashtextextended('chartgate.retention ' || $1, 0));
