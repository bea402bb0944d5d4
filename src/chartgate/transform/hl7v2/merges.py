"""Makers for messages that merge, move, link or rename patients, accounts and visits.

Our ids follow from identifiers, so what has another identifier is another resource: nothing is
copied or deleted. What was merged away stays, and points to what goes on in its place:

* a patient: inactive, `link` replaced-by; the other one `link` replaces
* an account: inactive, `partOf` the other one
* a visit: entered in error, since it took place as the other one, which it is `partOf`
* a move: the account's or visit's `subject` is the other patient
"""

from collections.abc import Iterator
from dataclasses import replace

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.datatypes import NO_CODES, Unmappable, identifier
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.finance import make_account
from chartgate.transform.hl7v2.identity import first_identity, merged_identity, patient_identity
from chartgate.transform.hl7v2.patients import make_patient, merge_patients
from chartgate.transform.hl7v2.surroundings import make_rest
from chartgate.transform.hl7v2.visits import CLASS_UNKNOWN, make_encounter
from chartgate.transform.hl7v2.work import Work

ACCOUNT, VISIT = 3, 5  # fields of MRG


def change_patient(work: Work) -> None:
    """A43, A46, A47, A48: other identifiers of a person; of the first one, another resource."""
    mrg = _merge_segment(work)
    pid = work.segment("PID")
    if merged_identity(mrg) in (None, patient_identity(pid)):
        patient = make_patient(work)
    else:
        merge_patients(work)
        assert work.patient is not None, "a merge makes the survivor"
        patient = work.patient
    for number in (1, 2, 4):
        _keep_old(
            work, patient, mrg, number, [*_values(pid, 3), *_values(pid, 2), *_values(pid, 4)]
        )


def merge_patients_and_accounts(work: Work) -> None:
    """A36: one patient goes on as another, and the account with it."""
    merge_patients(work)
    if _merge_segment(work).value(ACCOUNT):
        _merge_account(work, _merge_segment(work))


def merge_accounts(work: Work) -> None:
    """A35, A41: one account of a patient goes on as another."""
    mrg = _merge_segment(work)
    make_patient(work)
    _merge_account(work, mrg)


def rename_account(work: Work) -> None:
    """A49: an account has another number, and keeps the old one as such."""
    mrg = _merge_segment(work)
    make_patient(work)
    _keep_old(work, _merge_account(work, mrg), mrg, ACCOUNT, [])


def move_account(work: Work) -> None:
    """A44: an account is another patient's, and may have another number."""
    mrg = _merge_segment(work)
    make_patient(work)
    pid = work.segment("PID")
    if first_identity(pid, 18) is None:
        account = _prior(work, mrg, "Account", ACCOUNT)
        _put_subject(work, account)
    elif first_identity(mrg, ACCOUNT) not in (None, first_identity(pid, 18)):
        _merge_account(work, mrg)
    elif pid is not None:
        make_account(work, pid)


def merge_visits(work: Work) -> None:
    """A42: one visit goes on as another."""
    mrg = _merge_segment(work)
    make_patient(work)
    _merge_visit(work, mrg)


def rename_visit(work: Work) -> None:
    """A50: a visit has another number, and keeps the old one as such."""
    mrg = _merge_segment(work)
    make_patient(work)
    _keep_old(work, _merge_visit(work, mrg), mrg, VISIT, [])


def rename_visit_alternate(work: Work) -> None:
    """A51: a visit has another alternate number (PV1-50), and keeps the old one as such."""
    mrg = _merge_segment(work)
    make_patient(work)
    encounter = make_encounter(work)
    if encounter is None:
        raise Unmappable("PV1-19 does not name the visit", position="PV1-19")
    _keep_old(work, encounter, mrg, 6, [])


def move_visits(work: Work) -> None:
    """A45: visits are another patient's, and may have other numbers."""
    make_patient(work)
    found = False
    for part in _parts(work, "MRG"):
        part.patient = work.patient
        mrg = _merge_segment(part)
        prior = first_identity(mrg, VISIT)
        if first_identity(part.segment("PV1"), 19) in (None, prior):
            encounter = make_encounter(part) or _prior(work, mrg, "Encounter", VISIT)
            encounter.refer("subject", work.patient)
        else:
            encounter = _merge_visit(part, mrg) if prior else _moved(part)
        work.encounter = work.encounter or encounter
        found = True
    if not found:
        raise Unmappable("there is no MRG segment", position="MRG")


def swap_patients(work: Work) -> None:
    """A17: two patients change places; each PV1 names the new one."""
    parts = list(_parts(work, "PID"))
    if len(parts) != 2:
        raise Unmappable("two patients change places, neither less nor more", position="PID")
    for part in parts:
        make_patient(part)
        make_encounter(part)
        make_rest(part)
    _settle(work, parts)


def link_patients(work: Work) -> None:
    """A24: two records may be of one person; both stay as they are, each names the other."""
    first, second = _two_patients(work)
    for one, other in ((first, second), (second, first)):
        target = {"other": {"reference": other.reference}, "type": "seealso"}
        one.add("link", f"PID-3-{other.id}", target)


