"""Whether a resource is well-formed FHIR R4: types, elements, cardinality, primitive shapes.

Structure only; profiles, invariants and terminology are more than this. Findings name elements,
never their values.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from chartgate.formats import r4
from chartgate.model.resource import split_reference

DEPTH_MAX = 64
OPEN_ELEMENTS = frozenset({"resourceType", "fhir_comments"})

Findings = Iterator[str]


def structure_findings(resource: Any) -> Findings:
    """A sentence for each place that is not R4, in the order of the resource."""
    resource_type = resource.get("resourceType") if isinstance(resource, dict) else None
    if not isinstance(resource_type, str):
        yield "a resource needs a resourceType"
    elif not r4.is_resource_type(resource_type):
        yield f"FHIR R4 has no resource type of the name given: {resource_type[:64]}"
    else:
        yield from _object(resource, resource_type, resource_type, DEPTH_MAX)


def _object(value: Mapping[str, Any], owner: str, where: str, depth: int) -> Findings:
    if depth == 0:
        yield f"{where} nests too deep"
        return
    if not value:
        yield f"{where} must not be empty"
    known = r4.elements(owner)
    bases: dict[str, str] = {}
    for name, inner in value.items():
        element = known.get(name.removeprefix("_"))
        if element is None or (name[0] == "_" and not r4.is_primitive(element.type)):
            if name not in OPEN_ELEMENTS or not r4.is_resource_type(owner):
                yield f"{where} has no element {name[:64]}"
            continue
        if bases.setdefault(element.base, element.name) != element.name:
            yield f"{where}.{element.base}[x] may have one type only"
        if name[0] == "_":
            yield from _primitive_extension(inner, f"{where}.{name}", depth)
        else:
            yield from _element(inner, element, f"{where}.{name}", depth)
    for base in sorted(r4.mandatory_bases(owner) - set(bases)):
        yield f"{where}.{base} is required"


def _element(value: Any, element: r4.Element, where: str, depth: int) -> Findings:
    if not element.many:
        yield from _value(value, element, where, depth)
    elif not isinstance(value, list):
        yield f"{where} must be a list"
    elif not value:
        yield f"{where} must not be empty"
    else:
        for index, item in enumerate(value):
            if item is not None or not r4.is_primitive(element.type):
                yield from _value(item, element, f"{where}[{index}]", depth)


def _value(value: Any, element: r4.Element, where: str, depth: int) -> Findings:
    if r4.is_primitive(element.type):
        if not r4.is_shaped(element.type, value):
            yield f"{where} must be of the type {element.type}"
        elif element.codes and value not in element.codes:
            yield f"{where} must be one of the codes of its required value set"
        return
    if not isinstance(value, dict):
        yield f"{where} must be of the type {element.type.rpartition('.')[2]}"
        return
    if element.type in r4.RESOURCE_TYPES_OPEN:
        inner = str(value.get("resourceType"))
        if not r4.is_resource_type(inner):
            yield f"{where} must be a resource"
        else:
            yield from _object(value, inner, where, depth - 1)
        return
    yield from _object(value, element.type, where, depth - 1)
    if element.type == "Reference":
        yield from _target(value, element, where)
    if element.type == "Extension" and ("extension" in value) == any(
        name.removeprefix("_").startswith("value") for name in value
    ):
        yield f"{where} must have either a value or extensions"


def _target(value: Mapping[str, Any], element: r4.Element, where: str) -> Findings:
    parts = split_reference(str(value.get("reference", "")))
    if parts and not r4.is_resource_type(parts[0]):
        yield f"{where} refers to a resource type that R4 does not have"
    elif parts and element.targets and parts[0] not in element.targets:
        yield f"{where} may not refer to a {parts[0]}"


def _primitive_extension(value: Any, where: str, depth: int) -> Findings:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield from _object(item, "Element", where, depth - 1)
        elif item is not None:
            yield f"{where} must hold extensions"
