"""Minimisation: only the elements that the charter lists, in a resource that stays valid.

On top of the list a rule may cut free text (free_text.py), name the extensions by URL and the
identifiers by system that may be seen, and ask for a de-identified view (deidentify.py).

Kept though unlisted: id, and modifier elements such as a status, without which the rest could be
misread. What R4 requires and the charter does not list stays as a mark that it is masked, so that
the resource is valid and says nothing. Dropped at every depth: narrative, contained resources and
extensions (unless the charter lists `contained`, `extension`), what R4 does not know, identifiers
inside of other elements (unless the charter names their system), and the display texts of
references, which often hold a name. A
modifier extension changes what its holder means, so a resource that carries one is refused rather
than shown without it. Lists keep their length, so that an index into what was shown is an index
into what is stored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from chartgate.errors import Denied
from chartgate.formats import r4
from chartgate.formats.canonical import canonical_bytes
from chartgate.model.charter import ReadRule, TextRule, View
from chartgate.model.resource import Resource
from chartgate.policy.deidentify import ViewSettings, deidentify
from chartgate.policy.free_text import is_prose
from chartgate.policy.marks import SUBSETTED, mask, masked, says_something, with_marks

__all__ = [
    "SUBSETTED",
    "ViewSettings",
    "kept_elements",
    "listable_elements",
    "minimise",
    "minimise_measured",
]

META_KEPT = ("versionId", "lastUpdated", "security", "tag")
BY_NAME_ONLY = frozenset({"contained", "extension", "modifierExtension"})  # `all` leaves them out
NEVER_SHOWN = frozenset({"text"})  # narrative holds what the elements hide
DEPTH_MAX = 64  # FHIR nests under 20 deep
SCALARS = frozenset({str, int, float, bool})
PLANS_MAX = 1000

PRIMITIVE = ""
PROSE = "prose"  # a required text that the rule cuts
IDENTIFIER = "Identifier"
LISTED_IDENTIFIER = "an Identifier whose system is listed"
EXTENSION = "Extension"
Fields = Mapping[str, str]  # JSON name: type or nested path; PRIMITIVE, PROSE for scalars


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one rule keeps of one resource type, worked out once."""

    resource_type: str
    fields: Fields
    masked: tuple[r4.Element, ...]
    extensions: bool
    modifiers: bool
    text: TextRule
    urls: frozenset[str] | None  # of extensions; None: any
    systems: frozenset[str]  # of identifiers
    plain: bool  # nothing but a list of elements is asked for
    view: View


def minimise(resource: Resource, rule: ReadRule, settings: ViewSettings | None = None) -> Resource:
    """A new resource with only what the rule lists, marked SUBSETTED.

    `settings` are for a rule with a view. Raises Denied if it cannot be shown without being
    misread, or not as the rule asks for it.
    """
    plan = _plan(
        _type_of(resource),
        rule.elements,
        rule.text,
        rule.extensions,
        rule.identifiers,
        rule.view,
    )
    kept = _clean(resource, plan.fields, plan, DEPTH_MAX)
    kept["resourceType"] = plan.resource_type
    kept["meta"] = _meta(resource.get("meta"), plan)
    for element in plan.masked:
        mask(kept, element)
    if plan.view == "identified":
        return kept
    if settings is None:
        raise Denied(f"the view {plan.view} is asked for, and nothing here can make it")
    return deidentify(kept, plan.view, settings)


def minimise_measured(
    resource: Resource, rule: ReadRule, settings: ViewSettings | None = None
) -> tuple[Resource, float]:
    """As `minimise`, with the share of the bytes that is left of what was held."""
    kept = minimise(resource, rule, settings)
    return kept, len(canonical_bytes(kept)) / len(canonical_bytes(resource))


@cache
def kept_elements(resource_type: str) -> frozenset[str]:
    """What every client sees of a type that it may read, listed or not."""
    return r4.modifier_bases(resource_type) | {"id"}


@cache
def listable_elements(resource_type: str) -> frozenset[str]:
    """What `elements: all` means: every element but narrative, contained and extensions."""
    return r4.element_names(resource_type) - BY_NAME_ONLY - NEVER_SHOWN


