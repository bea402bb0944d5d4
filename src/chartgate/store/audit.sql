-- name: insert_audit_events
-- No sequence number here: writers never queue behind one another; the sequencer numbers later.
INSERT INTO audit_event (tenant, recorded, action, agent, patient, outcome, body)
SELECT $1, * FROM unnest($2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[],
                         $7::bytea[]);
