"""One audit event. Field names follow FHIR AuditEvent and IHE BALP."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

import orjson

from chartgate.errors import Invalid
from chartgate.formats.canonical import canonical_bytes

# Fields that are left out of a leaf when they are None.
SPARSE_FIELDS = (
    "patient",
    "site",
    "charter",
    "charter_digest",
    "purpose",
    "interaction",
    "rule",
    "decision",
    "reason",
    "network",
    "request",
    "consent",
    "disclosed",
    "labels",
    "patients",
)


# Every action that an audit event may name, and what it says happened.
ACTIONS: Mapping[str, str] = {
    "audit.access": "it was reported who saw what of a patient",
    "audit.accounting": "disclosures of a patient's data were accounted for (45 CFR 164.528)",
    "audit.breach": "it was reported whose data an agent may have seen since some time",
    "audit.denials": "it was reported what was refused, and why",
    "audit.export": "events of the audit were written out",
    "audit.review": "activity was reported for a person to review",
    "audit.search": "the audit was searched, or that was refused",
    "audit.sign-off": "a person signed that they reviewed the activity of some time",
    "audit.suspend": "an accounting for one recipient was suspended at an agency's request",
    "break-glass.alarm": "alarm: somebody wanted to break the glass more often than is allowed",
    "break-glass.end": "a break-glass ended, by itself or before its time",
    "break-glass.open": "somebody broke the glass for one patient, or was refused to",
    "break-glass.overdue": "alarm: nobody reviewed a break-glass in time",
    "break-glass.review": "a break-glass was reviewed, or somebody was refused to",
    "change.adopt": "what weakens a rule was put in force, after two people approved it",
    "change.approve": "a person approved a change that weakens a rule, or was refused to",
    "change.await": "a change that weakens a rule waits for two people",
    "change.list": "changes that wait were listed, or that was refused",
    "change.refuse": "a person refused a change that weakens a rule",
    "charter.halt": "new writes under a charter, or all, were stopped",
    "charter.promote": "a charter was moved to another stage of its rollout",
    "charter.reload": "charters were read anew; failed: a broken file left the old ones running",
    "charter.resume": "a halt was ended",
    "config.adopt": "settings that rights hang on are other than before, and took effect",
    "connection.probe": "a system of record was tried, and the verdicts were stored",
    "connection.regress": "alarm: a system of record shows an older version than it showed before",
    "consent.change": "a system of record said something else of a patient's consents than before",
    "consent.import": "a consent was brought in by an operator",
    "consent.revoke": "a patient's consents were revoked here, at once",
    "feed.drift": "messages of a sender were found to look otherwise than before",
    "feed.drift-acknowledge": "a person took that for the new normal, or was refused to",
    "feed.rebuild-start": "a person began to make the record again from the inbox",
    "feed.rebuild-switch": "the record that was made again took the running one's place",
    "feed.rebuild-drop": "a person dropped a record that was made again",
    "feed.sequence": "the number that a numbered feed must send next was moved",
    "feed.sequence-reset": "a person set the number that a numbered link awaits",
    "fhir.read": "an AI client read one resource, or was refused it",
    "fhir.search": "an AI client searched, or was refused to",
    "fhir.write": "an AI client tried to write directly and was refused",
    "handoff.close": "staff closed what was given back to them",
    "handoff.escalate": "work that nobody took on in time went to the next, or its chain ended",
    "handoff.list": "what was given back to staff was listed",
    "handoff.open": "work was given back to staff",
    "handoff.overdue": "alarm: work that was given back to staff is not closed, and its time is over",
    "handoff.release": "a list outside refused what it was given, or lost it: it waits here again",
    "handoff.send": "the intent to tell a list outside was made durable, before anything was sent",
    "handoff.show": "what was given back to staff was shown, or that was refused",
    "handoff.take": "somebody took on what was given back",
    "handoff.tell": "a list outside shows what was given back, and was read back; failed: it differs",
    "hold.add": "a person placed a legal hold: what it covers is neither deleted nor erased",
    "hold.lift": "a person lifted a legal hold",
    "interaction.show": "an operator looked at what an AI client was shown",
    "ledger.rotate-key": "the ledger got a new signing key; the details hold both public keys",
    "ledger.rewound": "the store and the witness of the ledger disagree; no heads are signed",
    "message.accept": "inbound messages were made durable, and then acknowledged",
    "message.process": "inbound messages became versions of the record, and events",
    "message.quarantine": "what could not be taken or read was set aside with its bytes",
    "message.replay": "an operator queued messages again that had been set aside or filtered",
    "notification.deliver": "an AI client took a notification",
    "notification.send": "an AI client is told of an event, before anything was sent",
    "outgoing.acknowledge": "a destination took a message that was sent to it",
    "outgoing.apply": "a destination said later what its application made of a message",
    "outgoing.fail": "a message will not be sent again; the reason says why",
    "outgoing.queue": "a message to be sent was made durable; failed: there is nowhere to send it",
    "outgoing.send": "the intent to send a message was made durable, before anything was sent",
    "person.add": "a person was added, or their password and roles were set",
    "person.remove": "a person was removed; their sessions and break-glasses ended with it",
    "person.restore": "a person who was removed may sign in again",
    "person.seal": "a sealed account was made, or sealed anew",
    "person.sign-in": "somebody signed in, or failed to",
    "person.sign-out": "somebody signed out, on one machine or on all",
    "person.unseal": "alarm: a sealed account was opened with its one-time secret",
    "proposal.close": "closing what was handed off was refused",
    "proposal.commit": "a system of record confirmed a write",
    "proposal.compensate": "part of a write was made, the rest refused: the intent to take it back was made durable",
    "proposal.conflict": "a guard did not hold any more, and nothing was written",
    "proposal.edit": "a reviewer changed what is proposed",
    "proposal.expire": "nobody decided in time",
    "proposal.hand-back": "handing back to staff was refused",
    "proposal.list": "proposals were listed, or that was refused",
    "proposal.not-rolled-back": "a system of record refused an undo; nothing was written",
    "proposal.not-sent": "a write was definitely not made",
    "proposal.provenance": "a system of record took the Provenance of a write, or did not; the write stands",
    "proposal.review": "a person, or the charter's rule, decided",
    "proposal.rollback": "a person asked for an undo",
    "proposal.rollback-many": "a person asked for an undo of many, or somebody looked what it would undo",
    "proposal.rolled-back": "a system of record confirmed an undo",
    "proposal.seed": "a known-bad copy was put before reviewers, to see whether it is caught",
    "proposal.send": "the intent to write was made durable, before anything was sent",
    "proposal.send-rollback": "the intent to undo was made durable, before anything was sent",
    "proposal.show": "a proposal was shown, or that was refused",
    "proposal.submit": "an AI client proposed a change, or was refused to",
    "proposal.take": "taking on what was handed off was refused",
    "proposal.verify": "what was written was read back and compared",
    "proposal.withdraw": "its author took a proposal back",
    "quarantine.dismiss": "an operator closed what was set aside, with a reason",
    "quarantine.fix": "an operator queued an edited copy of what was set aside",
    "quarantine.show": "an operator looks at what was set aside, with all that it says",
    "retention.delete": "what is older than its period was deleted; the details say how much",
    "retention.prune": "audit events older than their period were deleted; their leaves stay in the tree",
    "token.introspect": "a service, or the client whose it is, asked what a token is good for",
    "token.issue": "an AI client or a service got an access token, or was refused one",
    "token.revoke": "access tokens were taken away; denied: there were none, or another's",
    "vendor.contract": "a vendor's contract ends soon, or ended: nothing goes there any more",
    "vault.erase": "a patient was erased: the keys were deleted; denied: a hold or a duty forbids it",
    "vault.erased": "what was left of an erased patient was removed",
    "vault.rotate": "the master key of the vault was replaced",
    "vault.scrub": "everything stored was compared with its digest; failed: something is damaged",
    "web.refuse": "a request was refused at the edge: it was not sound, or had no credential",
}


class Outcome(Enum):
    """What came of it."""

    SUCCESS = "success"
    DENIED = "denied"  # policy said no
    FAILED = "failed"  # allowed, but it did not work


@dataclass(frozen=True, kw_only=True)
class AuditEvent:
    """What happened, by whom, under which rule. `action` is a row of `ACTIONS`."""

    recorded: datetime
    action: str  # e.g. "fhir.read", "proposal.review"
    agent: str  # Principal.agent, e.g. "client:slot-picker"
    outcome: Outcome = Outcome.SUCCESS
    entities: tuple[str, ...] = ()  # references, e.g. "Slot/12", "Proposal/3f…"
    patient: str | None = None  # "Patient/7" where one is known
    site: str | None = None
    charter: str | None = None
    charter_digest: str | None = None  # hex
    purpose: str | None = None  # HL7 v3 PurposeOfUse
    interaction: str | None = None
    rule: str | None = None  # id of the policy rule that decided
    decision: str | None = None  # Decision.id
    reason: str | None = None  # a code or a sentence without patient data
    details: tuple[tuple[str, str], ...] = field(default=())  # few, small, no free text of a chart
    network: str | None = None  # address that the request came from; the store fills it in
    request: str | None = None  # X-Request-Id of the answer; the store fills it in
    consent: str | None = None  # hex digest of mode and consents that were looked at
    disclosed: str | None = None  # hex digest of what left
    labels: tuple[str, ...] | None = None  # security labels of what left, e.g. ("R", "PSY")
    patients: tuple[str, ...] | None = None  # where it is about more than one, instead of `patient`

    def __post_init__(self) -> None:
        assert self.action in ACTIONS, f"{self.action} is no action: add it to ACTIONS"


def leaf_bytes(event: AuditEvent, *, tenant: str) -> bytes:
    """The canonical bytes that the ledger's tree holds for this event: fields that say nothing
    are left out, so that a field added later changes no old leaf."""
    record: dict[str, object] = {
        "recorded": event.recorded.isoformat(timespec="microseconds"),
        "action": event.action,
        "agent": event.agent,
        "outcome": event.outcome.value,
        "tenant": tenant,
    }
    for name in SPARSE_FIELDS:
        value = getattr(event, name)
        if value is not None:
            record[name] = value
    if event.entities:
        record["entities"] = event.entities
    if event.details:
        record["details"] = dict(event.details)
    return canonical_bytes(record)


def read_leaf(body: bytes) -> AuditEvent:
    """The event of a leaf; what a later version may have added is passed over. Raises Invalid
    for what is no leaf."""
    try:
        record = orjson.loads(body)
        sparse = {name: record.get(name) for name in SPARSE_FIELDS}
        for name in ("labels", "patients"):
            sparse[name] = tuple(sparse[name]) if sparse[name] is not None else None
        return AuditEvent(
            recorded=datetime.fromisoformat(record["recorded"]),
            action=record["action"],
            agent=record["agent"],
            outcome=Outcome(record["outcome"]),
            entities=tuple(record.get("entities", ())),
            details=tuple(record.get("details", {}).items()),
            **sparse,
        )
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError):
        raise Invalid("this is no audit event that this version of Chartgate knows") from None
