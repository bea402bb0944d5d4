"""Makers for orders: ServiceRequest of an ORC and OBR, and what is sent with it.

A cancel is a change of state: the order stays, as revoked.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.code_maps import target_of
from chartgate.transform.hl7v2.datatypes import NO_CODES, Unmappable
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.groups import Around, Order, groups
from chartgate.transform.hl7v2.identity import Identity, identity, patient_identity, resource_id
from chartgate.transform.hl7v2.observations import make_observation, make_own_observations
from chartgate.transform.hl7v2.order_kinds import duration_of_quantity, time_of_day
from chartgate.transform.hl7v2.participations import make_related_persons, place_participants
from chartgate.transform.hl7v2.patients import make_patient
from chartgate.transform.hl7v2.quantities import minutes
from chartgate.transform.hl7v2.specimens import make_specimens
from chartgate.transform.hl7v2.surroundings import make_rest
from chartgate.transform.hl7v2.visits import make_encounter
from chartgate.transform.hl7v2.work import Work

PLACER, FILLER = 2, 3  # of ORC and of OBR alike
# Controls that the official map leaves out. A refused cancel leaves the order as it was, and a
# message does not say what that is.
CONTROLS: Mapping[str, str] = {
    **dict.fromkeys(("RP", "RU"), "revoked"),  # another order takes its place
    **dict.fromkeys(("UC", "UD"), "unknown"),
}
STATES: Mapping[str, str] = {"A": "active"}  # some results are there, others will follow
# Elements that ORC and OBR both fill with the same: they share the ids of their items.
SHARED = (("OBR-2", "ORC-2"), ("OBR-3", "ORC-3"), ("OBR-53", "ORC-33"))


def make_orders(work: Work) -> None:
    """ORM, OML, OMG: an order, its changes and its cancel; a medication's is medications.py's."""
    make_subject(work)
    found = groups(work.message)
    equals: Counter[str] = Counter()
    services = [order for order in found.orders if not order.detail("RXO", "RXE")]
    requests = [(order, make_order(work, order, equals)) for order in services]
    make_rest(work)
    _link_reasons(work, requests)
    make_own_observations(
        work, found.before.observations, undated=work.message.value("MSH", 7) or ""
    )
    make_related_persons(work, found.before.participations)
    link_parents(work)


def make_subject(work: Work) -> None:
    """The patient and the visit. Raises Unmappable where a message is about several patients."""
    make_patient(work)
    persons = {patient_identity(pid) for pid in work.segments("PID")}
    if len(persons) > 1:
        raise Unmappable("the message is about more than one patient", position="PID-3")
    make_encounter(work)


def make_order(work: Work, order: Order, equals: Counter[str]) -> Draft:
    """ServiceRequest with its specimens, and with what was observed when it was ordered."""
    request = make_request(work, order)
    work.apply_all("NTE.ServiceRequest", order.notes, request)
    if order.orc is not None:
        work.provenance.append(("ORC.Provenance", order.orc))
    base = request.reference
    specimens = make_specimens(work, order, base=base)
    for specimen in specimens:
        request.add_keyed("specimen", specimen.id, {"reference": specimen.reference})
    observed = [*order.observations, *(o for s in order.specimens for o in s.observations)]
    for observation in observed:
        found = make_observation(work, observation, base=base, equals=equals)
        request.add_keyed("supportingInfo", found.id, {"reference": found.reference})
    place_participants(work, order.participations, [request, *specimens])
    return request


def make_request(work: Work, order: Order, *, resulted: bool = False) -> Draft:
    """ServiceRequest of an order. Raises Unmappable where nothing tells it from others.

    `resulted`: it comes with its results, which say what was done and not what was asked for.
    """
    request = work.draft("ServiceRequest", _request_key(work, order))
    around = Around(order=order, message=work.message)
    obr = order.details.get("OBR")
    work.apply("ORC.ServiceRequest", order.orc, request, around=around)
    work.apply("OBR.ServiceRequest", obr, request, around=around)
    timing = next((segment for segment in order.timings if segment.name == "TQ1"), None)
    if timing is not None:
        work.apply("TQ1.ServiceRequest", timing, request, around=around)
        _put_repeat(work, timing, request)
    if resulted and "code" not in request.defaults:
        code = request.puts.pop(("code",), None)
        if code is not None:
            request.defaults["code"] = code
    field = _put_status(work, request, order.orc, resulted=resulted)
    if field and order.orc is not None:
        work.took(request, order.orc, "ORC.ServiceRequest", status=f"ORC-{field}")
    share_places(request)
    request.defaults["intent"] = "order"
    request.refer("subject", work.patient)
    request.refer("encounter", work.encounter)
    return request


def placer_number(order: Order) -> Identity | None:
    """By which the placer knows the order: ORC-2, else OBR-2."""
    return _number(order, PLACER)


def filler_number(order: Order) -> Identity | None:
    """By which the filler knows it: ORC-3, else OBR-3. Of several OBR, each its own."""
    obr = order.details.get("OBR")
    own = _first(obr, FILLER) if obr is not None else None
    return own or _number(order, FILLER)


def is_named(order: Order) -> bool:
    """Whether a number or a code tells this order from others."""
    obr = order.details.get("OBR")
    numbered = placer_number(order) or filler_number(order)
    return numbered is not None or (obr is not None and bool(obr.raw(4)))


def share_places(draft: Draft) -> None:
    """An identifier is one item, whether ORC or OBR brought it."""
    for own, shared in SHARED:
        items = draft.lists.pop((("identifier",), own), None)
        if items is not None:
            renamed = [{**item, "id": item["id"].replace(own, shared)} for item in items]
            draft.lists.setdefault((("identifier",), shared), renamed)


def link_parents(work: Work) -> None:
    """An order that names its parent by a number refers to it, where the message has it."""
    for draft in list(work.drafts.values()):
        if draft.resource_type != "ServiceRequest":
            continue
        for (path, _), items in draft.lists.items():
            for item in items if path == ("basedOn",) else ():
                number = item["identifier"]
                authority = number.get("assigner", {}).get("display") or number.get("system", "")
                key = Identity(number["value"], authority)
                id_ = resource_id(work.settings, "ServiceRequest", key)
                if f"ServiceRequest/{id_}" in work.drafts and id_ != draft.id:
                    item["reference"] = f"ServiceRequest/{id_}"


def _link_reasons(work: Work, requests: Iterable[tuple[Order, Draft]]) -> None:
    """Why it was ordered: the Conditions that have been made of an order's DG1."""
    conditions = {
        segment.position: draft
        for draft in work.drafts.values()
        if draft.resource_type == "Condition"
        for segment, _ in draft.trace
    }
    for order, request in requests:
        for dg1 in order.diagnoses:
            why = conditions.get(dg1.position)
            if why is not None:
                request.add_keyed("reasonReference", why.id, {"reference": why.reference})


