"""Who took part, by PRT: named as performers, devices and places, made as related persons."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.datatypes import NO_CODES
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.identity import Identity, identity
from chartgate.transform.hl7v2.order_kinds import FUNCTION
from chartgate.transform.hl7v2.persons import CARING, PRIMARY
from chartgate.transform.hl7v2.references import practitioner, practitioner_role
from chartgate.transform.hl7v2.work import DELETED, Work

# HL7 table 0912: those who care for the patient, and so are no related persons.
PROVIDERS = CARING | {PRIMARY, "AI", "AUT", "DP", "EP", "PI", "SB", "SC", "TN", "TR", "VPS"}
# HL7 table 0912: the element that a participant of an order fills.
PLACES: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("ARI", "TN", "TR"), ("DiagnosticReport", "performer")),
    "PRI": ("DiagnosticReport", "resultsInterpreter"),
    "SC": ("Specimen", "collection.collector"),
    "OP": ("ServiceRequest", "requester"),
}
# Where the tables put what PRTs say of an observation.
ROLES, PERFORMERS = (("contained",), "PRT-4"), (("performer",), "PRT-5")
DEVICES = (("contained",), "PRT-10")
SAID_BY_PRT = (
    *(ROLES, PERFORMERS, DEVICES, (("performer",), "PRT-8")),
    *((("extension",), "PRT-9"), (("extension",), "PRT-14"), (("device",), "")),
)
PREFERRED = {"url": "http://hl7.org/fhir/StructureDefinition/iso21090-preferred"}
# PRT-23, table 0185: what of PRT-15 is the preferred way.
WAYS = {"B": "work", "H": "home", "C": "mobile", "E": "email", "F": "fax", "O": "pager"}


def add_participants(work: Work, participations: Sequence[Segment], observation: Draft) -> None:
    """What the PRTs under an OBX say of it; they take the place of those it had."""
    if participations:
        observation.cleared.update(SAID_BY_PRT)
    for prt in participations:
        if prt.value(2) == DELETED:
            continue
        held = len(observation.lists.get(ROLES, ()))
        for table in ("PRT.Observation-Location", "PRT.Device", "PRT.PractitionerRole"):
            work.apply(table, prt, observation)
        _refer_to_roles(observation, held, prt.value(23) or "")
    _refer_to_device(observation)


def place_participants(
    work: Work, participations: Iterable[Segment], made: Sequence[Draft | None]
) -> None:
    """What the PRTs of an order say, each in the resource that its role belongs to."""
    for prt in participations:
        role = prt.value(4) or ""
        if role not in PLACES or prt.value(2) == DELETED:
            continue
        resource_type, path = PLACES[role]
        kind = practitioner if path == "requester" else practitioner_role
        for draft in made:
            if draft is None or draft.resource_type != resource_type:
                continue
            for cx in prt.repetitions(5):
                who = kind(cx, work.context, NO_CODES)
                if "." in path or path == "requester":
                    draft.put(path, who)
                elif who:
                    draft.add(path, f"PRT-5-{role}", who)


def make_related_persons(work: Work, participations: Iterable[Segment]) -> None:
    """RelatedPerson of each PRT of the patient that names a person who is no provider."""
    for prt in participations:
        if prt.value(4) in PROVIDERS or work.patient is None:
            continue
        person = next(iter(prt.repetitions(5)), None)
        if person is None:
            continue
        number = identity(person, authority=9)
        named = number.key if number else f"{person.value(2)} {person.value(3)}"
        key = Identity(f"{work.patient.reference} {named} {prt.value(4) or ''}", "participation")
        found = work.draft("RelatedPerson", key)
        found.refer("patient", work.patient)
        work.apply("PRT.RelatedPerson", prt, found)
        _mark_preferred(found.lists.get((("telecom",), "PRT-15"), []), prt.value(23) or "")


def _refer_to_roles(observation: Draft, held: int, way: str) -> None:
    """A performer for each role that was contained after the first `held`. One that says no more
    than its person and its function is taken out: the reference says both."""
    roles = observation.lists.get(ROLES)
    if roles is None:
        return
    performers = observation.lists.setdefault(PERFORMERS, [])
    for role in roles[held:]:
        person = role.get("practitioner", {})
        number = len(performers) + 1
        performer: dict[str, Any] = {"id": f"PRT-5.{number}", "type": "PractitionerRole"}
        performer |= {name: person[name] for name in ("identifier", "display") if name in person}
        if functions := role.get("code"):
            performer["extension"] = [
                {"url": FUNCTION, "valueCodeableConcept": code} for code in functions
            ]
        if role.keys() - {"id", "resourceType", "practitioner", "code"}:
            _mark_preferred(role.get("telecom", []), way)
            performer["reference"] = f"#{role['id']}"
        performers.append(performer)
    pointed = {performer.get("reference") for performer in performers}
    observation.lists[ROLES] = [role for role in roles if f"#{role['id']}" in pointed]


def _refer_to_device(observation: Draft) -> None:
    """Observation.device, of which R4 has one: the last. The device itself stands beside it only
    where it says more than its number and what it is called."""
    devices = observation.lists.pop(DEVICES, None)
    if not devices:
        return
    device = devices[-1]
    pointing: dict[str, Any] = {"type": "Device"}
    numbers = device.get("identifier")
    named = device.get("type", {})
    display = named.get("text") or next((c.get("display") for c in named.get("coding", ())), None)
    if numbers:
        pointing["identifier"] = {n: v for n, v in numbers[0].items() if n != "id"}
    if display or numbers:
        pointing["display"] = display or numbers[0]["value"]
    if device.keys() - {"id", "resourceType", "identifier"}:
        pointing["reference"] = f"#{device['id']}"
        observation.lists[DEVICES] = [device]
    observation.put("device", pointing)


def _mark_preferred(telecom: list[dict[str, Any]], way: str) -> None:
    """Says of one way to reach somebody that it is preferred."""
    wanted = WAYS.get(way)
    for item in telecom if wanted else ():
        if wanted in (item.get("use"), item.get("system")):
            item["extension"] = [{**PREFERRED, "valueBoolean": True}]
