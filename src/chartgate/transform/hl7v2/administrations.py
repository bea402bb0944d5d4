"""Makers for medications given: MedicationAdministration of each RXA (RAS)."""

from collections import Counter

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.datatypes import Unmappable
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.groups import Around, Order, groups
from chartgate.transform.hl7v2.identity import Identity
from chartgate.transform.hl7v2.medications import (
    ASKED,
    medication_request,
    order_key,
    request_reference,
)
from chartgate.transform.hl7v2.observations import (
    UNKNOWN,
    make_observation,
    make_own_observations,
)
from chartgate.transform.hl7v2.orders import make_subject
from chartgate.transform.hl7v2.products import gather, put_product
from chartgate.transform.hl7v2.work import Work

DELETED = "D"  # RXA-21
NO_DOSE = {"extension": [{"url": UNKNOWN, "valueCode": "unknown"}]}


def make_administrations(work: Work) -> None:
    """RAS: MedicationAdministration of each RXA, and MedicationRequest of what was ordered."""
    make_subject(work)
    found = groups(work.message)
    equals: Counter[str] = Counter()
    done: set[int] = set()  # positions; a second RXA repeats the order that it belongs to
    given = [order for order in found.orders if "RXA" in order.details]
    if not given:
        raise Unmappable("there is no RXA segment", position="RXA")
    for order in given:
        asked = order.detail(*ASKED)
        if asked is not None and asked.position not in done:
            done.add(asked.position)
            medication_request(work, order)
        if order.orc is not None:
            work.provenance.append(("ORC.Provenance", order.orc))
        administration = _administration(work, order, order.details["RXA"])
        for observation in order.observations:
            seen = make_observation(work, observation, base=administration.reference, equals=equals)
            seen.add_keyed("partOf", administration.id, {"reference": administration.reference})
    make_own_observations(
        work, found.before.observations, undated=work.message.value("MSH", 7) or ""
    )


def _administration(work: Work, order: Order, rxa: Segment) -> Draft:
    if not (rxa.value(5) or rxa.value(5, 2)):
        raise Unmappable("RXA-5 names no medication", position="RXA-5")
    if not rxa.value(3):
        raise Unmappable("RXA-3 does not say when it was given", position="RXA-3")
    key = order_key(work, order)
    # Some senders count each one as the first: when it was given tells them apart.
    event = f"{key.key} {rxa.value(2) or ''} {rxa.value(3)}"
    found = work.draft("MedicationAdministration", Identity(event, "administration"))
    found.refer("subject", work.patient)
    found.refer("context", work.encounter)
    found.put("request", request_reference(work, order, key))
    around = Around(order=order, message=work.message)
    work.apply("ORC.MedicationAdministration", order.orc, found, around=around)
    work.apply("RXA.MedicationAdministration", rxa, found, around=around)
    routes = [s for s in order.routes if s.position > rxa.position]
    work.apply_all("RXR.MedicationAdministration", routes[:1] or order.routes[:1], found)
    work.apply_all("NTE.MedicationAdministration", order.notes, found)
    gather(found, "dosage.dose")
    if found.get("dosage.dose") is None and any(path[0] == "dosage" for path in found.puts):
        found.put("dosage.dose", NO_DOSE)  # FHIR mad-1: a dosage has a dose
    put_product(work, found, ())
    put_status(found, rxa)
    return found


def put_status(found: Draft, rxa: Segment) -> None:
    """What became of what an RXA tells of."""
    if rxa.value(21) == DELETED:
        found.put("status", "entered-in-error")
    elif found.get("status") is None:
        if rxa.value(18):  # a reason for not giving it
            found.put("status", "not-done")
        else:
            found.defaults["status"] = "completed"


ADMINISTRATION_MESSAGES = dict.fromkeys(("RAS^O01", "RAS^O17"), make_administrations)
