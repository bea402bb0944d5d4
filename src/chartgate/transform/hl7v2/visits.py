"""Makers for visits: what each ADT trigger does to the encounter.

A cancel is a change of state: a cancelled admission stays, as cancelled; a cancelled discharge
opens the visit again.
"""

from chartgate.transform.hl7v2.code_maps import TERMINOLOGY
from chartgate.transform.hl7v2.datatypes import Unmappable
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.identity import Identity, identity
from chartgate.transform.hl7v2.work import Work

CLASS_UNKNOWN = {"system": f"{TERMINOLOGY}/v3-NullFlavor", "code": "UNK", "display": "unknown"}
NO_VISIT = "N"  # PV1-2: this message speaks of no visit
# What the trigger says of the visit; others leave its status to PV1, or as it is.
STATUS_BY_TRIGGER = {
    "A03": "finished",
    "A05": "planned",
    "A11": "cancelled",
    "A13": "in-progress",
    "A14": "planned",
    "A21": "onleave",
    "A22": "in-progress",
    "A23": "entered-in-error",
    "A27": "cancelled",
    "A38": "cancelled",
    "A52": "in-progress",  # the leave of A21 did not take place
    "A53": "onleave",  # nor did the return of A22
}
# Triggers that begin or move on a visit: its status follows from its class. All others do not say
# whether it has ended, so they never open it again.
OPENING = ("A01", "A02", "A04", "A06", "A07", "A10")


def make_encounter(work: Work) -> Draft | None:
    """Encounter of PV1 and PV2; None where the message names no visit that could be told from
    another."""
    pv1 = work.segment("PV1")
    if pv1 is None:
        return None
    patient = work.patient
    number = next((i for i in map(identity, pv1.repetitions(19)) if i), None)
    admitted = pv1.value(44)
    if number is None and (not admitted or patient is None or pv1.value(2) == NO_VISIT):
        return None
    key = number or Identity(f"{patient.reference if patient else ''} {admitted}", "admitted")
    encounter = work.draft("Encounter", key)
    encounter.refer("subject", patient)
    work.encounter = encounter
    work.apply("PV1.Encounter", pv1, encounter)
    work.apply("PV2.Encounter", work.segment("PV2"), encounter)
    encounter.defaults["class"] = CLASS_UNKNOWN
    _put_status(work, encounter, pv1.value(2) or "U")
    return encounter


def _put_status(work: Work, encounter: Draft, patient_class: str) -> None:
    kind, _, trigger = work.message.message_type.partition("^")
    trigger = trigger if kind == "ADT" else ""
    said = STATUS_BY_TRIGGER.get(trigger)
    by_class = work.codes("PatientClass[EncounterStatus]").get(patient_class, "in-progress")
    if said is not None:
        encounter.put("status", said)
        if trigger == "A13":
            encounter.cleared.add((("period", "end"), ""))
    elif encounter.get("period.end") is not None:
        encounter.put("status", "finished")
    elif trigger in OPENING:
        encounter.put("status", by_class)
    else:
        encounter.defaults["status"] = by_class


def cancelled_visit(work: Work) -> None:
    """A trigger that cancels needs a visit that it names. Raises Unmappable."""
    if work.encounter is None:
        raise Unmappable("PV1-19 does not name the visit", position="PV1-19")
