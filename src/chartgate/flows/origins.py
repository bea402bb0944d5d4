"""Where a version in the record comes from: the message, its segments, and the rows that took them.

The record keeps with each version the message that made it and which rows took what from where;
the Provenance is made from these when somebody asks.
"""

from chartgate.errors import NotFound
from chartgate.flows.feeds import settings_for
from chartgate.formats.hl7v2 import parse
from chartgate.gate import Gate
from chartgate.model.resource import Resource
from chartgate.store.inbox import InboxStore
from chartgate.store.record import RecordStore
from chartgate.transform.hl7v2.engine import merged
from chartgate.transform.hl7v2.messages import transform_with_provenance
from chartgate.transform.hl7v2.provenance import as_recorded


async def provenance(gate: Gate, connection: str, reference: str) -> Resource:
    """Provenance of the current version of e.g. "Patient/1". Raises NotFound."""
    record = RecordStore(gate.database)
    copy = await record.current(connection, reference)
    if copy is None:
        raise NotFound(f"the record of {connection} holds no {reference}")
    message, trace = await record.origin(connection, reference, copy.digest) or (None, "")
    raw = None if message is None else await InboxStore(gate.database).raw(message)
    if raw is None:
        raise NotFound(f"{reference} was read from a system of record; no message made it")
    settings = settings_for(gate, connection)
    revision, _, rows = trace.partition(" ")
    parsed = parse(raw, charset_default=settings.charset)
    said = transform_with_provenance(parsed, settings)
    return as_recorded(merged(None, said.drafts[-1]), reference, revision=revision, rows=rows)
