"""Makers for bookings: SIU messages.

Services and participants of a booking are a snapshot, unless the message is about changes of them
(S18 to S22, or segments that carry an action code): then those that it does not name stay.
"""

import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from chartgate.formats.hl7v2 import Composite, Segment
from chartgate.formats.hl7v2_time import fhir_datetime
from chartgate.transform.hl7v2.code_maps import target_of
from chartgate.transform.hl7v2.datatypes import Unmappable, instant, valued
from chartgate.transform.hl7v2.engine import Draft, merged
from chartgate.transform.hl7v2.identity import Identity, identity
from chartgate.transform.hl7v2.patients import make_patient_if_named
from chartgate.transform.hl7v2.quantities import minutes
from chartgate.transform.hl7v2.visits import make_encounter
from chartgate.transform.hl7v2.work import DELETED, Work

FILLER, PLACER = 2, 1
FILLER_STATUS = 25
SUBJECT = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Appointment.subject"
# By segment: its list, prefix of its items' ids, and its fields of start, offset, duration, status.
RESOURCES: Mapping[str, tuple[str, str, int, int, int, int]] = {
    "AIS": ("serviceType", "AIS-3", 4, 5, 7, 10),
    "AIG": ("participant", "AIG-3", 8, 9, 11, 14),
    "AIL": ("participant", "AIL-3", 6, 7, 9, 12),
    "AIP": ("participant", "AIP-3", 6, 7, 9, 12),
}
ACTION = 2  # of these segments: the field of the segment action code
UNCHANGED = "X"
CHANGES = ("S18", "S19", "S20", "S21", "S22")  # of services and resources of a booking
REMOVALS = ("S20", "S21", "S22")  # cancelled, discontinued or deleted
STATUS_BY_TRIGGER = {
    "S15": "cancelled",  # cancelled
    "S16": "cancelled",  # discontinued: what is left of it will not take place
    "S17": "entered-in-error",  # deleted: it was never meant
    "S26": "noshow",
}
# What the state of one resource (HL7 table 0278, as FHIR) says of its taking part.
PARTICIPATION = {
    **dict.fromkeys(("booked", "fulfilled", "checked-in", "arrived"), "accepted"),
    **dict.fromkeys(("pending", "proposed", "waitlist"), "tentative"),
    **dict.fromkeys(("cancelled", "entered-in-error", "noshow"), "declined"),
}
BEFORE_ORDERS = ("SCH", *RESOURCES, "NTE")  # after which a note is one of the booking


def make_appointment(work: Work) -> Draft:
    """Appointment of SCH and its resources. Raises Unmappable where nothing names it."""
    sch = work.segment("SCH")
    if sch is None:
        raise Unmappable("there is no SCH segment", position="SCH")
    eis = [*sch.repetitions(FILLER), *sch.repetitions(PLACER)]
    found = next((i for i in (identity(ei, authority=2) for ei in eis) if i), None)
    if found is None:
        raise Unmappable("neither SCH-2 nor SCH-1 names the appointment", position="SCH-2")
    patient = make_patient_if_named(work)
    appointment = work.draft("Appointment", found)
    work.apply("SCH.Appointment", sch, appointment)
    _put_status(work, sch, appointment)
    _put_times(work, sch, appointment)
    for name in RESOURCES:
        _add_resources(work, name, appointment)
    if patient is not None:
        subject = {"reference": patient.reference}
        appointment.add("participant", "PID-3", {"actor": subject, "status": "accepted"})
        appointment.add("extension", "PID-3", {"url": SUBJECT, "valueReference": subject})
        _make_visit(work, appointment)
    _put_notes(work, appointment)
    _make_orders(work, sch, appointment)
    work.provenance.append(("SCH.Provenance", sch))
    return appointment


def _put_status(work: Work, sch: Segment, appointment: Draft) -> None:
    trigger = work.message.message_type.partition("^")[2]
    ais = work.segment("AIS")
    sent = sch.value(FILLER_STATUS) or (ais.value(RESOURCES["AIS"][5]) if ais else None) or ""
    said = target_of(work.codes("FillerStatusCodes[Appointment]"), sent) if sent else None
    decided = STATUS_BY_TRIGGER.get(trigger)
    if decided is not None:
        appointment.put("status", decided)
    elif said is not None:
        appointment.put("status", said)
    elif trigger == "S12":
        appointment.put("status", "booked")
    else:
        appointment.defaults["status"] = "booked"