def _type_of(resource: Resource) -> str:
    resource_type = resource.get("resourceType")
    if not isinstance(resource_type, str) or not r4.is_resource_type(resource_type):
        raise Denied("what the system of record gave is no FHIR R4 resource")
    return resource_type


@lru_cache(maxsize=PLANS_MAX)
def _plan(
    resource_type: str,
    listed: tuple[str, ...],
    text: TextRule,
    extensions: tuple[str, ...] | None,
    identifiers: tuple[str, ...] | None,
    view: View,
) -> Plan:
    bases = (kept_elements(resource_type) | set(listed)) - NEVER_SHOWN - {"meta"}
    known = r4.elements(resource_type)
    required = sorted(r4.mandatory_bases(resource_type) - bases)
    if view != "identified":
        text = "cut"
    named = {n: e for n, e in known.items() if e.base in bases and e.type != EXTENSION}
    return Plan(
        resource_type=resource_type,
        fields=_kinds(resource_type, named, text, all_identifiers=identifiers is None),
        masked=tuple(e for e in (r4.element_of_base(resource_type, b) for b in required) if e),
        extensions="extension" in listed or bool(extensions),
        modifiers="modifierExtension" in listed,
        text=text,
        urls=None if extensions is None else frozenset(extensions),
        systems=frozenset(identifiers or ()),
        plain=text == "keep" and extensions is None and identifiers is None,
        view=view,
    )


@cache
def _fields(owner: str, text: TextRule) -> Fields:
    """What is kept of a nested value of this type, whatever the rule lists."""
    dropped = {"id", "extension", "modifierExtension"}
    if r4.is_resource_type(owner):
        dropped = {"text", "contained", "meta", "extension", "modifierExtension"}
    if owner == "Reference":
        dropped |= {"display", "identifier"}
    elements = {n: e for n, e in r4.elements(owner).items() if n not in dropped}
    return _kinds(owner, elements, text, all_identifiers=False)


def _kinds(
    owner: str, elements: Mapping[str, r4.Element], text: TextRule, *, all_identifiers: bool
) -> Fields:
    kinds = {}
    for name, element in elements.items():
        if element.type == "Narrative":  # also where it is not the resource's own
            continue
        if not r4.is_primitive(element.type):
            by_system = element.type == IDENTIFIER and not all_identifiers
            kinds[name] = LISTED_IDENTIFIER if by_system else element.type
        elif not is_prose(owner, element, text):
            kinds[name] = PRIMITIVE
        elif element.min:
            kinds[name] = PROSE
    return kinds


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
            _keep_beside(kept, name, value, fields, plan, depth)
        elif kind is PRIMITIVE:
            _keep_primitive(kept, name, inner, plan)
        elif kind is PROSE:
            kept["_" + name] = _masked_like(inner)
        else:
            cleaned = _clean_complex(inner, kind, plan, depth)
            if cleaned:
                kept[name] = cleaned
            elif type(inner) is dict and kind not in UNMASKED:
                kept[name] = masked()  # it may be required
    if plan.modifiers and "modifierExtension" in value:
        kept["modifierExtension"] = _modifiers(value["modifierExtension"], plan, depth)
    return kept


def _keep_beside(
    kept: dict[str, Any],
    name: str,
    value: Mapping[str, Any],
    fields: Fields,
    plan: Plan,
    depth: int,
) -> None:
    """Extensions, if any are shown; that a primitive is there which has nothing but those."""
    inner = value[name]
    if name == "extension":
        inside = fields is _fields(EXTENSION, plan.text)
        shown = _extensions(inner, plan, depth, inside=inside) if plan.extensions else None
        if shown:
            kept[name] = shown
    elif name[:1] == "_" and name[1:] in fields:
        primitive = fields[name[1:]] is PRIMITIVE
        if plan.extensions and primitive and plan.urls is None:
            kept[name] = inner
        elif plan.extensions and primitive:
            kept[name] = _beside(inner, value.get(name[1:]), plan, depth)
            if not kept[name]:
                del kept[name]
        elif name[1:] not in value:
            kept[name] = _masked_like(inner)


