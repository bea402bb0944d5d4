"""Makers for how care is paid for: coverages, accounts; and where a stay was before."""

from typing import Any

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.datatypes import NO_CODES, identifier
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.identity import Identity, identity
from chartgate.transform.hl7v2.persons import care_team
from chartgate.transform.hl7v2.work import Work

SELF = ("SEL", "SELF", "S", "18")  # IN1-17: the insured is the patient; 18 is X12's code of it
HISTORY = {"coding": [{"system": "http://hl7.org/fhir/fhir-types", "code": "EncounterHistory"}]}
NOT_NAMED = [{"type": "Organization", "display": "not named"}]  # R4 asks for a payor


def make_coverage(work: Work, in1: Segment) -> Draft | None:
    """Coverage of IN1; None where it names neither an insurer nor a plan."""
    patient = work.patient
    assert patient is not None, "the walk has one"
    payer = in1.value(3) or in1.value(4)
    number = in1.value(36) or in1.value(49) or in1.value(2)
    if not payer and not number:
        return None
    key = f"{patient.reference} {payer or ''} {number or ''}"
    coverage = work.draft("Coverage", Identity(key, "coverage"))
    coverage.refer("beneficiary", patient)
    coverage.defaults["status"] = "active"
    first = not any(s.name == "IN1" for d in work.drafts.values() for s, _ in d.trace)
    if first:
        work.apply("PV1.Coverage", work.segment("PV1"), coverage)
    work.apply("IN1.Coverage", in1, coverage)
    if (in1.value(17) or "").upper() in SELF:
        coverage.refer("subscriber", patient)
    if coverage.get("policyHolder.identifier") or coverage.get("policyHolder.display"):
        coverage.put("policyHolder.type", "Organization")
    _put_payor(work, coverage, in1)
    return coverage


def make_case_manager(work: Work, in3: Segment) -> None:
    """IN3-21: a member of the care team."""
    if in3.said(21):
        work.apply("IN3.CareTeam", in3, care_team(work))


def make_account(work: Work, pid: Segment) -> Draft | None:
    """Account of PID-18; None where it is empty."""
    found = next((i for i in map(identity, pid.repetitions(18)) if i), None)
    if found is None:
        return None
    account = work.draft("Account", found)
    work.apply("PID.Account", pid, account)
    account.defaults["status"] = "active"
    if work.patient is not None:
        account.add("subject", "PID-3", {"reference": work.patient.reference})
    if work.encounter is not None:
        work.encounter.add("account", "PID-18", {"reference": account.reference})
    return account


def make_history(work: Work, pv1: Segment) -> Draft | None:
    """Basic of PV1-43: a place where the patient was for a time; None where it is empty."""
    encounter = work.encounter
    if encounter is None or not pv1.said(43):
        return None
    history = work.draft("Basic", Identity(f"{encounter.reference} history", "history"))
    history.put("code", HISTORY)
    history.refer("subject", work.patient)
    work.apply("PV1.Basic-EncounterHistory", pv1, history)
    return history


def _put_payor(work: Work, coverage: Draft, in1: Segment) -> None:
    """IN1-3 identifies the insurer that IN1-4 names."""
    company = next(iter(in1.repetitions(3)), None)
    known: dict[str, Any] | None = identifier(company, work.context, NO_CODES) if company else None
    named = coverage.lists.get((("payor",), "IN1-4"), [])
    if known is None:
        coverage.defaults["payor"] = NOT_NAMED
    elif named:
        named[0].setdefault("identifier", known)
    else:
        coverage.add("payor", "IN1-4", {"type": "Organization", "identifier": known})
