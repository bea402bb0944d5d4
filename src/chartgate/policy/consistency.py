"""Whether what is proposed says one thing: units with their codes, names with their codes, one
patient. What contradicts itself, or what was read, is refused, whatever the charter allows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chartgate.errors import Unprocessable
from chartgate.formats.compartment import patients_named
from chartgate.model.resource import Resource
from chartgate.model.write import Change
from chartgate.policy.coded import (
    is_quantity,
    names_swapped,
    quantities,
    unit_contradicts,
    unit_of,
)
from chartgate.policy.differences import labels

Bodies = Mapping[str, Resource]


def check_consistency(
    changes: Sequence[Change],
    afters: Sequence[Resource | None],
    before: Bodies,
    bodies: Bodies,
) -> None:
    """Raises Unprocessable. `before` is what is changed, `bodies` what the interaction has read."""
    for label, change, after in zip(labels(changes), changes, afters, strict=True):
        if after is None:
            continue
        held = before.get(change.reference or "")
        for finding in (
            *_unit_findings(held, after),
            *_repeated_findings(held, after, bodies),
            *_name_findings(held, after, bodies),
            *_patient_findings(held, after),
        ):
            raise Unprocessable(f"{label}: {finding}")


def _unit_findings(held: Resource | None, after: Resource) -> Iterator[str]:
    known = [q for _, _, q in quantities(held)]
    for path, _, quantity in quantities(after):
        if quantity not in known and unit_contradicts(quantity):
            yield f"{path}: the unit that is shown is not the unit of the code"
    for path, old, new in _pairs(held, after):
        if old.get("value") == new.get("value") and _unit_differs(old, new):
            yield f"{path}: the unit would change and the number would not"


def _repeated_findings(held: Resource | None, after: Resource, bodies: Bodies) -> Iterator[str]:
    """A number that was read, with another unit: 126 mg/dL is not 126 mmol/L."""
    known = [q for _, _, q in quantities(held)]
    fresh = [(p, c, q) for p, c, q in quantities(after) if c and q not in known and q["value"]]
    if not fresh:
        return
    kind = after.get("resourceType")
    read = [
        found
        for body in bodies.values()
        if body.get("resourceType") == kind
        for found in quantities(body)
    ]
    for path, concept, quantity in fresh:
        alike = [q for p, c, q in read if p == path and c & concept]
        same = [q for q in alike if q["value"] == quantity["value"]]
        if same and all(_unit_differs(q, quantity) for q in same):
            yield f"{path}: it repeats a number that was read, in another unit"


def _name_findings(held: Resource | None, after: Resource, bodies: Bodies) -> Iterator[str]:
    # What is changed counts as read, too: a name that stands there already is no new one.
    if names_swapped(after, [*bodies.values(), held]):
        yield "a code goes by the name that what was read gives to another code"


def _patient_findings(held: Resource | None, after: Resource) -> Iterator[str]:
    try:
        named, was = patients_named(after), patients_named(held or {})
    except ValueError:
        yield "it nests too deep to tell whom it is about"
        return
    if len(named) > 1 and named - was:
        yield "it is about more than one patient"


def _unit_differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    before, after = unit_of(old), unit_of(new)
    if before is None and after is None:
        return old.get("unit") != new.get("unit") or old.get("code") != new.get("code")
    return before != after


def _pairs(
    old: Any, new: Any, path: str = ""
) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Quantities, and what stands in their place after, be it without a unit."""
    if isinstance(old, dict) and isinstance(new, dict):
        if is_quantity(old):
            yield path, old, new
            return
        for name in old.keys() & new.keys():
            yield from _pairs(old[name], new[name], f"{path}.{name}" if path else name)
    elif isinstance(old, list) and isinstance(new, list):
        for one, other in zip(old, new, strict=False):
            yield from _pairs(one, other, path)
