-- The truth about the store. migrations/NNNN_*.sql must arrive at exactly this (tested).
-- Every table leads with the tenant: it shards by it, and row-level security holds it apart.

CREATE TABLE audit_event (
  tenant text NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),  -- lets the sequencer see what is settled
  recorded timestamptz NOT NULL,
  action text NOT NULL,
  agent text NOT NULL,
  patient text,
  outcome text NOT NULL CHECK (outcome IN ('success', 'denied', 'failed')),
  body bytea NOT NULL,  -- the leaf: canonical JSON
  site text,
  patients text[],  -- where it is about more than one
  PRIMARY KEY (tenant, id)
);
CREATE INDEX audit_event_settled ON audit_event (tenant, xid, id);
-- For the questions that the audit is asked most, newest first. Each costs every event that is
-- written, so those by action or site go along the first and look.
CREATE INDEX audit_event_recorded ON audit_event (tenant, recorded, id);
CREATE INDEX audit_event_patient ON audit_event (tenant, patient, recorded)
  WHERE patient IS NOT NULL;
CREATE INDEX audit_event_patients ON audit_event (tenant, recorded) WHERE patients IS NOT NULL;
CREATE INDEX audit_event_agent ON audit_event (tenant, agent, recorded);
CREATE INDEX audit_event_refused ON audit_event (tenant, outcome, recorded)
  WHERE outcome <> 'success';

CREATE TABLE ledger_leaf (
  tenant text NOT NULL,
  seq bigint NOT NULL CHECK (seq >= 0),  -- gap-free, from 0
  event_id bigint NOT NULL,
  hash bytea NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (tenant, seq),
  UNIQUE (tenant, event_id)
);

-- Roots of complete subtrees of 256^level leaves: what a proof needs beside 256 leaves.
CREATE TABLE ledger_node (
  tenant text NOT NULL,
  level smallint NOT NULL CHECK (level > 0),
  idx bigint NOT NULL CHECK (idx >= 0),
  hash bytea NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (tenant, level, idx)
);

CREATE TABLE ledger_head (
  tenant text NOT NULL,
  tree_size bigint NOT NULL CHECK (tree_size >= 0),
  root bytea NOT NULL CHECK (length(root) = 32),
  signed_at timestamptz NOT NULL,
  checkpoint text NOT NULL,  -- C2SP signed note
  PRIMARY KEY (tenant, tree_size)
);

-- How far the sequencer has come. system_identifier tells a restored cluster from the old one,
-- in which transaction ids start again.
CREATE TABLE ledger_cursor (
  tenant text NOT NULL PRIMARY KEY,
  xid xid8 NOT NULL,
  event_id bigint NOT NULL,
  system_identifier text NOT NULL
);

CREATE TABLE charter_revision (
  tenant text NOT NULL,
  charter text NOT NULL,
  digest text NOT NULL,
  revision integer NOT NULL,
  body bytea NOT NULL,
  loaded_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, charter, digest)
);

CREATE TABLE charter_stage (
  tenant text NOT NULL,
  charter text NOT NULL,
  stage text NOT NULL CHECK (stage IN ('shadow', 'suggest', 'pilot', 'canary', 'full')),
  set_by text NOT NULL,
  set_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, charter)
);

-- A row is a halt in force; scope '*' is everything.
CREATE TABLE halt (
  tenant text NOT NULL,
  scope text NOT NULL,
  reason text NOT NULL,
  halted_by text NOT NULL,
  halted_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, scope)
);

CREATE TABLE connection_verdict (
  tenant text NOT NULL,
  connection text NOT NULL,
  line text NOT NULL,  -- e.g. "if_match_on_put"
  holds boolean NOT NULL,
  detail text NOT NULL,
  probed_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, connection, line)
);

CREATE TABLE access_token (
  tenant text NOT NULL,
  token_hash bytea NOT NULL CHECK (length(token_hash) = 32),
  client text NOT NULL,
  charter text NOT NULL,
  scopes text[] NOT NULL,
  expires_at timestamptz NOT NULL,
  sites text[] NOT NULL,  -- where it holds
  audience text NOT NULL,  -- the address that it was issued for
  issued_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, token_hash)
);

CREATE TABLE service_token (
  tenant text NOT NULL,
  token_hash bytea NOT NULL CHECK (length(token_hash) = 32),
  service text NOT NULL,
  expires_at timestamptz NOT NULL,
  audience text NOT NULL,
  issued_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, token_hash)
);

CREATE TABLE assertion_seen (
  tenant text NOT NULL,
  client text NOT NULL,
  jti text NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, client, jti)
);

