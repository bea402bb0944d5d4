"""A whole message as one FHIR Bundle of type message: for looking at what a feed would make.

The feed itself writes into the record resource by resource, and stores no MessageHeader.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from chartgate.formats.hl7v2 import Message
from chartgate.model.resource import Resource
from chartgate.transform.hl7v2.datatypes import Context, code_of
from chartgate.transform.hl7v2.engine import merged
from chartgate.transform.hl7v2.identity import Identity
from chartgate.transform.hl7v2.messages import Transformed, transform_with_provenance, zone_of
from chartgate.transform.hl7v2.settings import FeedSettings
from chartgate.transform.hl7v2.work import Work

ABSENT = {
    "extension": [
        {
            "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
            "valueCode": "unknown",
        }
    ]
}
# References between entries are relative, and find each other under one base. This one is nowhere.
BASE = "https://chartgate.invalid/fhir"
EVENTS = "http://terminology.hl7.org/CodeSystem/v2-0003"


def message_bundle(message: Message, settings: FeedSettings) -> Resource:
    """The message as a Bundle: its MessageHeader first, then every resource as a record that held
    nothing would hold it. Its `message_type` must be in SUPPORTED.

    Raises Unmappable, or Excluded, as `transform` does.
    """
    said = transform_with_provenance(message, settings)
    context = Context(settings.systems, settings.patient_system, zone_of(message, settings))
    work = Work(message=message, settings=settings, context=context)
    identity = Identity(hashlib.sha256(message.raw).hexdigest(), "message")
    bundle = work.draft("Bundle", identity)
    work.apply_what_fits("MSH.Bundle", message.header, bundle)
    bundle.put("type", "message")
    resources = [_header(work, identity, said), *(merged(None, draft) for draft in said.drafts)]
    entries = [{"fullUrl": _url(resource), "resource": resource} for resource in resources]
    return {**merged(None, bundle), "entry": entries}


def _header(work: Work, identity: Identity, said: Transformed) -> Resource:
    """MessageHeader of MSH, MSA and SFT; its focus is what the message tells of."""
    message = work.message
    header = work.draft("MessageHeader", identity)
    work.apply_what_fits("MSH.MessageHeader", message.header, header)
    # What came last stood nearest to the source.
    for sft in reversed(work.segments("SFT")):
        work.apply_what_fits("SFT.MessageHeader", sft, header)
    msa = work.segment("MSA")
    if msa is not None and msa.value(1) and msa.value(2):
        work.apply_what_fits("MSA.MessageHeader", msa, header)
    if header.get("eventCoding") is None:
        kind = next((code_of(cx) for cx in message.header.repetitions(9)), None)
        header.put("eventCoding", {"system": EVENTS, "code": kind or "unknown"})
    for reference in said.focus:
        header.add("focus", "MSH-9", {"reference": reference})
    return _with_endpoints(merged(None, header))


def _with_endpoints(header: Resource) -> Resource:
    """R4 asks for addresses; where the message gives none, they are said to be unknown."""
    source: dict[str, Any] = {**header.get("source", {})}
    if "endpoint" not in source:
        source["_endpoint"] = ABSENT
    result = {**header, "source": source}
    if "destination" in header:
        result["destination"] = [_with_endpoint(item) for item in header["destination"]]
    return result


def _with_endpoint(destination: Mapping[str, Any]) -> dict[str, Any]:
    absent = {} if "endpoint" in destination else {"_endpoint": ABSENT}
    return {**destination, **absent}


def _url(resource: Resource) -> str:
    return f"{BASE}/{resource['resourceType']}/{resource['id']}"
