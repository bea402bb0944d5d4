-- name: insert_audit_events
-- No sequence number here: writers never queue behind one another; the sequencer numbers later.
INSERT INTO audit_event (tenant, recorded, action, agent, patient, outcome, body, site, patients)
SELECT $1, recorded, action, agent, patient, outcome, body, site, string_to_array(patients, ' ')
FROM unnest($2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[],
            $8::text[], $9::text[])
       AS e (recorded, action, agent, patient, outcome, body, site, patients);

-- name: record_reads
-- All of a batch of reads in one statement, so in one round trip and one commit. Gives the epoch:
-- a right that was taken away before this is seen by it.
WITH read_set_rows AS (
  INSERT INTO read_set (tenant, interaction, reference, version, digest, as_of, search)
  SELECT $1, * FROM unnest($8::uuid[], $9::text[], $10::text[], $11::bytea[],
                           $12::timestamptz[], $13::text[])
), interaction_rows AS (
  INSERT INTO interaction (tenant, id, client, charter, site, started_at)
  SELECT $1, * FROM unnest($14::uuid[], $15::text[], $16::text[], $17::text[],
                           $18::timestamptz[])
  ON CONFLICT DO NOTHING
), event_rows AS (
  INSERT INTO audit_event (tenant, recorded, action, agent, patient, outcome, body, site, patients)
  SELECT $1, recorded, action, agent, patient, outcome, body, site, string_to_array(patients, ' ')
  FROM unnest($2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[],
              $19::text[], $20::text[])
         AS e (recorded, action, agent, patient, outcome, body, site, patients)
)
SELECT coalesce((SELECT epoch FROM governance WHERE tenant = $1), 0);
