"""Puts together what several fields say: quantities, and the product that was ordered or given."""

from collections.abc import Iterable
from typing import Any

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.dosages import taken
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.work import Work


def gather(draft: Draft, path: str) -> None:
    """A quantity whose number and unit came from two segments, as one value."""
    way = tuple(path.split("."))
    whole = draft.puts.pop(way, None)
    value = draft.puts.pop((*way, "value"), None)
    if value is not None:
        draft.puts[way] = {**(whole or {}), "value": value}


def put_product(work: Work, draft: Draft, components: Iterable[Segment]) -> None:
    """A contained Medication of form, strength, lot and ingredients, where they were sent."""
    product: dict[str, Any] = {}
    for item in taken(draft, "contained"):
        product |= item
    code = draft.get("medicationCodeableConcept")
    ingredients = [
        {"itemCodeableConcept": code, **_with_strength(item)}
        for item in product.pop("ingredient", [])
        if code
    ]
    for rxc in components:
        part = Draft(resource_type="Medication", id="")
        work.apply("RXC.Medication", rxc, part)
        draft.trace += part.trace
        for item in taken(part, "ingredient"):
            if "itemCodeableConcept" in item and (held := _with_strength(item)) not in ingredients:
                ingredients.append(held)
    if ingredients:
        product["ingredient"] = ingredients
    if product:
        named = {"code": code} if code else {}
        draft.add("contained", "RXO-5", {"resourceType": "Medication", **named, **product})
        draft.add("supportingInformation", "RXO-5", {"reference": "#RXO-5.1"})


def _with_strength(ingredient: dict[str, Any]) -> dict[str, Any]:
    """FHIR rat-1: a strength has both of its parts; without one, it is that of one unit."""
    strength = ingredient.get("strength", {})
    rest = {name: value for name, value in ingredient.items() if name != "strength"}
    if "numerator" not in strength:
        return rest
    return {**rest, "strength": {"denominator": {"value": 1}, **strength}}
