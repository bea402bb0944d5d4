"""Makers for a patient's allergies, diagnoses, procedures and living will.

None of them vanishes because a message does not name it: one that is deleted stays, as entered
in error. The same allergy or diagnosis in another message is the same resource.
"""

from datetime import datetime, timedelta
from typing import Any

from chartgate.formats.hl7v2 import Composite, Segment
from chartgate.transform.hl7v2.code_maps import TERMINOLOGY
from chartgate.transform.hl7v2.datatypes import Unmappable, code_of, coding_at, valued
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.identity import Identity, first_identity, identity
from chartgate.transform.hl7v2.quantities import minutes
from chartgate.transform.hl7v2.work import DELETED, Work

ALLERGY_STATUS = f"{TERMINOLOGY}/allergyintolerance-clinical"
ALLERGY_CERTAINTY = f"{TERMINOLOGY}/allergyintolerance-verification"
CONDITION_CERTAINTY = f"{TERMINOLOGY}/condition-ver-status"
ENTERED_IN_ERROR = "entered-in-error"
# HL7 table 0438 and the FHIR codes themselves.
CLINICAL = {"A": "active", "I": "inactive", "R": "resolved"}
CLINICAL |= {code: code for code in ("active", "inactive", "resolved")}
CERTAINTY = {"C": "confirmed", "U": "unconfirmed", "P": "unconfirmed", "S": "unconfirmed"}
CERTAINTY |= {"D": "unconfirmed", "E": ENTERED_IN_ERROR}
CERTAINTY |= {code: code for code in ("confirmed", "unconfirmed", "refuted", ENTERED_IN_ERROR)}
DIAGNOSIS = {
    "coding": [
        {
            "system": f"{TERMINOLOGY}/condition-category",
            "code": "encounter-diagnosis",
            "display": "Encounter Diagnosis",
        }
    ]
}
LIVING_WILL = {"coding": [{"system": "http://loinc.org", "code": "75320-2"}]}


def make_allergy(work: Work, segment: Segment) -> Draft | None:
    """AllergyIntolerance of AL1 or IAM; None where it names no allergen."""
    patient = work.patient
    assert patient is not None, "the walk has one"
    is_iam = segment.name == "IAM"
    key = _coded(segment, 3)
    if key is None and is_iam:
        found = next(
            (i for i in (identity(ei, authority=2) for ei in segment.repetitions(7)) if i), None
        )
        key = found.key if found else None
    if key is None:
        return None
    allergy = work.draft("AllergyIntolerance", Identity(f"{patient.reference} {key}", "allergy"))
    allergy.refer("patient", patient)
    work.apply(f"{segment.name}.AllergyIntolerance", segment, allergy)
    clinical, certainty = None, None
    if is_iam:
        _add_coding(allergy, segment)
        clinical, certainty = (
            codes.get(segment.value(17) or "") for codes in (CLINICAL, CERTAINTY)
        )
        if segment.value(6) == DELETED:
            certainty = ENTERED_IN_ERROR
    _put_certainty(allergy, ALLERGY_CERTAINTY, certainty)
    if certainty == ENTERED_IN_ERROR:
        # FHIR ait-2: what was never so has no clinical status.
        allergy.cleared.add((("clinicalStatus",), ""))
    elif clinical:
        allergy.put("clinicalStatus", _status(ALLERGY_STATUS, clinical))
    else:
        allergy.defaults["clinicalStatus"] = _status(ALLERGY_STATUS, "active")
    return allergy


def make_condition(work: Work, dg1: Segment) -> Draft | None:
    """Condition of a DG1, wherever it stands; None where it names no diagnosis."""
    patient = work.patient
    assert patient is not None, "the walk has one"
    named = _coded(dg1, 3) or dg1.value(4)
    own = next((i for i in (identity(ei, authority=2) for ei in dg1.repetitions(20)) if i), None)
    if named is None and own is None:
        return None
    where = (work.encounter or patient).reference
    key = own.key if own else f"{named} {dg1.value(5) or ''}"
    condition = work.draft("Condition", Identity(f"{where} {key}", "diagnosis"))
    condition.refer("subject", patient)
    condition.refer("encounter", work.encounter)
    condition.defaults["category"] = [DIAGNOSIS]
    work.apply("DG1.Condition", dg1, condition)
    deleted = dg1.value(21) == DELETED
    _put_certainty(condition, CONDITION_CERTAINTY, ENTERED_IN_ERROR if deleted else None)
    return condition


