"""Makers for medication orders and what a pharmacy gave out: RDE, RDS and OMP messages."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.datatypes import NO_CODES, Unmappable, entity_identifier
from chartgate.transform.hl7v2.dosages import put_dosages
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.groups import Around, Order, groups
from chartgate.transform.hl7v2.identity import Identity, identity, resource_id
from chartgate.transform.hl7v2.observations import make_observation, make_own_observations
from chartgate.transform.hl7v2.orders import make_orders, make_subject
from chartgate.transform.hl7v2.products import gather, put_product
from chartgate.transform.hl7v2.work import Work

# HL7 table 0119, the part that ends or holds an order, whatever its status says beside it. A cancel
# that is asked for counts at once, as in the official map.
BY_CONTROL = {
    "CA": "cancelled",
    "CR": "cancelled",
    "OC": "cancelled",
    "DC": "stopped",
    "DR": "stopped",
    "OD": "stopped",
    "RP": "stopped",  # another order takes its place
    "RQ": "stopped",
    "RU": "stopped",
    "HD": "on-hold",
    "HR": "on-hold",
    "OH": "on-hold",
    # Refused: the order is as it was, and the message does not say what that is.
    **dict.fromkeys(("UC", "UD", "UH"), "unknown"),
}
# HL7 table 0038.
BY_STATUS = {
    "A": "active",
    "CA": "cancelled",
    "CM": "completed",
    "DC": "stopped",
    "ER": "entered-in-error",
    "HD": "on-hold",
    "IP": "active",
    "RP": "stopped",
    "SC": "active",
}
# HL7 table 0119: the order stands, or stands again.
ACTIVATING = ("NW", "OE", "OK", "OR", "RL", "RO")
NEW = "NW"
ASKED = ("RXO", "RXE")
CODE_FIELD = {"RXE": 2, "RXD": 2, "RXA": 5, "RXO": 1}
NOT_NAMED = {"text": "not named"}


def make_medications(work: Work) -> None:
    """RDE, RDS, OMP: MedicationRequest of each order and MedicationDispense of each RXD."""
    make_subject(work)
    if not _make_all(work):
        raise Unmappable("there is no RXO, RXE or RXD segment", position="RXE")
    before = groups(work.message).before.observations
    make_own_observations(work, before, undated=work.message.value("MSH", 7) or "")


def make_mixed_orders(work: Work) -> None:
    """ORM: orders of services, and those of medications among them."""
    make_orders(work)
    _make_all(work)


def _make_all(work: Work) -> bool:
    """Whether there was a medication."""
    equals: Counter[str] = Counter()
    done: set[int] = set()  # positions; a second RXD repeats the order that it belongs to
    orders = [o for o in groups(work.message).orders if o.detail(*ASKED, "RXD")]
    for order in orders:
        asked = order.detail(*ASKED)
        found: Draft | None = None
        if asked is not None and asked.position not in done:
            done.add(asked.position)
            found = medication_request(work, order)
        if rxd := order.detail("RXD"):
            dispense = medication_dispense(work, order, rxd)
            found = found or dispense
        if found is not None:
            _observe(work, order, found, equals)
    return bool(orders)


def _observe(work: Work, order: Order, found: Draft, equals: Counter[str]) -> None:
    """What was observed when it was ordered, and who ordered it."""
    if order.orc is not None:
        work.provenance.append(("ORC.Provenance", order.orc))
    for observation in order.observations:
        seen = make_observation(work, observation, base=found.reference, equals=equals)
        found.add_keyed("supportingInformation", seen.id, {"reference": seen.reference})


def medication_request(work: Work, order: Order) -> Draft:
    """MedicationRequest of an order that has an RXO or RXE. Raises Unmappable."""
    request = work.draft("MedicationRequest", order_key(work, order))
    request.refer("subject", work.patient)
    request.refer("encounter", work.encounter)
    around = Around(order=order, message=work.message)
    work.apply("ORC.MedicationRequest", order.orc, request, around=around)
    for name in ASKED:
        detail = order.details.get(name)
        work.apply(f"{name}.MedicationRequest", detail, request, around=around)
    work.apply_all("NTE.MedicationRequest", order.notes, request)
    put_dosages(
        work,
        request,
        routes=_asked(order, order.routes),
        timings=[s for s in _asked(order, order.timings) if s.name == "TQ1"],
        around=around,
    )
    gather(request, "dispenseRequest.quantity")
    put_product(work, request, _asked(order, order.components))
    control = order.orc.value(1) if order.orc else None
    if control == NEW and request.get("medicationCodeableConcept") is None:
        name = next(name for name in ASKED if name in order.details)
        field = CODE_FIELD[name]
        raise Unmappable(f"{name}-{field} names no medication", position=f"{name}-{field}")
    _put_status(request, control, order.orc.value(5) if order.orc else None)
    request.defaults["intent"] = "order"
    request.defaults["medicationCodeableConcept"] = NOT_NAMED
    return request


def medication_dispense(work: Work, order: Order, rxd: Segment) -> Draft:
    """MedicationDispense of an RXD. Raises Unmappable."""
    key = order_key(work, order)
    # Some senders count each one as the first.
    event = f"{key.key} {rxd.value(1) or ''} {rxd.value(3) or ''}"
    dispense = work.draft("MedicationDispense", Identity(event, "dispense"))
    dispense.refer("subject", work.patient)
    dispense.refer("context", work.encounter)
    work.apply("RXD.MedicationDispense", rxd, dispense)
    put_dosages(work, dispense, routes=[s for s in order.routes if s.position > rxd.position])
    parts = [s for s in order.components if s.position > rxd.position]
    gather(dispense, "quantity")
    put_product(work, dispense, parts)
    dispense.add("authorizingPrescription", "ORC-2", request_reference(work, order, key))
    if order.orc is not None and order.orc.value(1) in ("CA", "OC"):
        dispense.put("status", "cancelled")
    dispense.defaults["status"] = "completed"
    dispense.defaults["medicationCodeableConcept"] = NOT_NAMED
    return dispense


def request_reference(work: Work, order: Order, key: Identity) -> dict[str, Any]:
    """The MedicationRequest of an order, by its id and by the placer's number."""
    id_ = resource_id(work.settings, "MedicationRequest", key)
    found: dict[str, Any] = {"reference": f"MedicationRequest/{id_}"}
    for ei in order.orc.repetitions(2)[:1] if order.orc else ():
        if named := entity_identifier(ei, work.context, NO_CODES):
            found["identifier"] = named
    return found


