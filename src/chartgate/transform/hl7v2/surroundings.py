"""What hangs on a patient and a visit in messages of any kind, in one walk over the segments.

NK1, ROL, PRT, AL1, IAM, DG1, PR1, IN1, IN3, and PID-18, PD1-7, PV1-43: an admission has them as
well as an order, a result or a vaccination.
"""

from collections.abc import Callable, Mapping

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.clinical import (
    make_allergy,
    make_condition,
    make_diagnosis,
    make_living_will,
    make_procedure,
)
from chartgate.transform.hl7v2.finance import (
    make_account,
    make_case_manager,
    make_coverage,
    make_history,
)
from chartgate.transform.hl7v2.persons import (
    make_participation,
    make_relative,
    make_role_of_patient,
    make_role_of_visit,
)
from chartgate.transform.hl7v2.work import Work

Maker = Callable[[Work, Segment], object]

MAKERS: Mapping[str, Maker] = {
    "PID": make_account,
    "PD1": make_living_will,
    "NK1": make_relative,
    "PV1": make_history,
    "AL1": make_allergy,
    "IAM": make_allergy,
    "DG1": make_diagnosis,
    "PR1": make_procedure,
    "IN1": make_coverage,
    "IN3": make_case_manager,
}
OF_PATIENT: Mapping[str, Maker] = {"ROL": make_role_of_patient, "PRT": make_participation}
OF_VISIT: Mapping[str, Maker] = {"ROL": make_role_of_visit}
# A diagnosis under an order or a charge is one of the patient, not of the visit.
OF_ORDER: Mapping[str, Maker] = {"DG1": make_condition}
NOBODY: Mapping[str, Maker] = {}
# Whose the segments are that follow one of these.
BEGINS: Mapping[str, Mapping[str, Maker]] = {
    "PID": OF_PATIENT,
    "PV1": OF_VISIT,
    **dict.fromkeys(("ORC", "OBR", "FT1", "RXO", "RXE", "RXA", "PRB", "GOL"), OF_ORDER),
    **dict.fromkeys(("NK1", "PR1", "IN1", "OBX", "SPM", "AL1", "DG1", "SCH", "RGS"), NOBODY),
}


def make_rest(work: Work) -> None:
    """Everything around the patient and the visit, which must have been made before. Whoever
    needs it early may ask for it; it is made once."""
    if work.surrounded or work.patient is None:
        return
    work.surrounded = True
    makers = NOBODY
    in_order = False
    for segment in work.message.segments():
        name = segment.name
        begun = BEGINS.get(name)
        if begun is not None:
            in_order = in_order or begun is OF_ORDER
            makers = OF_ORDER if in_order and begun is NOBODY else begun
        maker = makers.get(name) or MAKERS.get(name)
        if maker is not None:
            maker(work, segment)
