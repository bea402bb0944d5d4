"""Makers for who a message is about: the patient, and patients merged into one."""

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.datatypes import NO_CODES, Unmappable, patient_identifier
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.identity import merged_identity, patient_identity
from chartgate.transform.hl7v2.work import Work


def make_patient(work: Work) -> Draft:
    """Patient of PID, PD1 and PV1. Raises Unmappable where nothing identifies it."""
    pid = work.segment("PID")
    found = patient_identity(pid)
    if found is None:
        raise Unmappable("PID-3 holds no identifier", position="PID-3")
    patient = work.draft("Patient", found)
    work.patient = patient
    work.apply("PID.Patient", pid, patient)
    work.apply("PD1.Patient", work.segment("PD1"), patient)
    work.apply("PV1.Patient", work.segment("PV1"), patient)
    return patient


def make_patient_if_named(work: Work) -> Draft | None:
    """As `make_patient`; None where there is no PID."""
    return make_patient(work) if work.segment("PID") is not None else None


def merge_patients(work: Work) -> None:
    """One patient goes on as another. Both stay, linked; the old one is inactive."""
    segments = work.segments("MRG")
    if len(segments) != 1:
        raise Unmappable("one merge in a message is taken, neither none nor more", position="MRG")
    survivor = make_patient(work)
    prior = prior_patient(work, segments[0])
    if prior.id == survivor.id:
        raise Unmappable("MRG-1 names the patient who stays", position="MRG-1")
    # Each merge is an item of its own: a second one adds to the first.
    survivor.add("link", f"MRG-1-{prior.id}", _link(prior, "replaces"))
    prior.put("active", False)
    prior.add("link", f"MRG-1-{survivor.id}", _link(survivor, "replaced-by"))
    for number in (1, 4):
        for cx in segments[0].repetitions(number):
            prior.add("identifier", "PID-3", patient_identifier(cx, work.context, NO_CODES))


def prior_patient(work: Work, mrg: Segment) -> Draft:
    """The patient whom MRG-1 (or MRG-4) names. Raises Unmappable."""
    found = merged_identity(mrg)
    if found is None:
        raise Unmappable("MRG-1 holds no identifier", position="MRG-1")
    return work.draft("Patient", found)


def delete_patient(work: Work) -> None:
    """ADT A29: the person's record is taken away; what we hold of it is marked inactive."""
    make_patient(work).put("active", False)


def _link(other: Draft, kind: str) -> dict[str, object]:
    return {"other": {"reference": other.reference}, "type": kind}
