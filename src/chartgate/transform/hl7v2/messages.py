"""What each trigger event means: which resources a message is about, and what it does to them.

Pure and deterministic: the same bytes and settings give the same drafts, wherever and whenever.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from chartgate.formats.hl7v2 import Composite, Message, Segment
from chartgate.formats.hl7v2_time import fhir_datetime, moment
from chartgate.model.resource import Resource
from chartgate.transform.hl7v2 import codes, tables
from chartgate.transform.hl7v2.datatypes import Context, Unmappable, identifier, instant, valued
from chartgate.transform.hl7v2.engine import Draft, drafted
from chartgate.transform.hl7v2.identity import (
    Identity,
    identity,
    merged_identity,
    patient_identity,
    resource_id,
)
from chartgate.transform.hl7v2.settings import FeedSettings

OFFSET = re.compile(r"[+-]\d{4}$")
WITHOUT_TIMES = ("proposed", "cancelled", "waitlist")  # FHIR invariant app-3
FILLER, PLACER = 2, 1


@dataclass(frozen=True, kw_only=True)
class Transformed:
    """What a message says."""

    drafts: tuple[Draft, ...]
    focus: tuple[str, ...]  # references, the main one first
    patient: str | None
    occurred_at: datetime | None  # by the message; None if it does not say


def transform(message: Message, settings: FeedSettings) -> Transformed:
    """What the message says. Its `message_type` must be in SUPPORTED. Raises Unmappable."""
    context = Context(settings, _zone(message, settings), {})
    drafts, focus, patient = SUPPORTED[message.message_type](message, context)
    return Transformed(
        drafts=drafts,
        focus=focus,
        patient=patient,
        occurred_at=_occurred_at(message, context.zone),
    )


def check_whole(resource: Resource) -> None:
    """What must hold once a draft lies over the record. Raises Unmappable."""
    if resource["resourceType"] != "Appointment":
        return
    if not resource.get("participant"):
        raise Unmappable("nobody takes part in the appointment", position="PID-3")
    timed = "start" in resource and "end" in resource
    if not timed and resource.get("status") not in WITHOUT_TIMES:
        raise Unmappable("the appointment has no start and end", position="SCH-11")


Found = tuple[tuple[Draft, ...], tuple[str, ...], str | None]


def _visit(message: Message, context: Context) -> Found:
    """ADT A01, A04, A08: the patient, and the visit where one is named."""
    patient = _patient(message, context)
    encounter = _encounter(message, context, patient)
    if encounter is None:
        return (patient,), (patient.reference,), patient.reference
    return (patient, encounter), (encounter.reference, patient.reference), patient.reference


def _discharge(message: Message, context: Context) -> Found:
    """ADT A03: as A01, and the visit is over."""
    drafts, focus, patient = _visit(message, context)
    for draft in drafts:
        if draft.resource["resourceType"] == "Encounter":
            draft.resource["status"] = "finished"
            draft.defaults.pop("status", None)
    return drafts, focus, patient


def _merge(message: Message, context: Context) -> Found:
    """ADT A40: one patient goes on as another. Both stay, linked; the old one is inactive."""
    if len(message.segments("MRG")) != 1:
        raise Unmappable("one merge in a message is taken, neither none nor more", position="MRG")
    survivor = _patient(message, context)
    mrg = message.segment("MRG")
    prior = merged_identity(mrg)
    if mrg is None or prior is None:
        raise Unmappable("MRG-1 holds no identifier", position="MRG-1")
    old_id = resource_id(context.settings, "Patient", prior)
    if old_id == survivor.resource["id"]:
        raise Unmappable("MRG-1 names the patient who stays", position="MRG-1")
    survivor.resource["link"] = [{"other": {"reference": f"Patient/{old_id}"}, "type": "replaces"}]
    identifiers = [identifier(cx, context) for field in (1, 4) for cx in mrg.repetitions(field)]
    old = Draft(
        resource={
            "resourceType": "Patient",
            "id": old_id,
            "active": False,
            "identifier": [found for found in identifiers if found],
            "link": [{"other": {"reference": survivor.reference}, "type": "replaced-by"}],
        }
    )
    return (survivor, old), (survivor.reference, old.reference), survivor.reference


def _booking(message: Message, context: Context) -> Found:
    """SIU S12: a new appointment."""
    appointment, patient = _appointment(message, context)
    appointment.resource.setdefault("status", "booked")
    return _scheduled(appointment, patient)


def _rebooking(message: Message, context: Context) -> Found:
    """SIU S14: an appointment is changed; its status too, if the message says so."""
    appointment, patient = _appointment(message, context)
    appointment.defaults["status"] = "booked"
    return _scheduled(appointment, patient)


def _cancellation(message: Message, context: Context) -> Found:
    """SIU S15: an appointment is cancelled, whatever its status field says."""
    appointment, patient = _appointment(message, context)
    appointment.resource["status"] = "cancelled"
    return _scheduled(appointment, patient)


def _scheduled(appointment: Draft, patient: Draft | None) -> Found:
    if patient is None:
        return (appointment,), (appointment.reference,), None
    focus = (appointment.reference, patient.reference)
    return (patient, appointment), focus, patient.reference


def _patient(message: Message, context: Context) -> Draft:
    found = patient_identity(message.segment("PID"))
    if found is None:
        raise Unmappable("PID-3 holds no identifier", position="PID-3")
    start = {"resourceType": "Patient", "id": resource_id(context.settings, "Patient", found)}
    return drafted(tables.PATIENT, message, context, start)


def _encounter(message: Message, context: Context, patient: Draft) -> Draft | None:
    """None where the message names no visit that could be told from another."""
    pv1 = message.segment("PV1")
    if pv1 is None:
        return None
    number = next((i for i in map(identity, pv1.repetitions(19)) if i), None)
    admitted = pv1.value(44)
    if number is None and not admitted:
        return None
    key = number or Identity(f"{patient.reference} {admitted}", "admitted")
    encounter = drafted(
        tables.ENCOUNTER,
        message,
        context,
        {
            "resourceType": "Encounter",
            "id": resource_id(context.settings, "Encounter", key),
            "subject": {"reference": patient.reference},
        },
    )
    if "period" in encounter.resource and "end" in encounter.resource["period"]:
        encounter.resource["status"] = "finished"
    else:
        by_class = codes.ENCOUNTER_STATUS.get(pv1.value(2) or "U", codes.ENCOUNTER_STATUS["*"])
        # An update does not say whether the visit has ended, so it never opens it again.
        updates = message.message_type == "ADT^A08"
        (encounter.defaults if updates else encounter.resource)["status"] = by_class
    encounter.defaults["class"] = codes.CLASS_UNKNOWN
    if pv1.value(2) == "P":
        for place in encounter.resource.get("location", [])[:1]:
            place["status"] = "planned"
    return encounter


def _appointment(message: Message, context: Context) -> tuple[Draft, Draft | None]:
    sch = message.segment("SCH")
    if sch is None:
        raise Unmappable("there is no SCH segment", position="SCH")
    eis = [*sch.repetitions(FILLER), *sch.repetitions(PLACER)]
    found = next((i for i in (identity(ei, authority=2) for ei in eis) if i), None)
    if found is None:
        raise Unmappable("neither SCH-2 nor SCH-1 names the appointment", position="SCH-2")
    patient = _patient(message, context) if message.segment("PID") else None
    appointment = drafted(
        tables.APPOINTMENT,
        message,
        context,
        {
            "resourceType": "Appointment",
            "id": resource_id(context.settings, "Appointment", found),
        },
    )
    if patient is not None:
        actor = {"actor": {"reference": patient.reference}, "status": "accepted"}
        appointment.resource.setdefault("participant", []).insert(0, actor)
    status = codes.APPOINTMENT_STATUS.get((sch.value(25) or "").upper())
    if status:
        appointment.resource["status"] = status
    _put_times(message, sch, context, appointment.resource)
    return appointment, patient


def _put_times(message: Message, sch: Segment, context: Context, resource: Resource) -> None:
    """start, end and minutesDuration, from the first place that has them."""
    minutes = _minutes(sch, 9, 10)
    if minutes:
        resource["minutesDuration"] = minutes
    start, end = _start_and_end(message, sch, context)
    if start and not end:
        length = minutes or _minutes(message.segment("AIS"), 7, 8)
        if length:
            end = fhir_datetime(
                (moment_of(start) + timedelta(minutes=length)).strftime("%Y%m%d%H%M%S%z"),
                zone=context.zone,
            )
    if start and end:
        resource["start"], resource["end"] = start, end


def moment_of(instant_text: str) -> datetime:
    """A FHIR instant as a point in time."""
    return datetime.fromisoformat(instant_text)


def _start_and_end(
    message: Message, sch: Segment, context: Context
) -> tuple[str | None, str | None]:
    tq1 = message.segment("TQ1")
    places: list[tuple[str, Composite | None, int, Composite | None, int]] = []
    if tq1 is not None:
        places.append(("TQ1-7", _only(tq1, 7), 1, _only(tq1, 8), 1))
    places.append(("SCH-11", _only(sch, 11), 4, _only(sch, 11), 5))
    for name, number in (("AIS", 4), ("AIP", 6), ("AIL", 6), ("AIG", 8)):
        segment = message.segment(name)
        if segment is not None:
            places.append((f"{name}-{number}", _only(segment, number), 1, None, 1))
    for position, begins, begin, ends, end in places:
        if begins is None or valued(begins, begin) is None:
            continue
        try:
            return instant(begins, context, begin), instant(ends, context, end) if ends else None
        except Unmappable as error:
            raise Unmappable(f"{position} {error}", position=position) from None
    return None, None


def _only(segment: Segment, field: int) -> Composite | None:
    return next(iter(segment.repetitions(field)), None)


def _minutes(segment: Segment | None, field: int, unit_field: int) -> int | None:
    if segment is None:
        return None
    value, unit = segment.value(field), (segment.value(unit_field) or "").upper()
    factor = codes.MINUTES_PER_UNIT.get(unit)
    if value is None or factor is None or not value.isascii() or not value.isdecimal():
        return None
    minutes = int(value[:9]) * factor
    return minutes if 0 < minutes < 2**31 else None


def _zone(message: Message, settings: FeedSettings) -> tzinfo:
    """That of MSH-7 where it names one: a sender's other times are meant in it."""
    sent = message.header.raw(7)
    if OFFSET.search(sent):
        try:
            found = moment(sent.split(message.separators.component)[0], zone=settings.zone).tzinfo
        except ValueError:
            return settings.zone
        return found or settings.zone
    return settings.zone


def _occurred_at(message: Message, zone: tzinfo) -> datetime | None:
    for text in (message.value("EVN", 2), message.value("MSH", 7)):
        if text:
            try:
                return moment(text, zone=zone)
            except ValueError:
                continue
    return None


SUPPORTED: Mapping[str, Callable[[Message, Context], Found]] = {
    "ADT^A01": _visit,
    "ADT^A03": _discharge,
    "ADT^A04": _visit,
    "ADT^A08": _visit,
    "ADT^A40": _merge,
    "SIU^S12": _booking,
    "SIU^S14": _rebooking,
    "SIU^S15": _cancellation,
}
