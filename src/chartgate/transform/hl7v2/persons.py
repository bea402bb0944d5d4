"""Makers for the people around a patient: relatives, general practitioners, the care team.

NK1, ROL and PRT are snapshots: those of a message take the place of those that the same field
said before. One who is marked as deleted is left out.
"""

from typing import Any

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.identity import Identity, first_identity
from chartgate.transform.hl7v2.work import DELETED, Work

# NK1-3: an employer, an insurer or an agency is no related person, only somebody to call.
ORGANISATIONS = ("EMR", "E", "F", "I", "S")
PRIMARY = "PP"  # primary care provider, HL7 tables 0443 and 0912
PROVIDER_TABLES = ("", "HL70443", "0443")
# HL7 table 0912: who takes part in a patient's care.
CARING = frozenset(
    ("AD", "AP", "ARI", "AT", "CP", "FHCP", "OP", "PH", "PRI", "RP", "RT", "VP", "PO")
)
ROLE_ENDED = ("DE", "UN")  # HL7 table 0287: deleted, unlinked

Items = list[dict[str, Any]]


def make_relative(work: Work, nk1: Segment) -> None:
    """A contact of the patient, and of a person the RelatedPerson."""
    patient = work.patient
    assert patient is not None, "the walk has one"
    said = [nk1.said(n) for n in (2, 13, 30)]
    if not any(said):
        return
    work.apply("NK1.Patient", nk1, patient)
    if not said[0] or nk1.value(3) in ORGANISATIONS:
        return
    found = first_identity(nk1, 33, 12)
    name = f"{said[0]}^{nk1.said(2, 2) or ''}|{nk1.said(3) or ''}"
    key = f"{patient.reference} {found.key if found else name}"
    relative = work.draft("RelatedPerson", Identity(key, "NK1"))
    relative.refer("patient", patient)
    work.apply("NK1.RelatedPerson", nk1, relative)


def make_role_of_patient(work: Work, rol: Segment) -> None:
    """ROL after a PID: the general practitioner, or a member of the care team."""
    patient = work.patient
    assert patient is not None, "the walk has one"
    is_gp = rol.value(3) == PRIMARY and (rol.value(3, 3) or "") in PROVIDER_TABLES
    if rol.raw(2) in ROLE_ENDED:
        _left_out(work, "ROL", is_gp=is_gp)
    elif is_gp:
        work.apply("ROL.Patient-GeneralPractitioner", rol, patient)
        _put_practitioner(patient, "ROL-1", "ROL-4")
    elif rol.said(4) or rol.said(10) or rol.said(14):
        work.apply("ROL.CareTeam", rol, care_team(work))


def make_role_of_visit(work: Work, rol: Segment) -> None:
    """ROL after a PV1: who takes part in the visit."""
    encounter = work.encounter
    if encounter is None or not rol.said(4):
        return
    if rol.raw(2) in ROLE_ENDED:
        encounter.cleared.add((("participant",), "ROL-3"))
        encounter.cleared.add((("contained",), "ROL-1"))
        return
    held = len(_items(encounter, "participant", "ROL-3"))
    work.apply("ROL.Encounter-PractitionerRole", rol, encounter)
    role = _taken_role(encounter, "ROL-1")
    if role is not None:
        participant = _items(encounter, "participant", "ROL-3")[held]
        participant["individual"] = _pointing_to(role)


def make_participation(work: Work, prt: Segment) -> None:
    """PRT after a PID: the general practitioner, or a member of the care team."""
    patient = work.patient
    assert patient is not None, "the walk has one"
    kind = prt.value(4) or ""
    if prt.raw(2) == DELETED:
        _left_out(work, "PRT", is_gp=kind == PRIMARY)
    elif kind == PRIMARY:
        if any(prt.value(n) for n in (8, 9, 11, 12, 15, 24)):
            work.apply("PRT.Patient-GeneralPractitioner-PractitionerRole", prt, patient)
            _put_practitioner(patient, "PRT-4", "PRT-5")
        else:
            work.apply("PRT.Patient-GeneralPractitioner-Practitioner", prt, patient)
    elif kind in CARING and (prt.value(5) or prt.value(8)):
        work.apply("PRT.CareTeam", prt, care_team(work))


def care_team(work: Work) -> Draft:
    """The one team of a patient's care, whichever segment names its members."""
    patient = work.patient
    assert patient is not None, "the walk has one"
    team = work.draft("CareTeam", Identity(f"{patient.reference} care team", "team"))
    team.refer("subject", patient)
    team.defaults["status"] = "active"
    return team


def _put_practitioner(patient: Draft, contained: str, prefix: str) -> None:
    """generalPractitioner of the role that was contained last."""
    roles = _items(patient, "contained", contained)
    practitioner = roles[-1].get("practitioner") if roles else None
    role = _taken_role(patient, contained)
    patient.add("generalPractitioner", prefix, _pointing_to(role) if role else practitioner)


def _taken_role(draft: Draft, prefix: str) -> dict[str, Any] | None:
    """The role that was contained last; one that says no more than its person is taken out."""
    roles = _items(draft, "contained", prefix)
    if not roles:
        return None
    if roles[-1].keys() - {"id", "resourceType", "practitioner", "code"}:
        return roles[-1]
    roles.pop()
    if not roles:
        del draft.lists[(("contained",), prefix)]
    return None


def _pointing_to(role: dict[str, Any]) -> dict[str, Any]:
    """The reference to a contained role; it names the person for those who see no more."""
    person = role.get("practitioner", {})
    known = {name: person[name] for name in ("identifier", "display") if name in person}
    return {"reference": f"#{role['id']}", "type": "PractitionerRole", **known}


def _left_out(work: Work, segment: str, *, is_gp: bool) -> None:
    if is_gp and work.patient is not None:
        first, person = {"ROL": ("ROL-1", "ROL-4"), "PRT": ("PRT-4", "PRT-5")}[segment]
        work.patient.cleared.add((("generalPractitioner",), person))
        work.patient.cleared.add((("contained",), first))
    else:
        member = {"ROL": "ROL-3", "PRT": "PRT-4"}[segment]
        care_team(work).cleared.add((("participant",), member))


def _items(draft: Draft, path: str, prefix: str) -> Items:
    return draft.lists.get(((path,), prefix), [])
