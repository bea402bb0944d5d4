-- name: count_questions
-- A question that is new is kept only while there is room; one that is known is counted.
INSERT INTO policy_question (tenant, digest, question, count, last_asked_at)
SELECT $1, asked.digest, asked.question, asked.count, $5
FROM unnest($2::bytea[], $3::bytea[], $4::bigint[]) AS asked (digest, question, count)
WHERE (SELECT count(*) FROM policy_question WHERE tenant = $1) < $6
   OR EXISTS (SELECT 1 FROM policy_question known
              WHERE known.tenant = $1 AND known.digest = asked.digest)
ORDER BY asked.digest
ON CONFLICT (tenant, digest) DO UPDATE
  SET count = policy_question.count + EXCLUDED.count, last_asked_at = EXCLUDED.last_asked_at;

-- name: delete_old_questions
DELETE FROM policy_question WHERE tenant = $1 AND last_asked_at < $2;

-- name: select_questions
SELECT question, count, last_asked_at FROM policy_question
WHERE tenant = $1 ORDER BY count DESC, digest LIMIT $2;