def make_diagnosis(work: Work, dg1: Segment) -> None:
    """A Condition, and what it is to the visit and to the episode of care."""
    condition = make_condition(work, dg1)
    if condition is None:
        return
    for holder in (work.encounter, _episode(work)):
        if holder is None:
            continue
        if dg1.value(21) == DELETED:
            holder.remove_keyed("diagnosis", condition.id)
            continue
        said = Draft(resource_type=holder.resource_type, id="")
        work.apply(f"DG1.{holder.resource_type}", dg1, said)
        holder.trace += said.trace
        items: list[dict[str, Any]] = next(iter(said.lists.values()), [{}])
        known = {name: value for name, value in items[0].items() if name != "id"}
        link = {"condition": {"reference": condition.reference}}
        holder.add_keyed("diagnosis", condition.id, {**link, **known})


def make_procedure(work: Work, pr1: Segment) -> Draft | None:
    """Procedure of PR1; None where it names none."""
    patient = work.patient
    assert patient is not None, "the walk has one"
    named = _coded(pr1, 3) or pr1.value(4)
    own = next((i for i in (identity(ei, authority=2) for ei in pr1.repetitions(19)) if i), None)
    if named is None and own is None:
        return None
    where = (work.encounter or patient).reference
    key = own.key if own else f"{named} {pr1.value(5) or ''}"
    procedure = work.draft("Procedure", Identity(f"{where} {key}", "procedure"))
    procedure.refer("subject", patient)
    procedure.refer("encounter", work.encounter)
    work.apply("PR1.Procedure", pr1, procedure)
    _put_modifiers(procedure, pr1)
    _put_period(procedure, pr1)
    if pr1.value(20) == DELETED:
        procedure.put("status", ENTERED_IN_ERROR)
    elif pr1.said(20):
        procedure.put("status", "completed" if pr1.said(5) else "unknown")
    else:
        procedure.defaults["status"] = "completed" if pr1.said(5) else "unknown"
    return procedure


def make_living_will(work: Work, pd1: Segment) -> Draft | None:
    """Observation of PD1-7; None where it is empty."""
    patient = work.patient
    if patient is None or not pd1.raw(7):
        return None
    found = work.draft("Observation", Identity(f"{patient.reference} living will", "PD1"))
    found.refer("subject", patient)
    found.put("status", "final")
    found.put("code", LIVING_WILL)
    work.apply("PD1.Observation-LivingWill", pd1, found)
    return found


def _episode(work: Work) -> Draft | None:
    """EpisodeOfCare of PV1-54, which the visit then refers to."""
    pv1 = work.segment("PV1")
    key = first_identity(pv1, 54)
    if key is None or pv1 is None or work.encounter is None:
        return None
    episode = work.draft("EpisodeOfCare", key)
    if not episode.trace:
        episode.refer("patient", work.patient)
        episode.defaults["status"] = "active"
        work.apply("PV1.EpisodeOfCare", pv1, episode)
        for item in work.encounter.lists.get((("episodeOfCare",), "PV1-53"), ()):
            item["reference"] = episode.reference
    return episode


def _coded(segment: Segment, field: int) -> str | None:
    """What tells one coded thing from another: code and system, else the name."""
    cx = next(iter(segment.repetitions(field)), None)
    if cx is None:
        return None
    code = code_of(cx)
    return f"{code}|{valued(cx, 3) or ''}" if code else valued(cx, 2) or valued(cx, 9)


def _add_coding(allergy: Draft, iam: Segment) -> None:
    """IAM-27, a code of the clinician's own choice, beside that of IAM-3."""
    cx: Composite | None = next(iter(iam.repetitions(27)), None)
    more = coding_at(cx, 1) if cx else None
    if more is not None:
        code = allergy.get("code") or {}
        codings = [c for c in code.get("coding", ()) if c != more]
        allergy.put("code", {**code, "coding": [*codings, more]})


def _put_certainty(draft: Draft, system: str, certainty: str | None) -> None:
    """What is said again is no longer in error."""
    if certainty:
        draft.put("verificationStatus", _status(system, certainty))
    else:
        draft.cleared.add((("verificationStatus",), ""))


def _status(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def _put_modifiers(procedure: Draft, pr1: Segment) -> None:
    modifiers = [code for code in map(code_of, pr1.repetitions(16)) if code]
    code = procedure.get("code") or {}
    if modifiers and code.get("coding"):
        first, *others = code["coding"]
        first = {**first, "code": ":".join([first["code"], *modifiers])}
        procedure.put("code", {**code, "coding": [first, *others]})


def _put_period(procedure: Draft, pr1: Segment) -> None:
    """performedPeriod in place of performedDateTime, where both ends are known."""
    start = procedure.get("performedDateTime")
    length = minutes(pr1.value(7), "MIN")
    if start is None or length is None or "T" not in start:
        return
    try:
        end = datetime.fromisoformat(start) + timedelta(minutes=length)
    except (ValueError, OverflowError):
        raise Unmappable("PR1-7 gives no time of day", position="PR1-7") from None
    del procedure.puts[("performedDateTime",)]
    procedure.put("performedPeriod", {"start": start, "end": end.isoformat()})