-- Removed people stay, so that nobody else gets their name. Of a sealed account password_hash is the
-- hash of its one-time secret; it is null once that was used.
CREATE TABLE person (
  tenant text NOT NULL,
  name text NOT NULL,
  password_hash text,  -- argon2id
  roles text[] NOT NULL,
  sites text[] NOT NULL,
  failures integer NOT NULL DEFAULT 0,
  locked_until timestamptz,
  issuer text,  -- who vouches for them, and
  subject text,  -- what it knows them by; both null for those of our own
  sealed boolean NOT NULL DEFAULT false,
  opened_at timestamptz,  -- when the seal was broken
  removed_at timestamptz,
  PRIMARY KEY (tenant, name),
  UNIQUE (tenant, issuer, subject),
  CHECK ((issuer IS NULL) = (subject IS NULL)),
  CHECK (issuer IS NULL OR password_hash IS NULL),
  CHECK (removed_at IS NULL OR password_hash IS NULL)
);

-- Roles and sites as they were when it was opened; taking one away ends it.
CREATE TABLE person_session (
  tenant text NOT NULL,
  session_hash bytea NOT NULL CHECK (length(session_hash) = 32),
  person text NOT NULL,
  csrf text NOT NULL,
  roles text[] NOT NULL,
  sites text[] NOT NULL,
  mfa boolean NOT NULL,
  sealed boolean NOT NULL,
  patient text,  -- of an EHR launch
  seen_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, session_hash),
  FOREIGN KEY (tenant, person) REFERENCES person ON DELETE CASCADE
);

-- Sign-ins that have gone to a provider and are not back yet. No secret stands here.
CREATE TABLE sign_in_attempt (
  tenant text NOT NULL,
  state_hash bytea NOT NULL CHECK (length(state_hash) = 32),
  browser_hash bytea NOT NULL CHECK (length(browser_hash) = 32),  -- of its cookie
  way text NOT NULL,  -- "oidc", or "launch:NAME"
  then_path text NOT NULL,
  session_hash bytea,  -- of the session that this one replaces
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, state_hash)
);
CREATE INDEX sign_in_attempt_ends ON sign_in_attempt (tenant, expires_at);

CREATE TABLE break_glass (
  tenant text NOT NULL,
  id uuid NOT NULL,
  person text NOT NULL,
  site text NOT NULL,
  patient text NOT NULL,
  code text NOT NULL CHECK (code IN ('BTG', 'ETREAT')),
  words text NOT NULL,
  sealed boolean NOT NULL,
  opened_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  ended_at timestamptz,
  ended_by text,
  review_due_at timestamptz NOT NULL,
  overdue_at timestamptz,  -- when it was found that nobody had looked in time
  reviewed_at timestamptz,
  reviewed_by text,
  finding text CHECK (finding IN ('justified', 'not-justified')),
  remark text,
  PRIMARY KEY (tenant, id),
  CHECK (ends_at > opened_at AND ends_at <= opened_at + interval '60 minutes'),
  CHECK (review_due_at <= opened_at + interval '72 hours'),
  CHECK ((ended_at IS NULL) = (ended_by IS NULL)),
  CHECK ((reviewed_at IS NULL) = (reviewed_by IS NULL)),
  CHECK ((reviewed_at IS NULL) = (finding IS NULL)),
  CHECK (reviewed_by IS NULL OR reviewed_by <> 'person:' || person),
  CHECK (reviewed_at IS NULL OR ended_at IS NOT NULL)
);
CREATE INDEX break_glass_of ON break_glass (tenant, person, opened_at);
CREATE INDEX break_glass_to_review ON break_glass (tenant, review_due_at)
  WHERE reviewed_at IS NULL;

CREATE TABLE interaction (
  tenant text NOT NULL,
  id uuid NOT NULL,
  client text NOT NULL,
  charter text NOT NULL,
  site text NOT NULL,
  started_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, id)
);

CREATE TABLE read_set (
  tenant text NOT NULL,
  interaction uuid NOT NULL,
  position bigint GENERATED ALWAYS AS IDENTITY,
  reference text NOT NULL,
  version text NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  as_of timestamptz NOT NULL,
  search text,
  PRIMARY KEY (tenant, interaction, position)
);

-- The record: each version of each resource that Chartgate has seen, kept once.
CREATE TABLE record_version (
  tenant text NOT NULL,
  connection text NOT NULL,
  resource_type text NOT NULL,
  id text NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  version text NOT NULL,
  body bytea NOT NULL,  -- canonical JSON, sealed
  sealed_by bigint,  -- its key in patient_key; null: plain
  seen_at timestamptz NOT NULL,
  message bigint,  -- of the inbox, that made it; null where a system of record said it
  trace text NOT NULL DEFAULT '',  -- the tables' revision, and which rows took what from where
  PRIMARY KEY (tenant, connection, resource_type, id, digest)
);

-- Which version is current, and when that was last known to be so.
CREATE TABLE record (
  tenant text NOT NULL,
  connection text NOT NULL,
  resource_type text NOT NULL,
  id text NOT NULL,
  digest bytea NOT NULL,
  version text NOT NULL,
  as_of timestamptz NOT NULL,
  stamps text NOT NULL DEFAULT '',  -- MSH-7 of each sender's last message about it, as JSON
  sealed_by bigint,  -- as of its version: without that key it is as if it were not here
  PRIMARY KEY (tenant, connection, resource_type, id),
  FOREIGN KEY (tenant, connection, resource_type, id, digest) REFERENCES record_version
) WITH (fillfactor = 80);