def order_key(work: Work, order: Order) -> Identity:
    """The number of the order: the placer's, else the filler's, else the prescription's."""
    places = [(order.orc, 2), (order.orc, 3)]
    places += [(order.details.get("RXE"), 15), (order.details.get("RXD"), 7)]
    for segment, field in places:
        for ei in segment.repetitions(field) if segment else ():
            found = identity(ei, authority=2)
            if found is not None:
                return found
    control = order.orc.value(1) if order.orc else None
    patient = work.patient.reference if work.patient else ""
    if control in BY_CONTROL:
        raise Unmappable("neither ORC-2 nor ORC-3 names the order", position="ORC-2")
    what = order.detail(*CODE_FIELD)
    named = (what.value(CODE_FIELD[what.name]) or "") if what else ""
    since = (order.orc.value(9) if order.orc else None) or work.message.header.value(10) or ""
    return Identity(f"{patient} {named} {since}", "order without a number")


def _asked(order: Order, segments: Iterable[Segment]) -> list[Segment]:
    """Those of the order as the pharmacy has it (after RXE), else as it was asked for; never
    those of what was given out (after RXD)."""
    rxe, rxd = order.details.get("RXE"), order.details.get("RXD")
    held = [s for s in segments if rxd is None or s.position < rxd.position]
    encoded = [s for s in held if rxe is not None and s.position > rxe.position]
    return encoded or held


def _put_status(request: Draft, control: str | None, status: str | None) -> None:
    said = BY_CONTROL.get(control or "")
    by_status = BY_STATUS.get(status or "")
    if said in (None, "unknown") or by_status == "entered-in-error":
        said = by_status or said
    if said is None and control in ACTIVATING:
        said = "active"
    request.put("status", said)
    request.defaults["status"] = "active" if control else "unknown"


MEDICATION_MESSAGES = {
    f"{kind}^{trigger}": make_medications
    for kind, triggers in {
        "OMP": ("O09",),
        "RDE": ("O01", "O11", "O25"),
        "RDS": ("O01", "O13"),
    }.items()
    for trigger in triggers
}
MIXED_MESSAGES = dict.fromkeys(("ORM", "ORM^O01"), make_mixed_orders)
