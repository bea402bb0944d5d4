"""Who took part, by PRT: named as performers, devices and places, made as related persons."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.datatypes import NO_CODES
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.identity import Identity, identity
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
PREFERRED = {"url": "http://hl7.org/fhir/StructureDefinition/iso21090-preferred"}
# PRT-23, table 0185: what of PRT-15 is the preferred way.
WAYS = {"B": "work", "H": "home", "C": "mobile", "E": "email", "F": "fax", "O": "pager"}


def add_participants(work: Work, participations: Iterable[Segment], observation: Draft) -> None:
    """What the PRTs under an OBX say of it."""
    for prt in participations:
        if prt.value(2) == DELETED:
            observation.cleared.update({(("performer",), "PRT-4"), (("performer",), "PRT-8")})
            observation.cleared.update({(("extension",), "PRT-9"), (("device",), "")})
            continue
        for table in ("PRT.Observation-Location", "PRT.Device", "PRT.PractitionerRole"):
            work.apply(table, prt, observation)


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
        _mark_preferred(found, prt.value(23) or "")


def _mark_preferred(person: Draft, way: str) -> None:
    wanted = WAYS.get(way)
    if wanted is None:
        return
    items: list[dict[str, Any]] = person.lists.get((("telecom",), "PRT-15"), [])
    for item in items:
        if wanted in (item.get("use"), item.get("system")):
            item["extension"] = [{**PREFERRED, "valueBoolean": True}]