CREATE TABLE inbox (
  tenant text NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  connection text NOT NULL,
  sender text NOT NULL,
  control_id text NOT NULL,
  message_type text NOT NULL,
  lane integer NOT NULL,
  merged_lane integer,  -- of the patient who is merged away, which must keep its order too
  digest bytea NOT NULL CHECK (length(digest) = 32),
  raw bytea NOT NULL,  -- sealed by its connection's key; empty: erased
  ack bytea NOT NULL,  -- empty where none was asked for
  application_ack text NOT NULL DEFAULT ''  -- MSH-16: when to send a second one, after processing
    CHECK (application_ack IN ('', 'AL', 'NE', 'ER', 'SU')),
  received_at timestamptz NOT NULL,
  status text NOT NULL DEFAULT 'queued'
    CHECK (status IN ('queued', 'delivered', 'quarantined', 'filtered')),
  reason text,
  flags text[] NOT NULL DEFAULT '{}',  -- what is odd about it: "late", "charset"
  ended_at timestamptz,  -- when it left the queue, by the store's clock
  edited_from bigint,  -- the quarantine row of whose bytes it is an edited copy
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, connection, sender, control_id),
  CHECK (status <> 'filtered' OR reason IS NOT NULL)
);
CREATE INDEX inbox_queued ON inbox (tenant, id) INCLUDE (lane, merged_lane)
  WHERE status = 'queued';
CREATE INDEX inbox_filtered ON inbox (tenant, id) WHERE status = 'filtered';
CREATE INDEX inbox_edited ON inbox (tenant, edited_from) WHERE edited_from IS NOT NULL;
CREATE INDEX inbox_flagged ON inbox (tenant, id) WHERE flags <> '{}';

-- A record that is being made again from the inbox, beside the running one of its connection.
CREATE TABLE rebuild (
  tenant text NOT NULL,
  connection text NOT NULL,
  revision text NOT NULL,  -- of the tables that it goes by
  overrides text,  -- the site's file as it was; null: the running one
  cursor bigint NOT NULL DEFAULT 0,  -- how far into the inbox it has come
  folded bigint NOT NULL DEFAULT 0,  -- messages that are in it
  filtered bigint NOT NULL DEFAULT 0,  -- that these tables leave out
  refused bigint NOT NULL DEFAULT 0,  -- that these tables cannot take
  examples bigint[] NOT NULL DEFAULT '{}',  -- of those refused, the first
  started_by text NOT NULL,
  started_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, connection)
);

-- Messages that a rebuild has looked at: one that was delivered behind its cursor, because it was
-- replayed or became visible late, is found by not standing here.
CREATE TABLE rebuild_message (
  tenant text NOT NULL,
  connection text NOT NULL,
  id bigint NOT NULL,  -- of the inbox
  PRIMARY KEY (tenant, connection, id),
  FOREIGN KEY (tenant, connection) REFERENCES rebuild ON DELETE CASCADE
);

-- What each worker has in hand: a message that ends its worker is found by it.
CREATE TABLE inbox_batch (
  tenant text NOT NULL,
  worker text NOT NULL,
  ids bigint[] NOT NULL,
  tries integer NOT NULL,
  taken_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, worker)
);

-- Feeds whose messages are numbered: what each sender must send next; -1 is whatever it likes.
CREATE TABLE feed_sequence (
  tenant text NOT NULL,
  connection text NOT NULL,
  sender text NOT NULL,
  expected bigint NOT NULL CHECK (expected = -1 OR expected > 0),
  PRIMARY KEY (tenant, connection, sender)
);

-- What could not be taken or transformed, with its bytes: one row for the same bytes and class.
-- inbox_id is null for bytes that never became a message of the inbox. Reason and position are
-- those of the last time.
CREATE TABLE quarantine (
  tenant text NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  connection text NOT NULL,
  inbox_id bigint,
  sender text NOT NULL DEFAULT '',  -- MSH-3|MSH-4, where there is a header
  message_type text NOT NULL DEFAULT '',
  reason_class text NOT NULL,
  reason text NOT NULL,
  position text NOT NULL DEFAULT '',
  digest bytea NOT NULL CHECK (length(digest) = 32),
  raw bytea NOT NULL,  -- sealed by its connection's key; empty: erased
  first_seen_at timestamptz NOT NULL,
  last_seen_at timestamptz NOT NULL,
  count integer NOT NULL DEFAULT 1,
  status text NOT NULL DEFAULT 'open'
    CHECK (status IN ('open', 'fixed', 'replayed', 'dismissed')),
  resolved_at timestamptz,
  resolved_by text,
  because text,
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, connection, reason_class, digest),
  CHECK ((status = 'open') = (resolved_at IS NULL)),
  CHECK ((status = 'open') = (resolved_by IS NULL)),
  CHECK (status <> 'dismissed' OR because IS NOT NULL)
);
CREATE INDEX quarantine_open ON quarantine (tenant, connection, reason_class, first_seen_at)
  INCLUDE (last_seen_at, count) WHERE status = 'open';
