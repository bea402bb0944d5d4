"""What FHIR R4 says of its types: elements, cardinality, modifiers, search parameters.

Facts only, from r4_tables.json, which tools/build_r4_tables.py makes from the R4 definitions.
An owner is a type ("Appointment", "Period") or the path of a nested element
("Appointment.participant"). Source: https://hl7.org/fhir/R4/
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import orjson

CHOICE = "[x]"
RESOURCE_TYPES_OPEN = ("Resource", "DomainResource")  # stand for any resource
ELEMENT_LINE = re.compile(r"(\d+)\.\.(\d+|\*) (.*?)( !)?")

# The regular expressions of https://hl7.org/fhir/R4/datatypes.html#primitive, where they bind;
# fullmatch is used, so none is anchored. Digits are ASCII's, which \d is not.
YEAR = "[0-9]{4}"
MONTH = "(0[1-9]|1[0-2])"
DAY = "(0[1-9]|[12][0-9]|3[01])"
TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
ZONE = "(Z|[+-]((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
PRIMITIVE_SHAPES: Mapping[str, str] = {
    "id": r"[A-Za-z0-9\-\.]{1,64}",
    "code": r"[^\s]+(\s[^\s]+)*",
    "date": f"{YEAR}(-{MONTH}(-{DAY})?)?",
    "dateTime": f"{YEAR}(-{MONTH}(-{DAY}(T{TIME}{ZONE})?)?)?",
    "instant": f"{YEAR}-{MONTH}-{DAY}T{TIME}{ZONE}",
    "time": TIME,
    "uri": r"\S+",
    "url": r"\S+",
    "canonical": r"\S+",
    "oid": r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+",
    "uuid": r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "base64Binary": r"[0-9A-Za-z+/=\s]+",  # the published one takes exponential time
    "string": r"[\s\S]+",
    "markdown": r"[\s\S]+",
    "xhtml": r"[\s\S]+",
}
INTEGERS_MIN: Mapping[str, int] = {"integer": -(2**31), "unsignedInt": 0, "positiveInt": 1}


@dataclass(frozen=True, kw_only=True)
class Element:
    """One element as it stands in JSON: a choice has one Element for each of its types."""

    name: str  # "status", "valueQuantity"
    base: str  # "value" for "valueQuantity"; else the name itself
    min: int
    many: bool
    type: str  # "code", "Reference", or the owner path of a nested element
    targets: tuple[str, ...]  # of a Reference; empty: any
    codes: frozenset[str]  # of a small required binding; empty: not checked here
    modifier: bool
    choice: bool


@dataclass(frozen=True, kw_only=True)
class SearchParameter:
    """One search parameter of a type, and the top-level elements that it looks at."""

    name: str
    type: str  # "token", "date", "reference" …
    elements: tuple[str, ...]  # empty: cannot be told, e.g. a composite


def is_resource_type(name: str) -> bool:
    """Whether R4 has a concrete resource type of that name."""
    return name in resource_types()


@cache
def resource_types() -> frozenset[str]:
    """The concrete resource types of R4."""
    return frozenset(_tables()["resources"])


def is_primitive(type_: str) -> bool:
    """Whether values of the type are JSON scalars."""
    return type_ in _primitives()


@cache
def elements(owner: str) -> Mapping[str, Element]:
    """Elements of a type or nested path by JSON name. Empty for an unknown owner."""
    found: dict[str, Element] = {}
    for name, line in _tables()["types"].get(owner, {}).items():
        for element in _parse_line(name, line):
            found[element.name] = element
    return found


@cache
def element_names(owner: str) -> frozenset[str]:
    """What a charter may name: elements with a choice by its base, "value" for "value[x]"."""
    return frozenset(e.base for e in elements(owner).values())


@cache
def mandatory_bases(owner: str) -> frozenset[str]:
    """Bases of elements that a valid instance cannot lack."""
    return frozenset(e.base for e in elements(owner).values() if e.min > 0)


@cache
def modifier_bases(owner: str) -> frozenset[str]:
    """Bases of elements without which the rest could be misread, modifierExtension apart."""
    found = (e.base for e in elements(owner).values() if e.modifier)
    return frozenset(b for b in found if b != "modifierExtension")


@cache
def search_parameters(resource_type: str) -> Mapping[str, SearchParameter]:
    """Search parameters of a resource type, the common ones ("_id") included."""
    if not is_resource_type(resource_type):
        return {}
    table = _tables()["search"]
    lines = {**table["Resource"], **table["DomainResource"], **table.get(resource_type, {})}
    return {
        name: SearchParameter(name=name, type=kind, elements=tuple(names))
        for name, (kind, *names) in ((n, line.split(" ")) for n, line in lines.items())
    }


def find_element(resource_type: str, path: str) -> Element | None:
    """The element of a dotted path under a type, e.g. ("Appointment", "participant.actor")."""
    owner, found = resource_type, None
    for name in path.split("."):
        found = element_of_base(owner, name)
        if found is None:
            return None
        owner = found.type
    return found


def element_of_base(owner: str, name: str) -> Element | None:
    """The element of that JSON name, or of that choice base."""
    known = elements(owner)
    return known.get(name) or next((e for e in known.values() if e.base == name), None)


def is_shaped(type_: str, value: Any) -> bool:
    """Whether a JSON value can be a primitive of that type."""
    if type_ == "boolean":
        return isinstance(value, bool)
    if type_ in INTEGERS_MIN:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and INTEGERS_MIN[type_] <= value < 2**31
    if type_ == "decimal":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str) and _shape(type_).fullmatch(value) is not None


@cache
def _shape(type_: str) -> re.Pattern[str]:
    return re.compile(PRIMITIVE_SHAPES.get(type_, PRIMITIVE_SHAPES["string"]))


def _parse_line(name: str, line: str) -> list[Element]:
    match = ELEMENT_LINE.fullmatch(line)
    assert match, f"{name}: {line!r} is no line of the table"
    choice = name.endswith(CHOICE)
    base = name.removesuffix(CHOICE)
    parsed = []
    for kind in match[3].split("|"):
        type_, targets, codes = _parse_kind(kind)
        parsed.append(
            Element(
                name=base + type_[0].upper() + type_[1:] if choice else base,
                base=base,
                min=int(match[1]),
                many=match[2] != "1",
                type=type_,
                targets=targets,
                codes=codes,
                modifier=match[4] is not None,
                choice=choice,
            )
        )
    return parsed


def _parse_kind(kind: str) -> tuple[str, tuple[str, ...], frozenset[str]]:
    if kind.startswith("#"):
        return kind[1:], (), frozenset()
    if kind.startswith("Reference("):
        return "Reference", tuple(kind[10:-1].split(",")), frozenset()
    type_, _, value_set = kind.partition("@")
    codes = _tables()["codes"][value_set] if value_set else ()
    return type_, (), frozenset(codes)


@cache
def _primitives() -> frozenset[str]:
    return frozenset(_tables()["primitives"])


@cache
def _tables() -> Mapping[str, Any]:
    body = (resources.files("chartgate.formats") / "r4_tables.json").read_bytes()
    tables: Mapping[str, Any] = orjson.loads(body)
    return tables
