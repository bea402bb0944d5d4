"""Makers for vaccinations: Immunization of each RXA, and what its OBX add (VXU)."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.administrations import put_status
from chartgate.transform.hl7v2.datatypes import NO_CODES, Unmappable, date_time
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.groups import Around, Observation, Order, groups
from chartgate.transform.hl7v2.identity import Identity, identity
from chartgate.transform.hl7v2.observations import make_observation, make_own_observations
from chartgate.transform.hl7v2.orders import make_subject
from chartgate.transform.hl7v2.work import Work

DELETED = "D"  # OBX-11
NOTHING_GIVEN = "998"  # CVX: no vaccine administered; only the OBX under it say something
PLACEHOLDERS = ("9999",)  # ORC-3 of a vaccination that is not the sender's own (CDC guide)
# LOINC codes of OBX-3.
ELIGIBILITY, FUNDING, DOSE_NUMBER, SERIES_DOSES = "64994-7", "30963-3", "30973-2", "59782-3"
DOCUMENT, VACCINE_TYPE, PUBLISHED, PRESENTED = "69764-9", "30956-7", "29768-9", "29769-7"
EDUCATION = (DOCUMENT, VACCINE_TYPE, PUBLISHED, PRESENTED)
OWN_ELEMENTS = (ELIGIBILITY, FUNDING, DOSE_NUMBER, SERIES_DOSES, *EDUCATION)


def make_immunizations(work: Work) -> None:
    """An Immunization of each RXA, and Observations of what is no part of it."""
    make_subject(work)
    found = groups(work.message)
    make_own_observations(
        work, found.before.observations, undated=work.message.value("MSH", 7) or ""
    )
    given = [order for order in found.orders if "RXA" in order.details]
    numbers = Counter(number.key for order in given if (number := _number(order)))
    equals: Counter[str] = Counter()
    for order in given:
        rxa = order.details["RXA"]
        if order.orc is not None:
            work.provenance.append(("ORC.Provenance", order.orc))
        immunization = None
        if rxa.value(5) != NOTHING_GIVEN:
            immunization = _immunization(work, order, rxa, numbers)
        _observe(work, order, immunization, equals)


def _immunization(work: Work, order: Order, rxa: Segment, numbers: Counter[str]) -> Draft:
    vaccine = rxa.value(5) or rxa.value(5, 2)
    if vaccine is None:
        raise Unmappable("RXA-5 names no vaccine", position="RXA-5")
    number = _number(order)
    content = f"{vaccine} {(rxa.value(3) or '')[:8]}"
    if number is None:
        patient = work.patient.reference if work.patient else ""
        key = Identity(f"{patient} {content}", "vaccination")
    elif numbers[number.key] > 1:  # one number for several vaccines
        key = Identity(f"{number.key} {content}", "vaccination of a number")
    else:
        key = number
    found = work.draft("Immunization", key)
    found.refer("patient", work.patient)
    found.refer("encounter", work.encounter)
    around = Around(order=order, message=work.message)
    work.apply("ORC.Immunization", order.orc, found, around=around)
    work.apply("RXA.Immunization", rxa, found, around=around)
    work.apply_all("RXR.Immunization", order.routes[:1], found)
    work.apply_all("PRT.Immunization", order.participations, found)
    work.apply_all("NTE.Immunization", order.notes, found)
    put_status(found, rxa)
    _put_observed(work, order, found)
    found.defaults["occurrenceString"] = "not known when"
    return found


def _observe(work: Work, order: Order, of: Draft | None, equals: Counter[str]) -> None:
    """Observations of the OBX that Immunization has no element for, as parts of it."""
    number = _number(order)
    if of is not None:
        base = of.reference
    else:
        base = number.key if number else work.patient.reference if work.patient else ""
    for observation in order.observations:
        if of is not None and observation.segment.value(3) in OWN_ELEMENTS:
            continue
        found = make_observation(work, observation, base=base, equals=equals)
        if of is not None:
            found.add_keyed("partOf", of.id, {"reference": of.reference})


def _number(order: Order) -> Identity | None:
    """ORC-3, else ORC-2; a placeholder is none."""
    for field in (3, 2):
        for ei in order.orc.repetitions(field) if order.orc else ():
            found = identity(ei, authority=2)
            if found is not None and found.value not in PLACEHOLDERS:
                return found
    return None


def _put_observed(work: Work, order: Order, found: Draft) -> None:
    """What OBX say that Immunization has an element for."""
    obxs = [o.segment for o in _of_immunization(order.observations)]
    for obx in obxs:
        work.apply("OBX.Immunization", obx, found)
    taught: dict[str, dict[str, Any]] = {}
    for obx in obxs:
        if obx.value(3) in EDUCATION:
            _teach(work, obx, taught.setdefault(obx.value(4) or "", {}))
    for item in taught.values():
        kind = item.pop(VACCINE_TYPE, None)
        item.setdefault("documentType", kind or "Vaccine information statement")
        found.add("education", "OBX-5", item)
    values = {obx.value(3): obx.value(5) for obx in obxs}
    if number := values.get(DOSE_NUMBER):
        protocol = _count("doseNumber", number)
        if doses := values.get(SERIES_DOSES):
            protocol |= _count("seriesDoses", doses)
        found.add("protocolApplied", "OBX-5", protocol)


def _of_immunization(observations: Iterable[Observation]) -> list[Observation]:
    return [
        observation
        for observation in observations
        if observation.segment.value(3) in OWN_ELEMENTS
        and observation.segment.value(11) not in (DELETED, "W")
    ]


def _teach(work: Work, obx: Segment, item: dict[str, Any]) -> None:
    code = obx.value(3)
    name = obx.value(5, 2) or obx.value(5)
    if code == DOCUMENT and name:
        item["documentType"] = name
    elif code == VACCINE_TYPE and name:
        item[VACCINE_TYPE] = name
    else:
        for value in obx.repetitions(5)[:1]:
            try:
                moment = date_time(value, work.context, NO_CODES)
            except Unmappable as error:
                raise Unmappable(f"OBX-5 {error}", position="OBX-5") from None
            item["publicationDate" if code == PUBLISHED else "presentationDate"] = moment


def _count(base: str, sent: str) -> dict[str, Any]:
    """A number of doses; what is no number stays text."""
    if sent.isascii() and sent.isdecimal() and 0 < int(sent[:9]):
        return {f"{base}PositiveInt": int(sent[:9])}
    return {f"{base}String": sent}


IMMUNIZATION_MESSAGES = {"VXU^V04": make_immunizations}
