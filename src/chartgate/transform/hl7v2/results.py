"""Makers for results: DiagnosticReport of an OBR, and Observation of each OBX under it.

What is corrected or withdrawn stays, with its new status: the same result, sent again, is the
same resource.
"""

from collections import Counter
from collections.abc import Callable, Mapping

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.groups import Around, Observation, Order, groups
from chartgate.transform.hl7v2.identity import Identity
from chartgate.transform.hl7v2.observations import (
    make_observation,
    make_own_observations,
    unknown_code,
)
from chartgate.transform.hl7v2.orders import (
    filler_number,
    link_parents,
    make_request,
    make_subject,
    placer_number,
    share_places,
)
from chartgate.transform.hl7v2.participations import make_related_persons, place_participants
from chartgate.transform.hl7v2.specimens import make_specimens
from chartgate.transform.hl7v2.work import Work

ORDER_QUESTIONS = ("QST", "SCI")  # OBX-29: asked when it was ordered, or about the specimen

Made = dict[tuple[str, str], Draft]  # observations by code and sub-identifier


def make_results(work: Work) -> None:
    """ORU: reports with their observations and specimens, and observations of no report."""
    make_subject(work)
    found = groups(work.message)
    equals: Counter[str] = Counter()
    made: Made = {}
    for order in found.orders:
        _result(work, order, equals, made)
    before = found.before
    sent = work.message.header.value(7) or ""
    owner = work.patient.reference if work.patient else ""
    specimens = make_specimens(work, before, base=f"{owner} {sent}")
    loose = [*before.observations, *(o for s in before.specimens for o in s.observations)]
    for observation in make_own_observations(work, loose, undated=sent):
        _found_in(observation, specimens)
    make_related_persons(work, before.participations)
    link_parents(work)


def _result(work: Work, order: Order, equals: Counter[str], made: Made) -> None:
    request = None
    if order.orc is not None or placer_number(order) is not None:
        request = make_request(work, order, resulted=True)
    if "OBR" not in order.details and not order.observations and not order.specimens:
        return
    report = _report(work, order, request)
    specimens = make_specimens(work, order, base=report.reference)
    for specimen in specimens:
        report.add_keyed("specimen", specimen.id, {"reference": specimen.reference})
    results, about = _results_of(order)
    parent = _parent(order, made)
    for observation in results:
        found = make_observation(work, observation, base=report.reference, equals=equals, of=report)
        _found_in(found, specimens)
        obx = observation.segment
        made.setdefault((obx.value(3) or "", obx.value(4) or ""), found)
        if obx.value(29) in ORDER_QUESTIONS and request is not None:
            request.add_keyed("supportingInfo", found.id, {"reference": found.reference})
            continue
        report.add_keyed("result", found.id, {"reference": found.reference})
        if parent is not None:
            parent.add_keyed("hasMember", found.id, {"reference": found.reference})
            work.took(parent, order.details["OBR"], "OBR.DiagnosticReport", hasMember="OBR-26")
    for nth, observation in about:
        focus = specimens[nth]
        base = f"{report.reference} {focus.id}"
        found = make_observation(work, observation, base=base, equals=equals, of=report)
        found.add_keyed("focus", focus.id, {"reference": focus.reference})
    place_participants(work, order.participations, [report, request, *specimens])


def _report(work: Work, order: Order, request: Draft | None) -> Draft:
    obr = order.details.get("OBR")
    report = work.draft("DiagnosticReport", _report_key(work, order, obr))
    around = Around(order=order, message=work.message)
    work.apply("ORC.DiagnosticReport", order.orc, report, around=around)
    work.apply("OBR.DiagnosticReport", obr, report, around=around)
    work.apply_all("NTE.DiagnosticReport", order.notes, report)
    share_places(report)
    if request is not None:
        report.add_keyed("basedOn", request.id, {"reference": request.reference})
    report.refer("subject", work.patient)
    report.refer("encounter", work.encounter)
    report.defaults["status"] = "unknown"
    report.defaults["code"] = unknown_code()
    return report


def _report_key(work: Work, order: Order, obr: Segment | None) -> Identity:
    """The number of the order and what was asked for: one number may stand for several, and
    results of a result (OBR-26) are a report for each."""
    asked = (obr.value(4) or obr.value(4, 2) or "") if obr is not None else ""
    parent = obr.raw(26) if obr is not None else ""
    number = filler_number(order) or placer_number(order)
    if number is not None:
        return Identity(f"{number.key}|{asked}|{parent}", "report")
    patient = work.patient.reference if work.patient else ""
    header = work.message.header
    time = (obr.value(7) if obr is not None else None) or header.value(7) or header.value(10) or ""
    return Identity(f"{patient} {asked}|{parent} {time}", "report without a number")


def _results_of(order: Order) -> tuple[list[Observation], list[tuple[int, Observation]]]:
    """What was found, and what is said of the specimens: by their place in the list.

    Some senders put SPM before the results. Where none stand in front of it, those behind it are
    the results.
    """
    about = [(n, o) for n, s in enumerate(order.specimens) for o in s.observations]
    if order.observations:
        return order.observations, about
    return [observation for _, observation in about], []


def _parent(order: Order, made: Made) -> Draft | None:
    """The result that this order follows up, where the message has it: OBR-26."""
    obr = order.details.get("OBR")
    code = obr.value(26) if obr is not None else None
    if obr is None or code is None:
        return None
    return made.get((code, obr.value(26, 2) or ""))


def _found_in(observation: Draft, specimens: list[Draft]) -> None:
    if len(specimens) == 1 and observation.get("specimen") is None:
        observation.refer("specimen", specimens[0])


RESULT_MESSAGES: Mapping[str, Callable[[Work], None]] = dict.fromkeys(
    ("ORU", "ORU^R01", "ORU^R30", "ORU^R31", "ORU^R32"), make_results
)