def _request_key(work: Work, order: Order) -> Identity:
    obr = order.details.get("OBR")
    code = (obr.value(4) or obr.value(4, 2) or "") if obr is not None else ""
    number = placer_number(order) or filler_number(order)
    if number is not None:
        id_ = resource_id(work.settings, "ServiceRequest", number)
        held = work.drafts.get(f"ServiceRequest/{id_}")
        if held is None or not code or code in _codes(held):
            return number
        return Identity(f"{number.key}|{code}", "one of several of a number")
    if not code:
        raise Unmappable("neither ORC-2 nor ORC-3 names the order", position="ORC-2")
    patient = work.patient.reference if work.patient else ""
    times = [obr.value(6), obr.value(7)] if obr is not None else []
    time = next((t for t in times if t), work.message.header.value(7) or "")
    return Identity(f"{patient} {code} {time}", "order without a number")


def _codes(request: Draft) -> set[str]:
    concept = request.get("code") or request.defaults.get("code") or {}
    named = {coding.get("code", "") for coding in concept.get("coding", ())}
    return named | {concept.get("text", "")}


def _number(order: Order, field: int) -> Identity | None:
    for segment in (order.orc, order.details.get("OBR")):
        found = _first(segment, field) if segment is not None else None
        if found is not None:
            return found
    return None


def _first(segment: Segment, field: int) -> Identity | None:
    numbers = (identity(ei, authority=2) for ei in segment.repetitions(field))
    return next((number for number in numbers if number), None)


def _put_status(work: Work, request: Draft, orc: Segment | None, *, resulted: bool) -> int:
    """Gives the field that the status is from; 0: none, it is what is assumed."""
    request.defaults["status"] = "unknown" if resulted else "active"
    if orc is None:
        return 0
    control, sent = orc.value(1), orc.value(5)
    controls = work.codes("OrderControlCode[ServiceRequest.status]")
    by_control = (target_of(controls, control) or CONTROLS.get(control)) if control else None
    by_status = target_of(work.codes("OrderStatus"), sent) if sent else None
    if by_control == "revoked" and by_status != "entered-in-error":
        # A status that was sent along is what the order had before it was cancelled.
        request.put("status", by_control)
        return 1
    if sent:
        request.put("status", by_status or STATES.get(sent, "unknown"))
        return 5
    if by_control and not resulted:
        request.put("status", by_control)
        return 1
    if by_control:
        # Results repeat the control of an order that may have moved on since.
        request.defaults["status"] = by_control
    return 0


def _put_repeat(work: Work, tq1: Segment, request: Draft) -> None:
    """What several fields of TQ1 say together."""
    element = "occurrenceTiming.repeat"
    if _put_bounds(tq1, request):
        work.took(request, tq1, "TQ1.ServiceRequest", **{element: "TQ1-6"})
    times = [time_of_day(cx, work.context, NO_CODES) for cx in tq1.repetitions(4)]
    if any(times):
        request.put(f"{element}.timeOfDay", [time for time in times if time])
        work.took(request, tq1, "TQ1.ServiceRequest", **{f"{element}.timeOfDay": "TQ1-4"})


def _put_bounds(tq1: Segment, request: Draft) -> bool:
    """How long, where TQ1-7 and TQ1-8 leave it open. False: it says nothing."""
    cx = next(iter(tq1.repetitions(6)), None)
    length = duration_of_quantity(cx) if cx is not None else None
    if cx is None or length is None:
        return False
    path = "occurrenceTiming.repeat"
    start = request.get(f"{path}.boundsPeriod.start")
    end = request.get(f"{path}.boundsPeriod.end")
    if start is None and end is None:
        request.put(f"{path}.boundsDuration", length)
        return True
    whole = minutes(cx.value(1), cx.value(2))
    if whole is None or (start and end):
        return False
    known, missing, sign = (start, "end", 1) if start else (end, "start", -1)
    if "T" not in known:
        return False
    moment = datetime.fromisoformat(known) + sign * timedelta(minutes=whole)
    request.put(f"{path}.boundsPeriod.{missing}", moment.isoformat())
    return True


ORDER_MESSAGES: Mapping[str, Callable[[Work], None]] = dict.fromkeys(
    ("ORM", "ORM^O01", "OML^O21", "OMG^O19"), make_orders
)