def unlink_patients(work: Work) -> None:
    """A37: two records are not of one person after all."""
    first, second = _two_patients(work)
    for one, other in ((first, second), (second, first)):
        one.cleared.add((("link",), f"PID-3-{other.id}"))


def _two_patients(work: Work) -> tuple[Draft, Draft]:
    parts = list(_parts(work, "PID"))
    if len(parts) != 2:
        raise Unmappable("two patients are linked, neither less nor more", position="PID")
    first, second = (make_patient(part) for part in parts)
    if first is second:
        raise Unmappable("both PID segments name one patient", position="PID-3")
    for part in parts:
        make_encounter(part)
        make_rest(part)
    _settle(work, parts)
    return first, second


def _settle(work: Work, parts: list[Work]) -> None:
    """The message is the first one's; the second one's segments are not walked over as theirs."""
    work.patient, work.encounter = parts[0].patient, parts[0].encounter
    work.surrounded = True


def _parts(work: Work, name: str) -> Iterator[Work]:
    """The message once for each segment of that name, with what follows it up to the next."""
    segments = work.message.segments()
    starts = [n for n, segment in enumerate(segments) if segment.name == name]
    for nth, start in enumerate(starts, 1):
        end = starts[nth] if nth < len(starts) else len(segments)
        message = work.message.part(segments[start:end])
        yield replace(work, message=message, patient=None, encounter=None)


def _merge_segment(work: Work) -> Segment:
    segments = work.segments("MRG")
    if len(segments) != 1:
        raise Unmappable("one merge in a message is taken, neither none nor more", position="MRG")
    return segments[0]


def _merge_account(work: Work, mrg: Segment) -> Draft:
    pid = work.segment("PID")
    survivor = make_account(work, pid) if pid is not None else None
    if survivor is None:
        raise Unmappable("PID-18 does not name the account", position="PID-18")
    prior = _prior(work, mrg, "Account", ACCOUNT)
    if prior is survivor:
        raise Unmappable("MRG-3 names the account that stays", position="MRG-3")
    work.apply("MRG.Account", mrg, prior)
    prior.put("status", "inactive")
    prior.refer("partOf", survivor)
    return survivor


def _merge_visit(work: Work, mrg: Segment) -> Draft:
    survivor = _moved(work)
    prior = _prior(work, mrg, "Encounter", VISIT)
    if prior is survivor:
        raise Unmappable("MRG-5 names the visit that stays", position="MRG-5")
    prior.put("status", "entered-in-error")
    prior.refer("partOf", survivor)
    for cx in mrg.repetitions(VISIT):
        prior.add("identifier", "PV1-19", identifier(cx, work.context, NO_CODES))
    return survivor


def _moved(work: Work) -> Draft:
    if first_identity(work.segment("PV1"), 19) is None:
        raise Unmappable("PV1-19 does not name the visit", position="PV1-19")
    encounter = make_encounter(work)
    assert encounter is not None, "it has a number"
    return encounter


def _prior(work: Work, mrg: Segment, resource_type: str, field: int) -> Draft:
    """The account or visit that the MRG names. Raises Unmappable."""
    found = first_identity(mrg, field)
    if found is None:
        raise Unmappable(f"MRG-{field} holds no identifier", position=f"MRG-{field}")
    prior = work.draft(resource_type, found)
    prior.defaults["status"] = "unknown"
    if resource_type == "Encounter":
        prior.defaults["class"] = CLASS_UNKNOWN
    return prior


def _put_subject(work: Work, account: Draft) -> None:
    if work.patient is not None:
        account.add("subject", "PID-3", {"reference": work.patient.reference})


def _keep_old(work: Work, draft: Draft, mrg: Segment, field: int, current: list[str]) -> None:
    """Old identifiers as such, but for those that are still in use."""
    for cx in mrg.repetitions(field):
        found = identifier(cx, work.context, NO_CODES)
        if found is not None and found["value"] not in current:
            draft.add("identifier", f"MRG-{field}", {**found, "use": "old"})


def _values(segment: Segment | None, field: int) -> list[str]:
    if segment is None:
        return []
    return [value for value in (cx.value() for cx in segment.repetitions(field)) if value]


MERGE_MESSAGES = {
    **{f"ADT^A{number}": merge_patients for number in (18, 30, 34, 39, 40)},
    "ADT^A35": merge_accounts,
    "ADT^A36": merge_patients_and_accounts,
    "ADT^A41": merge_accounts,
    "ADT^A42": merge_visits,
    "ADT^A43": change_patient,
    "ADT^A44": move_account,
    "ADT^A45": move_visits,
    **{f"ADT^A{number}": change_patient for number in (46, 47, 48)},
    "ADT^A49": rename_account,
    "ADT^A50": rename_visit,
    "ADT^A51": rename_visit_alternate,
    "ADT^A17": swap_patients,
    "ADT^A24": link_patients,
    "ADT^A37": unlink_patients,
}