CREATE INDEX quarantine_message ON quarantine (tenant, inbox_id) WHERE status = 'open';

-- What each transaction adds to the counts of the inbox, written with it; a worker folds it into
-- inbox_count. Rows of their own, since one row for all would make every writer wait.
CREATE TABLE inbox_change (
  tenant text NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  connection text NOT NULL,
  reason text NOT NULL DEFAULT '',  -- of what was filtered
  at timestamptz NOT NULL DEFAULT now(),
  received bigint NOT NULL DEFAULT 0,
  queued bigint NOT NULL DEFAULT 0,
  delivered bigint NOT NULL DEFAULT 0,
  quarantined bigint NOT NULL DEFAULT 0,
  filtered bigint NOT NULL DEFAULT 0,
  flagged bigint NOT NULL DEFAULT 0,  -- of those ended
  late bigint NOT NULL DEFAULT 0,  -- of those flagged
  PRIMARY KEY (tenant, id),
  CHECK (received = delivered + queued + quarantined + filtered)
);

-- How many messages came and where they stand: of all time (minute is '-infinity'), and of each
-- of the last minutes, for rates.
CREATE TABLE inbox_count (
  tenant text NOT NULL,
  connection text NOT NULL,
  reason text NOT NULL,
  minute timestamptz NOT NULL,
  received bigint NOT NULL,
  queued bigint NOT NULL,
  delivered bigint NOT NULL,
  quarantined bigint NOT NULL,
  filtered bigint NOT NULL,
  flagged bigint NOT NULL,
  late bigint NOT NULL,
  PRIMARY KEY (tenant, connection, reason, minute),
  CHECK (received = delivered + queued + quarantined + filtered)
);

CREATE TABLE event (
  tenant text NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  site text NOT NULL,
  kind text NOT NULL,
  focus text[] NOT NULL,
  occurred_at timestamptz NOT NULL,
  inbox_id bigint NOT NULL,  -- the message that told of it; 0: it is of our own
  PRIMARY KEY (tenant, id)
);

-- Subscriptions number what they send; the number is taken in the event's own transaction.
CREATE TABLE subscription (
  tenant text NOT NULL,
  client text NOT NULL,
  charter text NOT NULL,
  last_number bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, client, charter)
);

CREATE TABLE notification (
  tenant text NOT NULL,
  client text NOT NULL,
  charter text NOT NULL,
  number bigint NOT NULL,  -- gap-free per subscription, from 1
  event_id bigint NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  next_try_at timestamptz NOT NULL,
  lease_until timestamptz,
  delivered_at timestamptz,
  last_error text,
  PRIMARY KEY (tenant, client, charter, number)
);
CREATE INDEX notification_waiting ON notification (tenant, client, charter, number)
  WHERE delivered_at IS NULL;

-- Messages on their way out. Of each lane one is under way, in the order of their ids; lease and
-- fence stand with the lane, since only all of it can be held.
CREATE TABLE outgoing (
  tenant text NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  destination text NOT NULL,  -- a connection
  lane text NOT NULL,
  control_id text NOT NULL,  -- MSH-10
  cause text NOT NULL,  -- e.g. "Message/12"
  patient text,
  raw bytea NOT NULL,  -- sealed
  sealed_by bigint,
  queued_at timestamptz NOT NULL,
  status text NOT NULL CHECK (status IN ('queued', 'sent', 'acknowledged', 'failed')),
  attempts integer NOT NULL DEFAULT 0,
  refusals integer NOT NULL DEFAULT 0,
  ack bytea,
  reason text,
  ended_at timestamptz,
  applied text CHECK (applied IN ('AA', 'AE', 'AR')),  -- by a later application acknowledgement
  applied_at timestamptz,
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, control_id, destination),
  CHECK (status <> 'failed' OR reason IS NOT NULL),
  CHECK (status <> 'acknowledged' OR ack IS NOT NULL OR applied IS NOT NULL),
  CHECK (status = 'queued' OR status = 'failed' OR attempts > 0)
);
CREATE INDEX outgoing_waiting ON outgoing (tenant, destination, lane, id)
  WHERE status IN ('queued', 'sent');
CREATE INDEX outgoing_failed ON outgoing (tenant, destination, id) WHERE status = 'failed';

CREATE TABLE outgoing_lane (
  tenant text NOT NULL,
  destination text NOT NULL,
  lane text NOT NULL,
  fence bigint NOT NULL DEFAULT 0,
  lease_until timestamptz,
  claimed_at timestamptz,
  next_try_at timestamptz NOT NULL,
  failures integer NOT NULL DEFAULT 0,  -- in a row
  last_error text,
  PRIMARY KEY (tenant, destination, lane)
);

