"""Minimisation: only the elements that the charter lists, in a resource that stays valid.

Kept though unlisted: id, and modifier elements such as a status, without which the rest could be
misread. What R4 requires and the charter does not list stays as a mark that it is masked, so that
the resource is valid and says nothing. Dropped at every depth: narrative, contained resources and
extensions (unless the charter lists `contained`, `extension`), what R4 does not know, and the
display texts and identifiers of references, which often hold a name or a record number. A
modifier extension changes what its holder means, so a resource that carries one is refused rather
than shown without it. Lists keep their length, so that an index into what was shown is an index
into what is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from chartgate.errors import Denied
from chartgate.formats import r4
from chartgate.model.charter import ReadRule
from chartgate.model.resource import Resource

# Source: https://terminology.hl7.org/CodeSystem-v3-ObservationValue.html, code SUBSETTED,
# asked for by https://hl7.org/fhir/R4/search.html#elements
SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}
# Source: https://hl7.org/fhir/R4/extension-data-absent-reason.html
MASKED = {
    "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
    "valueCode": "masked",
}
META_KEPT = ("versionId", "lastUpdated", "security", "tag")
BY_NAME_ONLY = frozenset({"contained", "extension", "modifierExtension"})  # `all` leaves them out
NEVER_SHOWN = frozenset({"text"})  # narrative holds what the elements hide
DEPTH_MAX = 64  # FHIR nests under 20 deep
SCALARS = frozenset({str, int, float, bool})
PLANS_MAX = 1000

PRIMITIVE = ""
Fields = Mapping[str, str]  # JSON name: type or nested path; PRIMITIVE for scalars


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one rule keeps of one resource type, worked out once."""

    resource_type: str
    fields: Fields
    masked: tuple[r4.Element, ...]
    extensions: bool
    modifiers: bool


def minimise(resource: Resource, rule: ReadRule) -> Resource:
    """A new resource with only what the rule lists, marked SUBSETTED.

    Raises Denied if it cannot be shown without being misread.
    """
    plan = _plan(resource.get("resourceType", ""), rule.elements)
    kept = _clean(resource, plan.fields, plan, DEPTH_MAX)
    kept["resourceType"] = plan.resource_type
    kept["meta"] = _meta(resource.get("meta"), plan)
    for element in plan.masked:
        if element.name not in kept:
            _mask(kept, element)
    return kept


@cache
def kept_elements(resource_type: str) -> frozenset[str]:
    """What every client sees of a type that it may read, listed or not."""
    return r4.modifier_bases(resource_type) | {"id"}


@cache
def listable_elements(resource_type: str) -> frozenset[str]:
    """What `elements: all` means: every element but narrative, contained and extensions."""
    return r4.element_names(resource_type) - BY_NAME_ONLY - NEVER_SHOWN


@lru_cache(maxsize=PLANS_MAX)
def _plan(resource_type: str, listed: tuple[str, ...]) -> Plan:
    if not r4.is_resource_type(resource_type):
        raise Denied("what the system of record gave is no FHIR R4 resource")
    bases = (kept_elements(resource_type) | set(listed)) - NEVER_SHOWN - {"meta"}
    known = r4.elements(resource_type)
    required = sorted(r4.mandatory_bases(resource_type) - bases)
    return Plan(
        resource_type=resource_type,
        fields={n: _kind(e) for n, e in known.items() if e.base in bases},
        masked=tuple(e for e in (r4.element_of_base(resource_type, b) for b in required) if e),
        extensions="extension" in listed,
        modifiers="modifierExtension" in listed,
    )


@cache
def _fields(owner: str) -> Fields:
    """What is kept of a nested value of this type, whatever the rule lists."""
    dropped = {"id", "extension", "modifierExtension"}
    if r4.is_resource_type(owner):
        dropped = {"text", "contained", "meta", "extension", "modifierExtension"}
    if owner == "Reference":
        dropped |= {"display", "identifier"}
    return {n: _kind(e) for n, e in r4.elements(owner).items() if n not in dropped}


def _kind(element: r4.Element) -> str:
    return PRIMITIVE if r4.is_primitive(element.type) else element.type


def _clean(value: Mapping[str, Any], fields: Fields, plan: Plan, depth: int) -> dict[str, Any]:
    if depth == 0:
        raise Denied(f"this {plan.resource_type} nests too deep to be shown")
    if "modifierExtension" in value and not plan.modifiers:
        raise Denied(
            f"this {plan.resource_type} has a modifier extension, and cannot be shown safely"
        )
    kept: dict[str, Any] = {}
    for name, inner in value.items():
        kind = fields.get(name)
        if kind is None:
            if plan.extensions and _is_extension(name, fields):
                kept[name] = inner
        elif kind is PRIMITIVE:
            _keep_primitive(kept, name, inner, plan)
        else:
            cleaned = _clean_complex(inner, kind, plan, depth)
            if cleaned:
                kept[name] = cleaned
            elif type(inner) is dict and kind not in r4.RESOURCE_TYPES_OPEN:
                kept[name] = _masked()  # it may be required
    if plan.modifiers and "modifierExtension" in value:
        kept["modifierExtension"] = value["modifierExtension"]
    return kept


def _is_extension(name: str, fields: Fields) -> bool:
    """An extension of the whole, or of a primitive that is kept."""
    return name == "extension" or (name[0] == "_" and fields.get(name[1:]) is PRIMITIVE)


def _keep_primitive(kept: dict[str, Any], name: str, value: Any, plan: Plan) -> None:
    if type(value) in SCALARS:
        kept[name] = value
    elif type(value) is list:
        values = [v if type(v) in SCALARS else None for v in value]
        kept[name] = values
        if None in values and not plan.extensions:  # each null needs its extension beside it
            kept["_" + name] = [_masked() if v is None else None for v in values]


def _clean_complex(value: Any, kind: str, plan: Plan, depth: int) -> Any:
    if type(value) is list:
        return [_clean_complex(v, kind, plan, depth) or _masked() for v in value]
    if type(value) is not dict:
        return None
    if kind in r4.RESOURCE_TYPES_OPEN:
        return _clean_resource(value, plan, depth)
    if kind == "Extension":
        return value
    return _clean(value, _fields(kind), plan, depth - 1)


def _clean_resource(value: Mapping[str, Any], plan: Plan, depth: int) -> dict[str, Any] | None:
    """A contained resource, whole but for what is dropped at every depth."""
    resource_type = value.get("resourceType")
    if not isinstance(resource_type, str) or not r4.is_resource_type(resource_type):
        return None
    cleaned = _clean(value, _fields(resource_type), plan, depth - 1)
    return {"resourceType": resource_type, **cleaned}


def _meta(meta: Any, plan: Plan) -> dict[str, Any]:
    held = meta if isinstance(meta, dict) else {}
    kept = _clean({k: held[k] for k in META_KEPT if k in held}, _fields("Meta"), plan, DEPTH_MAX)
    tags = [t for t in kept.get("tag", []) if t.get("code") != SUBSETTED["code"]]
    kept["tag"] = [*tags, dict(SUBSETTED)]
    return kept


def _masked() -> dict[str, Any]:
    return {"extension": [dict(MASKED)]}


def _mask(kept: dict[str, Any], element: r4.Element) -> None:
    """Says that a required element is there and not shown, its own required parts too."""
    if r4.is_primitive(element.type):
        value: dict[str, Any] = _masked()
        name = "_" + element.name
    else:
        name, value = element.name, {}
        for inner in r4.elements(element.type).values():
            if inner.min > 0 and not inner.choice:
                _mask(value, inner)
        value = value or _masked()
    kept[name] = [value] if element.many else value
