"""Makers for documents: what each MDM trigger does to a DocumentReference.

A document that is replaced stays, as superseded; one that is cancelled stays, as entered in
error; an addendum is a document of its own that appends to its parent.
"""

from collections import Counter

from chartgate.formats.hl7v2 import NULL, Segment
from chartgate.transform.hl7v2.attachments import text_attachment
from chartgate.transform.hl7v2.datatypes import NO_CODES, Unmappable, entity_identifier, valued
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.groups import order_groups
from chartgate.transform.hl7v2.identity import Identity, identity, resource_id
from chartgate.transform.hl7v2.orders import is_named, make_order, make_subject
from chartgate.transform.hl7v2.quantities import MIME
from chartgate.transform.hl7v2.references import organization_of_authority
from chartgate.transform.hl7v2.work import Work

# What the parent (TXA-13) is to a new document, by trigger.
RELATION = {"T05": "appends", "T06": "appends", "T09": "replaces", "T10": "replaces"}
BEGINS = ("T01", "T02", *RELATION)  # triggers that bring a new document
EDITS = ("T07", "T08")
CANCELS = ("T11",)
DONE = ("AU", "LA")  # TXA-17: authenticated
WITHDRAWN = ("D", "W")  # OBX-11
UNKNOWN_CONTENT = {
    "extension": [
        {
            "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
            "valueCode": "unknown",
        }
    ]
}


def make_document(work: Work) -> None:
    """DocumentReference of TXA and what follows it. Raises Unmappable where nothing names it."""
    make_subject(work)
    txa = work.segment("TXA")
    if txa is None:
        raise Unmappable("there is no TXA segment", position="TXA")
    trigger = work.message.message_type.partition("^")[2]
    document = _document(work, _identity(work, txa, trigger))
    work.apply("TXA.DocumentReference", txa, document)
    _put_status(document, txa, trigger)
    _put_parent(work, document, txa, trigger)
    _put_orders(work, document, txa)
    _put_content(work, document, txa)
    _make_edit(work, document, txa)


def _document(work: Work, key: Identity) -> Draft:
    document = work.draft("DocumentReference", key)
    document.refer("subject", work.patient)
    document.defaults["status"] = "current"
    # R4 asks for a content; the id lets one that is sent later take its place.
    document.defaults["content"] = [{"id": "OBX-5.1", "attachment": UNKNOWN_CONTENT}]
    return document


def _identity(work: Work, txa: Segment, trigger: str) -> Identity:
    """TXA-12, else the file's name; a new document without either is known by its message."""
    for number in (12, 16):
        for ei in txa.repetitions(number):
            found = identity(ei, authority=2)
            if found is not None:
                return found if number == 12 else Identity(found.value, "file")
    control_id = work.message.header.value(10)
    if trigger not in BEGINS or not control_id:
        raise Unmappable("TXA-12 does not name the document", position="TXA-12")
    sender = work.message.header.value(4) or ""
    return Identity(f"{sender} {control_id}", "message")


def _put_status(document: Draft, txa: Segment, trigger: str) -> None:
    if txa.value(19) == "AV":
        document.cleared.add((("_status", "extension"), "TXA-19"))
    if trigger in EDITS and txa.value(17) in DONE:
        document.put("docStatus", "amended")
    if trigger in CANCELS:
        document.put("status", "entered-in-error")
        document.put("docStatus", "entered-in-error")


def _put_parent(work: Work, document: Draft, txa: Segment, trigger: str) -> None:
    """relatesTo of an addendum or a replacement; what is replaced is superseded."""
    relation = RELATION.get(trigger)
    parent = next(iter(txa.repetitions(13)), None)
    key = identity(parent, authority=2) if parent else None
    if relation is None or parent is None or key is None:
        if relation == "replaces":
            raise Unmappable("TXA-13 does not name the document replaced", position="TXA-13")
        return
    reference = f"DocumentReference/{resource_id(work.settings, 'DocumentReference', key)}"
    if reference == document.reference:
        raise Unmappable("TXA-13 names the document itself", position="TXA-13")
    named = entity_identifier(parent, work.context, NO_CODES)
    target = {"reference": reference, "identifier": named}
    document.add("relatesTo", "TXA-13", {"code": relation, "target": target})
    if relation == "replaces":
        replaced = _document(work, key)
        replaced.put("masterIdentifier", named)
        replaced.put("status", "superseded")