CREATE TABLE proposal (
  tenant text NOT NULL,
  id uuid NOT NULL,
  charter text NOT NULL,
  charter_digest text NOT NULL,
  action text NOT NULL,
  site text NOT NULL,
  connection text NOT NULL,
  author text NOT NULL,
  interaction uuid NOT NULL,
  idempotency_key text,
  stage text NOT NULL,
  status text NOT NULL CHECK (status IN ('shadowed', 'pending-review', 'approved', 'rejected',
    'expired', 'withdrawn', 'handed-off', 'conflicted', 'committing', 'committed', 'verified',
    'mismatched', 'rolling-back', 'rolled-back', 'closed')),
  content_version integer NOT NULL CHECK (content_version > 0),
  content_digest text NOT NULL,
  confidence double precision NOT NULL CHECK (confidence BETWEEN 0 AND 1),
  patient text,  -- whom it is about
  sealed_by bigint,  -- the key of rationale, receipt, compensation, contents and attempts
  rationale bytea NOT NULL,
  created_at timestamptz NOT NULL,
  due_at timestamptz NOT NULL,
  decided_by text,
  decided_at timestamptz,
  decided_digest text,
  reason text,
  receipt bytea,
  compensation bytea,
  attempts integer NOT NULL DEFAULT 0,
  fence bigint NOT NULL DEFAULT 0,
  lease_until timestamptz,
  next_try_at timestamptz,
  changed_at timestamptz NOT NULL,
  seed text,  -- a known-bad one, put before reviewers to see whether they catch it: its template
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, author, idempotency_key),
  -- A known-bad one waits, and ends; there is no way from it to a write or to staff.
  replaces uuid,  -- an earlier one of the same client that met a conflict
  CHECK (seed IS NULL OR (status IN ('pending-review', 'withdrawn') AND receipt IS NULL)),
  -- Nothing is sent without a decision on exactly this content.
  CHECK (status NOT IN ('approved', 'committing', 'committed', 'verified', 'mismatched',
           'rolling-back', 'rolled-back')
         OR (decided_by IS NOT NULL AND decided_at IS NOT NULL
             AND decided_digest IS NOT DISTINCT FROM content_digest)),
  CHECK (decided_by IS DISTINCT FROM author),
  CHECK (status NOT IN ('committed', 'verified', 'rolling-back', 'rolled-back')
         OR (receipt IS NOT NULL AND compensation IS NOT NULL))
);
CREATE INDEX proposal_work
  ON proposal (tenant, status, (coalesce(next_try_at, '-infinity'::timestamptz)), decided_at, id)
  WHERE status IN ('pending-review', 'approved', 'conflicted', 'committing', 'committed',
                   'expired', 'mismatched', 'rolling-back');
CREATE INDEX proposal_recent ON proposal (tenant, created_at);
CREATE INDEX proposal_leased ON proposal (tenant, lease_until) WHERE lease_until IS NOT NULL;

CREATE TABLE proposal_content (
  tenant text NOT NULL,
  proposal uuid NOT NULL,
  version integer NOT NULL,
  digest text NOT NULL,
  body bytea NOT NULL,  -- canonical JSON of changes and differences
  touches bigint[] NOT NULL,  -- what it changes or names: no two such writes are in work at once
  edited_by text,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, proposal, version),
  FOREIGN KEY (tenant, proposal) REFERENCES proposal DEFERRABLE INITIALLY DEFERRED
);

-- Intent before each send: what went out, on which versions it stood, and what came back.
CREATE TABLE proposal_attempt (
  tenant text NOT NULL,
  proposal uuid NOT NULL,
  direction text NOT NULL CHECK (direction IN ('commit', 'rollback', 'compensation')),
  attempt integer NOT NULL CHECK (attempt > 0),
  fence bigint NOT NULL,
  intent bytea NOT NULL,  -- canonical JSON of the Prepared write
  done bytea,  -- what its first changes did, where they go one after the other
  started_at timestamptz NOT NULL,
  verdict text CHECK (verdict IN ('applied', 'not-applied', 'cannot-tell', 'partly')),
  ended_at timestamptz,
  PRIMARY KEY (tenant, proposal, direction, attempt),
  FOREIGN KEY (tenant, proposal) REFERENCES proposal
);

CREATE TABLE handoff (
  tenant text NOT NULL,
  id uuid NOT NULL,
  proposal uuid NOT NULL,
  worklist text NOT NULL,
  site text NOT NULL,
  reason text NOT NULL,
  opened_at timestamptz NOT NULL,
  due_at timestamptz NOT NULL,
  status text NOT NULL CHECK (status IN ('open', 'taken', 'closed')),
  taken_by text,
  outcome text,
  cause text NOT NULL,
  assigned_to text,  -- who is asked first
  step int NOT NULL,  -- escalations that were made
  escalate_at timestamptz,  -- the next one, while it is open
  taken_at timestamptz,
  closed_at timestamptz,
  overdue_at timestamptz,  -- when it was noticed that it is
  revision int NOT NULL,  -- grows with each move; who saw another one moves nothing
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, proposal),  -- never twice
  FOREIGN KEY (tenant, proposal) REFERENCES proposal,
  CHECK (status <> 'closed' OR outcome IS NOT NULL),
  CHECK (status = 'open' OR escalate_at IS NULL)
);
CREATE INDEX handoff_open ON handoff (tenant, worklist, due_at) WHERE status <> 'closed';
CREATE INDEX handoff_to_escalate ON handoff (tenant, escalate_at) WHERE escalate_at IS NOT NULL;
CREATE INDEX handoff_not_noticed ON handoff (tenant, due_at)
  WHERE status <> 'closed' AND overdue_at IS NULL;