def _put_times(work: Work, sch: Segment, appointment: Draft) -> None:
    """start, end and minutesDuration, from the first place that has them."""
    length = minutes(sch.value(9), sch.value(10) or "MIN") or _minutes_of(sch.value(11, 3))
    appointment.put("minutesDuration", length)
    start, end = _start_and_end(work, sch)
    if start and not end:
        ais = work.segment("AIS")
        length = length or (minutes(ais.value(7), ais.value(8) or "MIN") if ais else None)
        if length:
            end = _later(work, start, length)
    if start and end:
        appointment.put("start", start)
        appointment.put("end", end)


def _start_and_end(work: Work, sch: Segment) -> tuple[str | None, str | None]:
    tq1 = work.segment("TQ1")
    places: list[tuple[str, Composite | None, int, Composite | None, int]] = []
    if tq1 is not None:
        places.append(("TQ1-7", _only(tq1, 7), 1, _only(tq1, 8), 1))
    places.append(("SCH-11", _only(sch, 11), 4, _only(sch, 11), 5))
    for name, number in (("AIS", 4), ("AIP", 6), ("AIL", 6), ("AIG", 8)):
        segment = work.segment(name)
        if segment is not None:
            places.append((f"{name}-{number}", _only(segment, number), 1, None, 1))
    for position, begins, begin, ends, end in places:
        if begins is None or valued(begins, begin) is None:
            continue
        try:
            starts = instant(begins, work.context, component=begin)
            return starts, instant(ends, work.context, component=end) if ends else None
        except Unmappable as error:
            raise Unmappable(f"{position} {error}", position=position) from None
    return None, None


def _add_resources(work: Work, name: str, appointment: Draft) -> None:
    """Services or participants of one kind of segment. Each has an id of its own, so that a
    later change finds it."""
    segments = work.segments(name)
    if not segments:
        return
    trigger = work.message.message_type.partition("^")[2]
    path, prefix = RESOURCES[name][:2]
    changes = trigger in CHANGES or any(segment.raw(ACTION) for segment in segments)
    snapshot: dict[str, dict[str, Any]] = {}
    for segment in segments:
        item = _item(work, name, segment, appointment)
        action = segment.raw(ACTION)
        if item is None or action == UNCHANGED:
            continue
        removed = action == DELETED or (trigger in REMOVALS and not action)
        if not changes:
            snapshot[item["id"]] = item
        elif removed:
            appointment.remove_keyed(path, item["id"])
        else:
            appointment.add_keyed(path, item["id"], item)
    if snapshot:
        appointment.lists[((path,), prefix)] = list(snapshot.values())


def _item(work: Work, name: str, segment: Segment, appointment: Draft) -> dict[str, Any] | None:
    path, prefix = RESOURCES[name][:2]
    said = Draft(resource_type="Appointment", id="")
    work.apply(f"{name}.Appointment", segment, said)
    items = said.lists.get(((path,), prefix), [])
    if not items or (path == "participant" and "actor" not in items[0]):
        return None
    appointment.trace += said.trace
    item: dict[str, Any] = items[0]
    key = f"{segment.value(3) or ''}|{segment.value(3, 2) or ''}|{segment.value(3, 4) or ''}"
    item["id"] = f"{prefix}.x{zlib.crc32(key.encode('utf-8', 'surrogatepass')):08x}"
    if path == "participant":
        _put_taking_part(work, name, segment, item, appointment)
    return item


def _put_taking_part(
    work: Work, name: str, segment: Segment, item: dict[str, Any], appointment: Draft
) -> None:
    """period and status of one participant."""
    _, _, begins, _, _, status = RESOURCES[name]
    start = _start_of(work, name, segment, appointment)
    if start and "T" in start:
        length = _length(name, segment)
        end = _later(work, start, length) if length else None
        item["period"] = {"start": start, **({"end": end} if end else {})}
    elif not segment.value(begins):
        item.pop("period", None)
    sent = segment.value(status) or ""
    said = target_of(work.codes("FillerStatusCodes[Appointment]"), sent) if sent else None
    if isinstance(said, str):
        item["status"] = PARTICIPATION.get(said, "accepted")


