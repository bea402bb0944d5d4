-- name: insert_look
-- The first time counts: what was shown then is the same bytes now.
INSERT INTO proposal_look (tenant, proposal, version, digest, person, shown_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant, proposal, version, person) DO NOTHING;

-- name: lock_person
-- Decisions of one person queue here, so that one look is never counted for two of them.
SELECT pg_advisory_xact_lock(hashtextextended($1 || ' review ' || $2, 0));

-- name: lock_proposal
-- And those on one proposal queue here, so that the last approval sees the others.
SELECT 1 FROM proposal
WHERE tenant = $1 AND id = $2 AND status = $3 AND content_version = $4 AND content_digest = $5
FOR UPDATE;

-- name: select_look
SELECT l.shown_at, l.early,
       (SELECT max(d.decided_at) FROM proposal_decision d
        WHERE d.tenant = $1 AND d.person = $4 AND d.verdict = 'approve') AS approved_at
FROM (SELECT) one
LEFT JOIN proposal_look l
  ON l.tenant = $1 AND l.proposal = $2 AND l.version = $3 AND l.person = $4 AND l.digest = $5;

-- name: select_approvals
SELECT person, roles, decided_at FROM proposal_decision
WHERE tenant = $1 AND proposal = $2 AND version = $3 AND digest = $4 AND verdict = 'approve'
ORDER BY decided_at, person;

-- name: count_approvals
-- Of the content that each of these proposals has now.
SELECT d.proposal::text AS proposal, count(*) AS count
FROM proposal_decision d
JOIN proposal p ON p.tenant = d.tenant AND p.id = d.proposal AND p.content_version = d.version
WHERE d.tenant = $1 AND d.proposal = ANY ($2::uuid[]) AND d.verdict = 'approve'
GROUP BY d.proposal;

-- name: insert_decision
INSERT INTO proposal_decision
  (tenant, proposal, version, digest, person, roles, verdict, decided_at, dwell_s, floor_s, early,
   asked, acknowledged)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- name: note_early
UPDATE proposal_look SET early = early + 1
WHERE tenant = $1 AND proposal = $2 AND version = $3 AND person = $4;

-- name: select_decisions
-- The newest first. Each of $2 to $4 may be null: then it does not narrow.
SELECT d.proposal::text AS proposal, d.person, d.roles, d.verdict, d.decided_at, d.dwell_s,
       d.floor_s, d.early, p.charter, p.action, p.seed, c.edited_by IS NOT NULL AS edited
FROM proposal_decision d
JOIN proposal p ON p.tenant = d.tenant AND p.id = d.proposal
LEFT JOIN proposal_content c
  ON c.tenant = d.tenant AND c.proposal = d.proposal AND c.version = d.version
WHERE d.tenant = $1
  AND ($2::timestamptz IS NULL OR d.decided_at >= $2)
  AND ($3::text IS NULL OR p.charter = $3)
  AND ($4::text IS NULL OR d.person = $4)
ORDER BY d.decided_at DESC, d.proposal
LIMIT $5;
