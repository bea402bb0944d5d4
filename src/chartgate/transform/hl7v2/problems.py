"""Makers for problem lists (PPR): Condition of PRB, Goal of GOL.

A problem that is deleted was never meant: it stays, as entered in error.
"""

from collections import Counter
from collections.abc import Iterator

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.code_maps import TERMINOLOGY
from chartgate.transform.hl7v2.datatypes import Unmappable
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.groups import groups
from chartgate.transform.hl7v2.identity import Identity, identity
from chartgate.transform.hl7v2.observations import make_own_observations
from chartgate.transform.hl7v2.orders import is_named, make_order, make_subject
from chartgate.transform.hl7v2.work import Work

DELETE = "DE"  # HL7 table 0287
ADD = "AD"
ENTERED_IN_ERROR = "entered-in-error"
CLINICAL = ("active", "recurrence", "relapse", "inactive", "remission", "resolved")
ABATED = ("inactive", "remission", "resolved")  # FHIR con-4: what has ended is one of these
VERIFICATION = ("unconfirmed", "provisional", "differential", "confirmed", "refuted")
LIFECYCLE = (
    "proposed",
    "planned",
    "accepted",
    "active",
    "on-hold",
    "completed",
    "cancelled",
    "rejected",
)
PROBLEM = {
    "coding": [
        {
            "system": f"{TERMINOLOGY}/condition-category",
            "code": "problem-list-item",
            "display": "Problem List Item",
        }
    ]
}
ACHIEVED = {
    "coding": [
        {"system": f"{TERMINOLOGY}/goal-achievement", "code": "achieved", "display": "Achieved"}
    ]
}


def make_problems(work: Work) -> None:
    """A Condition of each PRB with the Goals under it. Raises Unmappable."""
    make_subject(work)
    problems: list[tuple[int, Draft]] = []  # with the position of its PRB
    problem: Draft | None = None
    for segment, notes in _with_notes(work):
        if segment.name == "PRB":
            problem = _condition(work, segment)
            problems.append((segment.position, problem))
            work.apply_all("NTE.Condition", notes, problem)
        else:
            goal = _goal(work, segment, problem)
            work.apply_all("NTE.Goal", notes, goal)
    if not problems:
        raise Unmappable("there is no PRB segment", position="PRB")
    _observe(work, problems)


def _observe(work: Work, problems: list[tuple[int, Draft]]) -> None:
    """Observations, each the evidence of the problem that it stands under; and orders."""
    found = groups(work.message)
    said = [o for o in found.before.observations if o.segment.raw(3) or o.segment.raw(5)]
    drafts = make_own_observations(work, said, undated=work.message.value("MSH", 7) or "")
    for observation, draft in zip(said, drafts, strict=True):
        above = [p for position, p in problems if position < observation.segment.position]
        if above:
            detail = {"detail": [{"reference": draft.reference}]}
            above[-1].add_keyed("evidence", draft.id, detail)
    equals: Counter[str] = Counter()
    for order in found.orders:
        if is_named(order):
            make_order(work, order, equals)


def _with_notes(work: Work) -> Iterator[tuple[Segment, list[Segment]]]:
    """Each PRB and GOL with the NTE right under it; those of an OBX are not its own."""
    held: Segment | None = None
    notes: list[Segment] = []
    open_ = False
    for segment in work.message.segments():
        if segment.name in ("PRB", "GOL"):
            if held is not None:
                yield held, notes
            held, notes, open_ = segment, [], True
        elif segment.name == "NTE" and open_:
            notes.append(segment)
        elif segment.name != "NTE":
            open_ = False
    if held is not None:
        yield held, notes


def _key(work: Work, segment: Segment) -> Identity:
    """The instance's own identifier (field 4), else what it is, of this patient."""
    for ei in segment.repetitions(4):
        found = identity(ei, authority=2)
        if found is not None:
            return found
    named = segment.value(3) or segment.value(3, 2)
    if named is None or work.patient is None:
        name = segment.name
        sentence = f"neither {name}-4 nor {name}-3 says what it is about"
        raise Unmappable(sentence, position=f"{name}-3")
    system = segment.value(3, 3) or ""
    return Identity(f"{work.patient.reference} {system} {named}", segment.name)


def _condition(work: Work, prb: Segment) -> Draft:
    condition = work.draft("Condition", _key(work, prb))
    condition.refer("subject", work.patient)
    condition.refer("encounter", work.encounter)
    condition.add("category", "PRB-1", PROBLEM)
    work.apply("PRB.Condition", prb, condition)
    trigger = work.message.message_type.partition("^")[2]
    if prb.value(1) == DELETE or trigger == "PC3":
        condition.put("verificationStatus", _status("condition-ver-status", ENTERED_IN_ERROR))
        condition.cleared.add((("clinicalStatus",), ""))  # FHIR con-5
        return condition
    stated = _known(prb, 13, VERIFICATION)
    if stated:
        condition.put("verificationStatus", _status("condition-ver-status", stated))
    clinical = _known(prb, 14, CLINICAL)
    if condition.get("abatementDateTime") and clinical not in ABATED:
        clinical = "resolved"
    if clinical:
        condition.put("clinicalStatus", _status("condition-clinical", clinical))
    elif prb.value(1) == ADD or trigger == "PC1":
        condition.defaults["clinicalStatus"] = _status("condition-clinical", "active")
        if not stated:  # what had been deleted is listed again
            condition.cleared.add((("verificationStatus",), ""))
    return condition


def _goal(work: Work, gol: Segment, problem: Draft | None) -> Draft:
    goal = work.draft("Goal", _key(work, gol))
    goal.refer("subject", work.patient)
    work.apply("GOL.Goal", gol, goal)
    goal.defaults["description"] = {"text": "not described"}
    if problem is not None:
        goal.add("addresses", "PRB-4", {"reference": problem.reference})
    if gol.value(9):
        goal.put_new("achievementStatus", ACHIEVED)
    if gol.value(1) == DELETE:
        goal.put("lifecycleStatus", ENTERED_IN_ERROR)
        return goal
    stated = _known(gol, 19, LIFECYCLE) or ("completed" if gol.value(9) else None)
    goal.put("lifecycleStatus", stated)
    goal.defaults["lifecycleStatus"] = "active"
    return goal


def _known(segment: Segment, field: int, codes: tuple[str, ...]) -> str | None:
    """A status where the code, or its name, is one of FHIR's; the v2 tables are each site's."""
    for component in (1, 2):
        value = (segment.value(field, component) or "").strip().lower().replace(" ", "-")
        if value in codes:
            return value
    return None


def _status(system: str, code: str) -> dict[str, object]:
    return {"coding": [{"system": f"{TERMINOLOGY}/{system}", "code": code}]}


PROBLEM_MESSAGES = {f"PPR^PC{number}": make_problems for number in (1, 2, 3)}