-- A handoff on a list outside, e.g. as a Task in the EHR: kept in line with it, whoever moves.
CREATE TABLE handoff_item (
  tenant text NOT NULL,
  handoff uuid NOT NULL,
  connection text NOT NULL,
  kind text NOT NULL,
  state text NOT NULL CHECK (state IN ('waiting', 'standing', 'ended', 'gone')),
  reference text,
  version text,  -- that was looked at last
  shown int NOT NULL DEFAULT 0,  -- the handoff's revision that it shows
  sent_at timestamptz,  -- when something may first have gone out
  attempts int NOT NULL DEFAULT 0,
  last_error text,
  next_look_at timestamptz NOT NULL,
  lease_until timestamptz,
  fence bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, handoff),
  FOREIGN KEY (tenant, handoff) REFERENCES handoff ON DELETE CASCADE,
  CHECK (state <> 'standing' OR reference IS NOT NULL)
);
CREATE INDEX handoff_item_reference ON handoff_item (tenant, connection, reference);
CREATE INDEX handoff_item_due ON handoff_item (tenant, next_look_at)
  WHERE state IN ('waiting', 'standing');

-- What each feed's messages look like, as far as it was learned: canonical JSON, empty at first.
CREATE TABLE drift_profile (
  tenant text NOT NULL,
  connection text NOT NULL,
  sender text NOT NULL,
  message_type text NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (tenant, connection, sender, message_type)
);

-- Changes of what messages look like; of each at most one is open.
CREATE TABLE drift_finding (
  tenant text NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  connection text NOT NULL,
  sender text NOT NULL,
  message_type text NOT NULL,
  position text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('new-segment', 'new-field', 'vanished-field', 'new-code',
    'new-format', 'new-length')),
  detail text NOT NULL,
  was text NOT NULL,
  now text NOT NULL,
  count bigint NOT NULL CHECK (count > 0),
  examples bigint[] NOT NULL,  -- inbox ids
  first_seen_at timestamptz NOT NULL,
  last_seen_at timestamptz NOT NULL,
  acknowledged_by text,
  acknowledged_at timestamptz,
  PRIMARY KEY (tenant, id),
  CHECK ((acknowledged_by IS NULL) = (acknowledged_at IS NULL))
);
CREATE UNIQUE INDEX drift_finding_open ON drift_finding
  (tenant, connection, sender, message_type, position, kind, detail)
  WHERE acknowledged_at IS NULL;

-- Moves whenever a right is taken away (a token, a consent, a person …): what was decided before
-- is then decided anew before anything leaves.
CREATE TABLE governance (
  tenant text NOT NULL PRIMARY KEY,
  epoch bigint NOT NULL
);

-- Where a search goes on, and for whom; kept for minutes.
CREATE TABLE search_cursor (
  tenant text NOT NULL,
  cursor_hash bytea NOT NULL CHECK (length(cursor_hash) = 32),
  client text NOT NULL,
  charter text NOT NULL,
  site text NOT NULL,
  decision text NOT NULL,  -- by which the search was allowed; another one ends it
  interaction uuid NOT NULL,
  resource_type text NOT NULL,
  criteria bytea NOT NULL,  -- JSON
  page_size integer NOT NULL CHECK (page_size > 0),
  expires_at timestamptz NOT NULL,
  position integer NOT NULL CHECK (position > 0),
  after text NOT NULL,
  PRIMARY KEY (tenant, cursor_hash)
);
CREATE INDEX search_cursor_expired ON search_cursor (tenant, expires_at);

-- Which patients a client, or one interaction, has met: what its budget counts.
CREATE TABLE patient_met (
  tenant text NOT NULL,
  scope text NOT NULL,
  patient text NOT NULL,  -- connection and reference
  met_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, scope, patient)
);
CREATE INDEX patient_met_at ON patient_met (tenant, met_at);

-- The vault: one data key for each patient of a connection, wrapped by the master key. To delete a
-- row is to erase what is sealed by it. patient '' stands for what no one patient can be told of.
CREATE TABLE patient_key (
  tenant text NOT NULL,
  id bigint NOT NULL CHECK (id >= 0),
  connection text NOT NULL,
  patient text NOT NULL,
  wrapped bytea NOT NULL,  -- the master key's name, a nonce, the sealed key
  made_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, connection, patient)
);

