"""Marks by which a receiver tells that something was left out, and how.

Source: https://terminology.hl7.org/CodeSystem-v3-ObservationValue.html. SUBSETTED says that a view
leaves elements out (asked for by https://hl7.org/fhir/R4/search.html#elements) and is not meant for
what is held back for privacy, which REDACTED says. PSEUDED is stripped with a key kept that could
link again, ANONYED without one; ABSTRED has values made coarser, such as a date cut to its year.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from chartgate.formats import r4

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


def mask(kept: dict[str, Any], element: r4.Element) -> None:
    """Says that a required element is there and not shown, its own required parts too."""
    if r4.is_primitive(element.type):
        kept["_" + element.name] = [masked()] if element.many else masked()
    else:
        value = masked_value(element.type)
        kept[element.name] = [value] if element.many else value


def masked_value(type_: str) -> dict[str, Any]:
    """What stands where a value of a type is that has parts."""
    value: dict[str, Any] = {}
    for base in sorted(r4.mandatory_bases(type_)):
        inner = r4.element_of_base(type_, base)
        assert inner is not None, "bases come from the elements"
        mask(value, inner)
    return value or masked()


def with_marks(codings: Any, codes: Sequence[str]) -> list[dict[str, Any]]:
    """The codings of meta.security or meta.tag, with each mark once, at the end."""
    held = codings if isinstance(codings, list) else []
    others = [c for c in held if c.get("code") not in codes]
    return [*others, *({"system": OBSERVATION_VALUE, "code": code} for code in codes)]


def says_something(extension: Mapping[str, Any]) -> bool:
    """Whether an extension still has a URL, and a value or parts."""
    value = any(name.removeprefix("_").startswith("value") for name in extension)
    return "url" in extension and (value or "extension" in extension)
