"""Marks by which a receiver tells that something was left out, and how.

Source: https://terminology.hl7.org/CodeSystem-v3-ObservationValue.html. SUBSETTED says that a view
leaves elements out (asked for by https://hl7.org/fhir/R4/search.html#elements) and is not meant for
what is held back for privacy, which REDACTED says. PSEUDED is stripped with a key kept that could
link again, ANONYED without one; ABSTRED has values made coarser, such as a date cut to its year.
"""

from collections.abc import Sequence
from typing import Any

OBSERVATION_VALUE = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
SUBSETTED = {"system": OBSERVATION_VALUE, "code": "SUBSETTED"}
# Source: https://hl7.org/fhir/R4/extension-data-absent-reason.html
MASKED = {
    "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
    "valueCode": "masked",
}


def masked() -> dict[str, Any]:
    """What stands where something is, and is not shown."""
    return {"extension": [dict(MASKED)]}


def with_marks(codings: Any, codes: Sequence[str]) -> list[dict[str, Any]]:
    """The codings of meta.security or meta.tag, with each mark once, at the end."""
    held = codings if isinstance(codings, list) else []
    others = [c for c in held if c.get("code") not in codes]
    return [*others, *({"system": OBSERVATION_VALUE, "code": code} for code in codes)]
