"""Makers for bookings: SIU messages."""

from datetime import datetime, timedelta

from chartgate.formats.hl7v2 import Composite, Segment
from chartgate.formats.hl7v2_time import fhir_datetime
from chartgate.transform.hl7v2.code_maps import code_map, target_of
from chartgate.transform.hl7v2.datatypes import Unmappable, instant, valued
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.identity import identity
from chartgate.transform.hl7v2.patients import make_patient_if_named
from chartgate.transform.hl7v2.quantities import minutes
from chartgate.transform.hl7v2.work import Work

FILLER, PLACER = 2, 1
RESOURCES = ("AIS", "AIG", "AIL", "AIP")  # segment action code in their field 2
STATUS_BY_TRIGGER = {
    "S15": "cancelled",  # cancelled
    "S16": "cancelled",  # discontinued: what is left of it will not take place
    "S17": "entered-in-error",  # deleted: it was never meant
    "S26": "noshow",
}


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
    for name in RESOURCES:
        work.apply_all(f"{name}.Appointment", work.segments(name, action_field=2), appointment)
    if patient is not None:
        actor = {"actor": {"reference": patient.reference}, "status": "accepted"}
        appointment.add("participant", "PID-3", actor)
    _put_status(work, sch, appointment)
    _put_times(work, sch, appointment)
    return appointment


def _put_status(work: Work, sch: Segment, appointment: Draft) -> None:
    trigger = work.message.message_type.partition("^")[2]
    sent = sch.value(FILLER_STATUS) or ""
    said = target_of(code_map("FillerStatusCodes[Appointment]"), sent) if sent else None
    decided = STATUS_BY_TRIGGER.get(trigger)
    if decided is not None:
        appointment.put("status", decided)
    elif said is not None:
        appointment.put("status", said)
    elif trigger == "S12":
        appointment.put("status", "booked")
    else:
        appointment.defaults["status"] = "booked"


FILLER_STATUS = 25


def _put_times(work: Work, sch: Segment, appointment: Draft) -> None:
    """start, end and minutesDuration, from the first place that has them."""
    length = minutes(sch.value(9), sch.value(10) or "MIN")
    appointment.put("minutesDuration", length)
    start, end = _start_and_end(work, sch)
    if start and not end:
        ais = work.segment("AIS")
        length = length or (minutes(ais.value(7), ais.value(8) or "MIN") if ais else None)
        if length:
            ended = datetime.fromisoformat(start) + timedelta(minutes=length)
            end = fhir_datetime(ended.strftime("%Y%m%d%H%M%S%z"), zone=work.context.zone)
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


def _only(segment: Segment, field: int) -> Composite | None:
    return next(iter(segment.repetitions(field)), None)
