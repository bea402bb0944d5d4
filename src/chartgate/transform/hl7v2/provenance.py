"""Provenance: one for each message, from each resource back to segment, field and table row.

Its recorded time is the message's own, since a transformation has no clock: the same message
gives the same bytes whenever it is transformed.
"""

import hashlib
from typing import Any

import orjson

from chartgate.formats.hl7v2_time import fhir_instant
from chartgate.transform.hl7v2.code_maps import TERMINOLOGY
from chartgate.transform.hl7v2.engine import Draft, merged
from chartgate.transform.hl7v2.identity import Identity
from chartgate.transform.hl7v2.work import Work

PARTICIPANT = f"{TERMINOLOGY}/provenance-participant-type"
UNKNOWN = {
    "extension": [
        {
            "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
            "valueCode": "unknown",
        }
    ]
}
ACTIVITY = "http://hl7.org/fhir/uv/v2mappings/CodeSystem/provenance-activity-type-v2-to-fhir"
MESSAGES = "urn:chartgate:message"  # system of messages by the SHA-256 of their bytes
OPERATIONS = {"NW": "CREATE", "SC": "UPDATE", "OC": "CANCEL", "CA": "CANCEL"}  # ORC-1
ASSEMBLER = "Chartgate, tables"
# What a trigger does to what it is about; all others update it.
OPERATION_BY_TRIGGER = {
    **dict.fromkeys(("A01", "A04", "A05", "A14", "A28", "S12", "T01", "T02"), "CREATE"),
    **dict.fromkeys(("A11", "A13", "A27", "A38", "S15", "S16", "T11"), "CANCEL"),
    **dict.fromkeys(("A23", "A29", "S17"), "DELETE"),
}
ROWS = "urn:chartgate:provenance:rows"  # extension: which rows of which tables made a target


def make_provenance(work: Work) -> Draft:
    """Provenance of all drafts made so far."""
    message = work.message
    targets = list(work.drafts.values())
    content = hashlib.sha256(message.raw).hexdigest()
    found = work.draft("Provenance", Identity(content, "message"))
    for draft in targets:
        found.add("target", "MSH-10", _target(draft))
    _put_recorded(work, found)
    _add_software(work, found)
    _add_said(work, found)
    _agent(
        found,
        "MSH-6",
        "assembler",
        {"type": "Device", "display": f"Chartgate, tables {work.settings.tables.revision}"},
    )
    what = {
        "type": "DocumentReference",
        "identifier": {"system": MESSAGES, "value": content},
        "display": message.header.value(10) or "",
    }
    if not what["display"]:
        del what["display"]
    found.add("entity", "MSH-10", {"role": "source", "what": what})
    return found


def _put_recorded(work: Work, found: Draft) -> None:
    """The message's own time: a transformation has no clock."""
    evn = work.segment("EVN")
    for text in (work.message.header.value(7), evn.value(2) if evn else None):
        try:
            found.put("recorded", fhir_instant(text or "", zone=work.context.zone))
        except ValueError:
            continue
        return
    found.put("_recorded", UNKNOWN)


def _add_software(work: Work, found: Draft) -> None:
    """SFT: the programs that a message came through, each as a contained Device."""
    for nth, sft in enumerate(work.segments("SFT"), 1):
        software = Draft(resource_type="Device", id=f"SFT-1.{nth}")
        work.apply_what_fits("SFT.Device", sft, software)
        found.trace += software.trace
        found.lists.setdefault((("contained",), "SFT-1"), []).append(merged(None, software))
        what = {"reference": f"#{software.id}", "type": "Device"}
        found.add("entity", "SFT-1", {"role": "source", "what": what})


def _add_said(work: Work, found: Draft) -> None:
    """What segments say of where the message comes from. Each of several orders names the same
    people again: they are agents once."""
    message = work.message
    work.apply_what_fits("MSH.Provenance-Source", message.header, found)
    for name, table in (("PID", "PID.Provenance-Patient"), ("EVN", "EVN.Provenance")):
        work.apply_what_fits(table, work.segment(name), found)
    done: dict[str, None] = {}
    for table, segment in work.provenance:
        work.apply_what_fits(table, segment, found)
        if segment.name == "ORC":
            done[OPERATIONS.get(segment.value(1) or "", "UPDATE")] = None
    for key, items in found.lists.items():
        found.lists[key] = _distinct(items)
    kind = message.message_type
    codes = done or {OPERATION_BY_TRIGGER.get(kind.partition("^")[2], "UPDATE"): None}
    coding = {"system": ACTIVITY, "code": "v2-fhir-transformation", "display": kind}
    operations = [{"system": f"{TERMINOLOGY}/v3-DataOperation", "code": code} for code in codes]
    found.put("activity", {"coding": [coding, *operations]})


def _distinct(items: list[Any]) -> list[Any]:
    """Items of equal content once, each with the id of the first of them."""
    seen: dict[bytes, Any] = {}
    for item in items:
        content = {**item, "id": ""} if isinstance(item, dict) else item
        seen.setdefault(orjson.dumps(content, option=orjson.OPT_SORT_KEYS), item)
    return list(seen.values())


def rows_text(draft: Draft) -> str:
    """Which rows took what from where: "3 PID.Patient 3,5,7; 4 PV1.Patient 16" are the number of
    the segment in the message, the table, and the fields."""
    by_segment: dict[tuple[int, str], dict[int, None]] = {}
    for segment, row in draft.trace:
        fields = by_segment.setdefault((segment.position, row.table), {})
        fields[row.source.field] = None
    return "; ".join(
        f"{position} {table} {','.join(map(str, fields))}"
        for (position, table), fields in by_segment.items()
    )


def _target(draft: Draft) -> dict[str, Any]:
    target: dict[str, Any] = {"reference": draft.reference}
    text = rows_text(draft)
    if text:
        target["extension"] = [{"url": ROWS, "valueString": text}]
    return target


def _agent(found: Draft, prefix: str, kind: str, who: dict[str, Any] | None) -> None:
    if who is not None:
        role = {"coding": [{"system": PARTICIPANT, "code": kind}]}
        found.add("agent", prefix, {"type": role, "who": who})


def as_recorded(
    provenance: dict[str, Any], reference: str, *, revision: str, rows: str
) -> dict[str, Any]:
    """A message's Provenance for one of its resources, with the rows and the tables' revision that
    the record kept when the version was made."""
    target: dict[str, Any] = {"reference": reference}
    if rows:
        target["extension"] = [{"url": ROWS, "valueString": rows}]
    agents = [
        {**agent, "who": {**agent["who"], "display": f"{ASSEMBLER} {revision}"}}
        if agent["who"].get("display", "").startswith(ASSEMBLER)
        else agent
        for agent in provenance["agent"]
    ]
    return {**provenance, "target": [target], "agent": agents}