def _beside(inner: Any, value: Any, plan: Plan, depth: int) -> Any:
    """What stands beside a primitive, or beside each of a list, by the list of URLs."""
    if type(inner) is list:
        values = value if type(value) is list else [None] * len(inner)
        pairs = zip(inner, [*values, *[None] * len(inner)], strict=False)
        items = [_beside(i, v, plan, depth) for i, v in pairs]
        return items if any(items) else None
    held = inner.get("extension") if type(inner) is dict else None
    shown = _extensions(held, plan, depth)
    return {"extension": shown} if shown else masked() if value is None else None


def _extensions(value: Any, plan: Plan, depth: int, *, inside: bool = False) -> Any:
    """Those whose URL is listed. `inside` of one, parts with relative URLs belong to it."""
    if plan.urls is None:
        return value
    held = value if type(value) is list else []
    urls = [e.get("url") if type(e) is dict else None for e in held]
    of_part = [inside and type(url) is str and ":" not in url for url in urls]
    listed = [
        e for e, url, part in zip(held, urls, of_part, strict=True) if part or url in plan.urls
    ]
    fields = _fields(EXTENSION, plan.text)
    shown = (_clean(e, fields, plan, depth - 1) for e in listed)
    return [each for each in shown if says_something(each)]


def _modifiers(value: Any, plan: Plan, depth: int) -> Any:
    """Modifier extensions: all of them, for without one the rest would be misread."""
    shown = _extensions(value, plan, depth)
    if type(value) is not list or len(shown) != len(value):
        raise Denied(
            f"this {plan.resource_type} has a modifier extension that the charter does not name"
        )
    return shown


def _keep_primitive(kept: dict[str, Any], name: str, value: Any, plan: Plan) -> None:
    if type(value) in SCALARS:
        kept[name] = value
    elif type(value) is list:
        values = [v if type(v) in SCALARS else None for v in value]
        kept[name] = values
        if None in values and not plan.extensions:  # each null needs its extension beside it
            kept["_" + name] = [masked() if v is None else None for v in values]


def _clean_complex(value: Any, kind: str, plan: Plan, depth: int) -> Any:
    if type(value) is list:
        return [_clean_complex(v, kind, plan, depth) or masked() for v in value]
    if type(value) is not dict:
        return None
    special = SPECIAL.get(kind)
    if special is not None:
        return special(value, plan, depth)
    return _clean(value, _fields(kind, plan.text), plan, depth - 1)


def _clean_resource(value: Mapping[str, Any], plan: Plan, depth: int) -> dict[str, Any] | None:
    """A contained resource, whole but for what is dropped at every depth."""
    resource_type = value.get("resourceType")
    if not isinstance(resource_type, str) or not r4.is_resource_type(resource_type):
        return None
    cleaned = _clean(value, _fields(resource_type, plan.text), plan, depth - 1)
    return {"resourceType": resource_type, **cleaned}


def _clean_identifier(value: Mapping[str, Any], plan: Plan, depth: int) -> Any:
    if value.get("system") not in plan.systems:
        return None
    return _clean(value, _fields(IDENTIFIER, plan.text), plan, depth - 1)


SPECIAL: Mapping[str, Callable[[Mapping[str, Any], Plan, int], Any]] = {
    "Resource": _clean_resource,
    "DomainResource": _clean_resource,
    LISTED_IDENTIFIER: _clean_identifier,
}
UNMASKED = frozenset(r4.RESOURCE_TYPES_OPEN)


def _meta(meta: Any, plan: Plan) -> dict[str, Any]:
    held = meta if isinstance(meta, dict) else {}
    fields = _fields("Meta", "keep")
    kept = _clean({k: held[k] for k in META_KEPT if k in held}, fields, plan, DEPTH_MAX)
    kept["tag"] = with_marks(kept.get("tag"), ["SUBSETTED"])
    if not plan.plain:
        kept["security"] = with_marks(kept.get("security"), ["REDACTED"])
    return kept


def _masked_like(value: Any) -> Any:
    return [masked() for _ in value] if type(value) is list else masked()