-- Which master key new data keys are wrapped by.
CREATE TABLE vault_master (
  tenant text NOT NULL PRIMARY KEY,
  master bytea NOT NULL CHECK (length(master) = 4)
);

-- What AI clients were shown: each minimised resource once for each key, and one row an answer.
CREATE TABLE disclosure (
  tenant text NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),  -- of the plain bytes
  sealed_by bigint NOT NULL,
  body bytea NOT NULL,
  shown_on date NOT NULL,  -- the last day on which it was
  PRIMARY KEY (tenant, digest, sealed_by)
);

CREATE TABLE disclosure_frame (
  tenant text NOT NULL,
  event_id bigint NOT NULL,  -- of the read's audit event
  interaction uuid NOT NULL,
  recorded timestamptz NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),  -- of the answer
  sealed_by bigint NOT NULL,
  frame bytea NOT NULL,  -- the pieces in order; empty: the answer is the one resource itself
  resource_key bigint NOT NULL,  -- where the frame is empty: what that resource is sealed by
  PRIMARY KEY (tenant, event_id)
);
CREATE INDEX disclosure_frame_interaction ON disclosure_frame (tenant, interaction);
CREATE INDEX disclosure_frame_recorded ON disclosure_frame (tenant, recorded);

-- Patients who were, or are being, erased.
CREATE TABLE erasure (
  tenant text NOT NULL,
  id uuid NOT NULL,
  site text NOT NULL,
  connections text[] NOT NULL,
  patient text NOT NULL,
  keys bigint[] NOT NULL,  -- that were deleted
  reason text NOT NULL,
  asked_by text NOT NULL,
  begun_at timestamptz NOT NULL,
  counts text NOT NULL DEFAULT '',  -- what was removed, as JSON
  ended_at timestamptz,
  PRIMARY KEY (tenant, id)
);
CREATE INDEX erasure_open ON erasure (tenant, begun_at) WHERE ended_at IS NULL;

-- What may not be deleted, whatever its age.
CREATE TABLE legal_hold (
  tenant text NOT NULL,
  id uuid NOT NULL,
  patient text,  -- null: everybody
  site text,  -- null: all
  reason text NOT NULL,
  placed_by text NOT NULL,
  placed_at timestamptz NOT NULL,
  lifted_by text,
  lifted_at timestamptz,
  lift_reason text,
  PRIMARY KEY (tenant, id),
  CHECK ((lifted_by IS NULL) = (lifted_at IS NULL)),
  CHECK ((lifted_by IS NULL) = (lift_reason IS NULL))
);

-- What systems of record said of patients' consents: a copy, whole, as of one moment.
CREATE TABLE consent_state (
  tenant text NOT NULL,
  connection text NOT NULL,
  patient text NOT NULL,
  as_of timestamptz NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),  -- over the bodies
  bodies bytea[] NOT NULL,  -- canonical JSON
  PRIMARY KEY (tenant, connection, patient)
);

-- Consents that were brought here, and revocations that were recorded here.
CREATE TABLE consent_local (
  tenant text NOT NULL,
  site text NOT NULL,
  patient text NOT NULL,
  id text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('consent', 'revocation')),
  body bytea NOT NULL,  -- canonical JSON
  recorded_by text NOT NULL,
  recorded_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, site, patient, id)
);

-- What was adopted last, of each kind: what a change is compared with, and what runs on until a
-- weaker one is approved. The serial is one more with each adoption, so that no approval is used
-- for another.
CREATE TABLE adopted_state (
  tenant text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('charters', 'config')),
  serial bigint NOT NULL CHECK (serial > 0),
  digest text NOT NULL,
  body bytea NOT NULL,  -- canonical JSON: the files, or the settings that matter
  adopted_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, kind)
);

-- What weakens a rule waits here for two people.
CREATE TABLE change_request (
  tenant text NOT NULL,
  digest text NOT NULL,  -- over kind, serial, before and after: an approval is for exactly this
  kind text NOT NULL CHECK (kind IN ('charters', 'config', 'stage')),
  subject text NOT NULL,  -- "clinic-booking full" of a stage
  sentences text[] NOT NULL CHECK (cardinality(sentences) > 0),
  asked_by text NOT NULL,
  asked_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  status text NOT NULL CHECK (status IN ('waiting', 'approved', 'refused', 'adopted')),
  PRIMARY KEY (tenant, digest)
);

CREATE TABLE change_approval (
  tenant text NOT NULL,
  digest text NOT NULL,
  person text NOT NULL,
  approved_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, digest, person),
  FOREIGN KEY (tenant, digest) REFERENCES change_request
);

-- Distinct questions that policy was asked, without any patient, to try another policy on.
CREATE TABLE policy_question (
  tenant text NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  question bytea NOT NULL,  -- canonical JSON
  count bigint NOT NULL CHECK (count > 0),
  last_asked_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, digest)
);

