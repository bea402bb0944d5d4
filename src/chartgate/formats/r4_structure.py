"""Whether a resource is well-formed FHIR R4: types, elements, cardinality, primitive shapes.

Structure only; profiles, invariants and terminology are more than this. `is_well_formed` says yes
or no at the speed of a feed, by compiled schemas (r4_schema.py); `structure_findings` walks the
resource and says where it is wrong, naming elements and never their values. Both are the same law.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import jsonschema_rs
import orjson

from chartgate.formats import r4
from chartgate.formats.depth import deeper_than
from chartgate.formats.r4_schema import compile_type

DEPTH_MAX = 64
OPEN_ELEMENTS = frozenset({"resourceType", "fhir_comments"})
REFERENCE = re.compile(r"([A-Z][A-Za-z]{1,40})/([A-Za-z0-9\-.]{1,64})")  # a relative one

Findings = Iterator[str]


def is_well_formed(resource: Any) -> bool:
    """Whether `structure_findings` finds nothing in a resource as parsed from JSON.

    The first resource of a type takes some tens of milliseconds more: its schema is compiled.
    """
    try:
        text = orjson.dumps(resource)
    except TypeError:  # e.g. an integer that JSON can hold and Rust cannot
        return not any(structure_findings(resource))
    if text.count(b"{") > DEPTH_MAX and deeper_than(text, DEPTH_MAX):
        return not any(structure_findings(resource))
    return _matches(resource)


def structure_findings(resource: Any) -> Findings:
    """A sentence for each place that is not R4, in the order of the resource."""
    resource_type = resource.get("resourceType") if isinstance(resource, dict) else None
    if not isinstance(resource_type, str):
        yield "a resource needs a resourceType"
    elif not r4.is_resource_type(resource_type):
        yield f"FHIR R4 has no resource type of the name given: {resource_type[:64]}"
    else:
        yield from _object(resource, resource_type, resource_type, DEPTH_MAX)


@cache
def _validator(resource_type: str) -> jsonschema_rs.Validator:
    return compile_type(resource_type)


def _matches(resource: Any) -> bool:
    """Whether a resource, and each one inside it, matches the schema of its type."""
    resource_type = resource.get("resourceType") if isinstance(resource, dict) else None
    if not isinstance(resource_type, str) or not r4.is_resource_type(resource_type):
        return False
    if not _validator(resource_type).is_valid(resource):
        return False
    return all(map(_matches, _inner_resources(resource, resource_type)))


def _inner_resources(value: Mapping[str, Any], owner: str) -> Iterator[Any]:
    """Resources directly inside: contained ones, entries of a Bundle, parameters."""
    for name in _ways_in(owner) & value.keys():
        element = r4.elements(owner)[name]
        for inner in value[name] if element.many else [value[name]]:
            if element.type in r4.RESOURCE_TYPES_OPEN:
                yield inner
            else:
                yield from _inner_resources(inner, element.type)


@cache
def _ways_in(owner: str) -> frozenset[str]:
    """Elements of an owner that hold resources, or lead to some (parameters in parameters)."""
    known = r4.elements(owner).values()
    ways = {e.name for e in known if e.type in r4.RESOURCE_TYPES_OPEN}
    ways |= {e.name for e in known if e.type.startswith(f"{owner}.") and _ways_in(e.type)}
    return frozenset(ways | {e.name for e in known if ways and e.type == owner})


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
    parts = REFERENCE.fullmatch(str(value.get("reference", "")))
    if parts and not r4.is_resource_type(parts[1]):
        yield f"{where} refers to a resource type that R4 does not have"
    elif parts and element.targets and parts[1] not in element.targets:
        yield f"{where} may not refer to a {parts[1]}"


def _primitive_extension(value: Any, where: str, depth: int) -> Findings:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield from _object(item, "Element", where, depth - 1)
        elif item is not None:
            yield f"{where} must hold extensions"