def _start_of(work: Work, name: str, segment: Segment, appointment: Draft) -> str | None:
    """When a resource is needed from: its own time, else its offset from the appointment's."""
    _, _, begins, offset, _, _ = RESOURCES[name]
    own = _only(segment, begins)
    if own is not None and valued(own):
        try:
            return instant(own, work.context)
        except Unmappable:
            return None  # a date alone is kept as the table has it
    start = appointment.get("start")
    sent = segment.value(offset) or ""
    length = minutes(sent.lstrip("+-"), segment.value(offset + 1) or "MIN")
    if start is None or length is None:
        return start if sent == "0" else None
    return _later(work, start, -length if sent.startswith("-") else length)


def _length(name: str, segment: Segment) -> int | None:
    field = RESOURCES[name][4]
    return minutes(segment.value(field), segment.value(field + 1) or "MIN")


def _make_visit(work: Work, appointment: Draft) -> None:
    """The visit that the booking is for, which is planned until an ADT says more."""
    encounter = make_encounter(work)
    if encounter is not None:
        encounter.defaults["status"] = "planned"
        encounter.add("appointment", "SCH-2", {"reference": appointment.reference})


def _put_notes(work: Work, appointment: Draft) -> None:
    """Notes after SCH and its resources; R4's comment is all of them as one text."""
    texts: list[str] = []
    is_own = False
    for segment in work.message.segments():
        if segment.name != "NTE":
            is_own = segment.name in BEFORE_ORDERS
        elif is_own:
            work.apply("NTE.Appointment-Comment", segment, appointment)
            texts += [text for text in (valued(cx) for cx in segment.repetitions(3)) if text]
    # Only the first repetition of a note stands in its extension; the comment has all of them.
    items = appointment.lists.get((("extension",), "NTE-3"), [])
    items[:] = [item for item in items if "text" in item.get("valueAnnotation", {})]
    if texts:
        appointment.put("comment", "\n".join(texts))


def _make_orders(work: Work, sch: Segment, appointment: Draft) -> None:
    """ServiceRequest of each order that the booking is for. What the order itself has said
    stands above this, so all of it is only a default."""
    services = work.segments("AIS")
    placers = [identity(ei, authority=2) for ei in sch.repetitions(26)]
    fillers = [identity(ei, authority=2) for ei in sch.repetitions(27)]
    orders: list[Identity] = [i for i in (placers if any(placers) else fillers) if i]
    for nth, number in enumerate(orders):
        request = work.draft("ServiceRequest", number)
        said = Draft(resource_type="ServiceRequest", id="")
        if len(orders) == 1:
            work.apply("SCH.ServiceRequest", sch, said)
        said.put("status", "active")
        said.put("intent", "order")
        ais = services[nth] if nth < len(services) and len(services) >= len(orders) else None
        if ais is not None:
            work.apply("AIS.ServiceRequest", ais, said)
            _put_occurrence(work, ais, said, appointment)
        request.trace += said.trace
        request.refer("subject", work.patient)
        for name, value in merged(None, said).items():
            if name not in ("resourceType", "id"):
                request.defaults.setdefault(name, value)
        appointment.add("basedOn", "SCH-26", {"reference": request.reference})


def _put_occurrence(work: Work, ais: Segment, request: Draft, appointment: Draft) -> None:
    start = _start_of(work, "AIS", ais, appointment)
    if start is None or "T" not in start:
        return
    length = _length("AIS", ais)
    request.put("occurrencePeriod.start", start)
    request.put("occurrencePeriod.end", _later(work, start, length) if length else None)


def _minutes_of(duration: str | None) -> int | None:
    """TQ.3, "M30": a unit and a number."""
    return minutes(duration[1:], duration[0]) if duration else None


def _later(work: Work, start: str, length: int) -> str | None:
    try:
        moved = datetime.fromisoformat(start) + timedelta(minutes=length)
    except OverflowError:
        return None
    return fhir_datetime(moved.strftime("%Y%m%d%H%M%S%z"), zone=work.context.zone)


def _only(segment: Segment, field: int) -> Composite | None:
    return next(iter(segment.repetitions(field)), None)
