"""The walk of a message on its way out: durable with its cause, then sent until it is taken.

A message is queued in the transaction of what causes it, with its audit event; `lanes.py` sends
it. What a destination's application says of it later comes in as a message of its own.
"""

from dataclasses import replace

from chartgate.formats.canonical import digest
from chartgate.formats.hl7v2 import read_header
from chartgate.formats.hl7v2_ack import INTERNAL, Complaint, application_ack, is_wanted
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.message import InboxStatus, Processed, Queued
from chartgate.model.outgoing import DestinationStatus, Draft
from chartgate.store.database import Connection
from chartgate.store.outgoing import OutgoingStore

AGENT = "process:worker"


async def queue_in(
    gate: Gate, transaction: Connection, draft: Draft, *, agent: str = AGENT
) -> AuditEvent | None:
    """Queues one message in the transaction of its cause, and gives the audit event that belongs
    into it; None where it was queued before. Where its destination cannot be sent to, it is kept
    as failed, with what to configure."""
    transmitter = gate.transmitters.get(draft.destination)
    missing = (
        transmitter.missing
        if transmitter is not None
        else f"the connection {draft.destination} is none that messages can be sent to"
    )
    at = gate.clock()
    store = OutgoingStore(gate.database)
    ids = await store.queue_in(transaction, [draft], at=at, failed=missing)
    if draft.control_id not in ids:
        return None
    return AuditEvent(
        recorded=at,
        action="outgoing.queue",
        agent=agent,
        outcome=Outcome.FAILED if missing else Outcome.SUCCESS,
        entities=(f"Outgoing/{ids[draft.control_id]}", draft.cause),
        patient=draft.patient,
        site=site_of(gate, draft.destination),
        reason=missing or None,
        details=(("destination", draft.destination),),
    )


async def queue_application_ack(
    gate: Gate, transaction: Connection, message: Queued, ended: Processed
) -> AuditEvent | None:
    """Queues the application acknowledgement of a processed message, where its sender asked for
    one on this outcome; gives its audit event. It goes back by the connection it came from."""
    success = ended.status is not InboxStatus.QUARANTINED
    if not is_wanted(message.application_ack, success=success):
        return None
    header = read_header(message.raw)
    assert header is not None, "it was read when it came"
    complaint = None
    if not success:
        sentence = ended.reason or "it was set aside for a person to look at"
        complaint = Complaint(code=INTERNAL, sentence=sentence)
    raw = application_ack(
        header,
        "AA" if success else "AE",
        digest=digest(message.raw),
        at=gate.clock(),
        complaint=complaint,
    )
    own = read_header(raw)
    assert own is not None, "we wrote it"
    draft = Draft(
        destination=message.connection,
        control_id=own.field(10).decode("ascii"),
        cause=f"Message/{message.id}",
        raw=raw,
    )
    return await queue_in(gate, transaction, draft)


async def applied(
    gate: Gate,
    transaction: Connection,
    control_id: str,
    code: str,
    *,
    destination: str | None = None,
) -> AuditEvent | None:
    """An application acknowledgement (MSA-1 and MSA-2) of a message that we sent has come in;
    gives its audit event, or None where it is about none of ours or says nothing new."""
    if code not in ("AA", "AE", "AR"):
        return None
    at = gate.clock()
    found = await OutgoingStore(gate.database).applied_in(
        transaction, control_id, code, at=at, destination=destination
    )
    if found is None or not found.is_new:
        return None
    return AuditEvent(
        recorded=at,
        action="outgoing.apply",
        agent=AGENT,
        outcome=Outcome.SUCCESS if code == "AA" else Outcome.FAILED,
        entities=(f"Outgoing/{found.id}", found.cause),
        patient=found.patient,
        site=site_of(gate, found.destination),
        details=(("code", code), ("destination", found.destination)),
    )


async def status(gate: Gate) -> tuple[DestinationStatus, ...]:
    """How things stand with each destination: what waits since when, and why."""
    found = await OutgoingStore(gate.database).by_destination(now=gate.clock())
    return tuple(
        one
        if one.destination in gate.config.connections or not one.waiting
        else replace(one, last_error="this connection is configured no more")
        for one in found
    )


def site_of(gate: Gate, destination: str) -> str | None:
    """The site of a destination, for the audit."""
    connection = gate.config.connections.get(destination)
    return connection.site or None if connection else None
