-- name: insert_audit_events
-- No sequence number here: writers never queue behind one another; the sequencer numbers later.
INSERT INTO audit_event (tenant, recorded, action, agent, patient, outcome, body, site, patients)
SELECT $1, recorded, action, agent, patient, outcome, body, site, string_to_array(patients, ' ')
FROM unnest($2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[],
            $8::text[], $9::text[])
       AS e (recorded, action, agent, patient, outcome, body, site, patients);

-- name: record_reads
-- All of a batch of reads in one statement, so in one round trip and one commit. Gives the epoch:
-- a right that was taken away before this is seen by it; and which of the copies that were taken
-- for the record's current ones are not.
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
  RETURNING id, recorded
), numbered AS (
  SELECT id, recorded, row_number() OVER (ORDER BY id) AS position FROM event_rows
), frame_rows AS (
  INSERT INTO disclosure_frame (tenant, event_id, recorded, interaction, digest, sealed_by, frame,
                                resource_key)
  SELECT $1, e.id, e.recorded, f.interaction, f.digest, f.sealed_by, f.frame, f.resource_key
  FROM unnest($21::bigint[], $22::uuid[], $23::bytea[], $24::bigint[], $25::bytea[],
              $26::bigint[])
         AS f (position, interaction, digest, sealed_by, frame, resource_key)
  JOIN numbered e USING (position)
), body_rows AS (
  -- Where the key was deleted meanwhile, its patient has been erased: nothing is kept under it.
  INSERT INTO disclosure AS d (tenant, digest, sealed_by, body, shown_on)
  SELECT $1, b.digest, b.sealed_by, b.body, b.shown_on
  FROM unnest($27::bytea[], $28::bigint[], $29::bytea[], $30::date[])
         AS b (digest, sealed_by, body, shown_on)
  WHERE EXISTS (SELECT FROM patient_key k
                WHERE k.tenant = $1 AND k.id = b.sealed_by FOR KEY SHARE)
  ON CONFLICT (tenant, digest, sealed_by) DO UPDATE SET shown_on = EXCLUDED.shown_on
    WHERE d.shown_on < EXCLUDED.shown_on
)
SELECT coalesce((SELECT epoch FROM governance WHERE tenant = $1), 0) AS epoch,
       ARRAY(SELECT s.position
             FROM unnest($31::integer[], $32::text[], $33::text[], $34::text[], $35::bytea[])
                    AS s (position, connection, resource_type, id, digest)
             WHERE NOT EXISTS (
               SELECT FROM record r
               WHERE r.tenant = $1 AND r.connection = s.connection
                 AND r.resource_type = s.resource_type AND r.id = s.id AND r.digest = s.digest
                 AND (r.sealed_by IS NULL OR EXISTS (SELECT FROM patient_key k
                                                     WHERE k.tenant = $1 AND k.id = r.sealed_by))
             )) AS out_of_date;