def _put_orders(work: Work, document: Draft, txa: Segment) -> None:
    """The orders before the TXA, which the document is about; one that nothing names is left."""
    equals: Counter[str] = Counter()
    for order in order_groups(work.message):
        start = order.orc or order.details.get("OBR")
        if start is None or start.position > txa.position:
            continue
        # What follows the TXA is the document's own.
        order.observations = [o for o in order.observations if o.segment.position < txa.position]
        if is_named(order):
            request = make_order(work, order, equals)
            document.add_keyed("context.related", request.id, {"reference": request.reference})


def _put_content(work: Work, document: Draft, txa: Segment) -> None:
    """What OBX and NTE after the TXA hold: runs of text as one content, each file as its own."""
    if work.encounter is not None:
        document.add("context.encounter", "PV1-19", {"reference": work.encounter.reference})
    lines: list[str] = []
    for segment in work.message.segments():
        if segment.position < txa.position:
            continue
        if segment.name == "NTE":
            work.apply("NTE.DocumentReference", segment, document)
        elif segment.name == "OBX" and segment.raw(11) not in WITHDRAWN:
            if segment.value(2) in ("ED", "RP"):
                _put_text(document, lines)
                lines = []
                work.apply("OBX.DocumentReference", segment, document)
            else:
                lines += _lines(segment)
    _put_text(document, lines)
    _put_content_type(document, txa.value(3) or "")


def _lines(obx: Segment) -> list[str]:
    """The text of OBX-5; of what is no text its name, value and unit."""
    kind = obx.value(2) or "ST"
    found = []
    for value in obx.repetitions(5):
        if kind in ("TX", "FT", "ST"):
            found.append("" if value.text == NULL else value.value() or "")
            continue
        said = valued(value, 2) if kind in ("CWE", "CE", "CNE", "CF") else None
        parts = [obx.value(3, 2) or obx.value(3), said or _all_of(value.text, value.value())]
        found.append(" ".join(part for part in (*parts, obx.value(6)) if part))
    return found


def _all_of(text: str, value: str | None) -> str | None:
    """A value of one component; of more, as it was sent."""
    return value if value == text else text.replace("^", " ").strip() or None


def _put_text(document: Draft, lines: list[str]) -> None:
    text = "\n".join(lines).strip("\n")
    if text.strip():
        document.add("content", "OBX-5", {"attachment": text_attachment(text)})


def _put_content_type(document: Draft, sent: str) -> None:
    """TXA-3 as the media type of a content that has none; data must have one (FHIR att-1)."""
    media = sent if "/" in sent else MIME.get(sent.upper())
    if media:
        document.defaults["content"] = [{"id": "OBX-5.1", "attachment": {"contentType": media}}]
    for item in document.lists.get((("content",), "OBX-5"), ()):
        attachment = item["attachment"]
        if "contentType" not in attachment and ("data" in attachment or media):
            known = media or "application/octet-stream"
            item["attachment"] = {"contentType": known, **attachment}


def _make_edit(work: Work, document: Draft, txa: Segment) -> None:
    """Provenance of an edit whose time TXA-8 gives."""
    if txa.value(8) is None:
        return
    edit = Draft(resource_type="Provenance", id="")
    work.apply("TXA.Provenance", txa, edit)
    recorded = edit.get("recorded")
    if recorded is None:
        return
    found = work.draft("Provenance", Identity(f"{document.reference} {recorded}", "edit"))
    found.puts, found.lists, found.trace = edit.puts, edit.lists, edit.trace
    found.add("target", "TXA-12", {"reference": document.reference})
    for facility in work.message.header.repetitions(4)[:1]:
        who = organization_of_authority(facility, work.context, NO_CODES)
        if who:
            found.defaults["agent"] = [{"who": who}]
    found.defaults.setdefault("agent", [{"who": {"display": "not named"}}])


DOCUMENT_MESSAGES = {f"MDM^T{number:02}": make_document for number in range(1, 12)}