-- An activity review that a person signed; the digest is of the report that they saw.
CREATE TABLE audit_review (
  tenant text NOT NULL,
  since timestamptz NOT NULL,
  until timestamptz NOT NULL CHECK (until > since),
  signed_by text NOT NULL,
  signed_at timestamptz NOT NULL,
  digest text NOT NULL,
  note text NOT NULL,
  PRIMARY KEY (tenant, since, until, signed_by, signed_at)
);

-- Accountings of disclosures as they were given: 45 CFR 164.528(d) wants them kept.
CREATE TABLE accounting (
  tenant text NOT NULL,
  id uuid NOT NULL,
  patient text NOT NULL,
  since timestamptz NOT NULL,
  until timestamptz NOT NULL,
  made_by text NOT NULL,
  made_at timestamptz NOT NULL,
  body bytea NOT NULL,  -- canonical JSON
  PRIMARY KEY (tenant, id)
);
CREATE INDEX accounting_patient ON accounting (tenant, patient, made_at);

-- Recipients that a patient is not told of for a while: 45 CFR 164.528(a)(2).
CREATE TABLE accounting_suspension (
  tenant text NOT NULL,
  patient text NOT NULL,
  recipient text NOT NULL,  -- an agent, e.g. "client:registry"
  until timestamptz NOT NULL,
  reason text NOT NULL,
  set_by text NOT NULL,
  set_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, patient, recipient)
);

-- How far each audit record repository has been sent the ledger.
CREATE TABLE atna_cursor (
  tenant text NOT NULL,
  destination text NOT NULL,
  seq bigint NOT NULL CHECK (seq >= 0),  -- of the event to send next
  failures integer NOT NULL DEFAULT 0,  -- in a row
  next_try_at timestamptz NOT NULL,
  lease_until timestamptz,
  sent_at timestamptz,
  last_error text,
  PRIMARY KEY (tenant, destination)
);

-- When somebody was first shown a version of a proposal, and how often they were too quick with it.
CREATE TABLE proposal_look (
  tenant text NOT NULL,
  proposal uuid NOT NULL,
  version integer NOT NULL,
  digest text NOT NULL,
  person text NOT NULL,
  shown_at timestamptz NOT NULL,
  early integer NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, proposal, version, person),
  FOREIGN KEY (tenant, proposal) REFERENCES proposal ON DELETE CASCADE
);

-- What each person decided on which content. Where a charter asks for several, it is approved with
-- the last of them.
CREATE TABLE proposal_decision (
  tenant text NOT NULL,
  proposal uuid NOT NULL,
  version integer NOT NULL,
  digest text NOT NULL,
  person text NOT NULL,
  roles text[] NOT NULL,  -- that they held, of those that review
  verdict text NOT NULL CHECK (verdict IN ('approve', 'refuse', 'hand-back', 'edit')),
  decided_at timestamptz NOT NULL,
  dwell_s double precision NOT NULL CHECK (dwell_s >= 0),
  floor_s double precision NOT NULL CHECK (floor_s >= 0),
  early integer NOT NULL,
  asked integer NOT NULL,  -- how many differences had to be ticked off
  acknowledged integer NOT NULL,  -- how many were
  PRIMARY KEY (tenant, proposal, version, person, verdict),
  FOREIGN KEY (tenant, proposal) REFERENCES proposal ON DELETE CASCADE,
  -- Nobody approves faster than they can look, or without having ticked off what they must.
  CHECK (verdict <> 'approve' OR dwell_s >= floor_s),
  CHECK (verdict <> 'approve' OR acknowledged >= asked)
);
CREATE INDEX proposal_decision_recent ON proposal_decision (tenant, decided_at);
CREATE INDEX proposal_decision_person ON proposal_decision (tenant, person, decided_at);

-- The Provenance that a write has still to leave in the system of record, or what became of it.
CREATE TABLE provenance_due (
  tenant text NOT NULL,
  proposal uuid NOT NULL,
  status text NOT NULL CHECK (status IN ('due', 'written', 'refused')),
  attempts integer NOT NULL DEFAULT 0,
  fence bigint NOT NULL DEFAULT 0,
  lease_until timestamptz,
  next_try_at timestamptz,
  reference text,  -- "Provenance/12"
  reason text,
  changed_at timestamptz NOT NULL,
  PRIMARY KEY (tenant, proposal),
  FOREIGN KEY (tenant, proposal) REFERENCES proposal ON DELETE CASCADE,
  CHECK ((status = 'written') = (reference IS NOT NULL))
);
CREATE INDEX provenance_work ON provenance_due (tenant, next_try_at) WHERE status = 'due';

-- Tenants never meet, whoever owns the tables.
DO $$
DECLARE name text;
BEGIN
  FOR name IN SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind = 'r' AND n.nspname = current_schema() AND c.relname <> 'migration'
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON %I USING (tenant = current_setting(''chartgate.tenant''))'
                   ' WITH CHECK (tenant = current_setting(''chartgate.tenant''))', name);
  END LOOP;
END $$;
