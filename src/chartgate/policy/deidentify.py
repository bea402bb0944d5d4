"""De-identified views of a minimised resource: Safe Harbor, and the limited data set.

By data type rather than by element, so that no element is forgotten: what is not known to be safe is
cut, and what R4 requires stays as a mark. Source: 45 CFR 164.514(b)(2)(i), the eighteen kinds of
identifiers of Safe Harbor, and 164.514(e)(2), the sixteen of a limited data set, which keeps dates,
ages, towns and ZIP codes. Free text is cut before (free_text.py), for anything can stand in it.

Ids and references become pseudonyms by a keyed hash, which without the key tells nothing of what it
was made from; without a key they are left out.
"""

import hmac
import re
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from chartgate.errors import Denied
from chartgate.formats import r4
from chartgate.model.charter import View
from chartgate.model.resource import Resource
from chartgate.policy.deidentify_values import (
    AGE_YEARS_MAX,
    address,
    aged,
    is_about_age,
    is_over,
    year_of,
)
from chartgate.policy.marks import SUBSETTED, masked, masked_value, says_something, with_marks

DEPTH_MAX = 64
PSEUDONYM_BYTES = 16
ID = "id"
LITERAL = re.compile(
    r"(?:[a-z]+://[^?#\s]+/)?([A-Z][A-Za-z]{1,40})/([A-Za-z0-9\-.]{1,64})(?:/_history/[^/?#]+)?"
)
# Names (A), telephone, fax, mail and web addresses (D to F, N), numbers of records, plans, accounts,
# certificates, vehicles and devices (G to M), pictures and other biometric data (P, Q), and what
# holds those.
DROPPED_TYPES = frozenset(
    {
        *("Annotation", "Attachment", "ContactDetail", "ContactPoint", "Contributor", "Expression"),
        *("HumanName", "Identifier", "Narrative", "RelatedArtifact", "SampledData", "Signature"),
    }
)
DROPPED_OWNERS = frozenset({"Device.udiCarrier", "Location.position"})
DROPPED_PRIMITIVES = frozenset(
    {"base64Binary", "canonical", "id", "markdown", "oid", "string", "uri", "url", "uuid", "xhtml"}
)
MEASURES = ("Age", "Count", "Distance", "Duration", "Quantity")
# Texts that name a thing of a standard, and no one's.
KEPT_TEXTS = frozenset(
    {
        *(("Coding", "system"), ("Extension", "url")),
        # What address() has left of it.
        *(("Address", name) for name in ("city", "country", "postalCode", "state")),
        *((owner, "system") for owner in MEASURES),
    }
)
UNIT = re.compile(r"[A-Za-z\u00b5\u03bc\u00b0%][^\s@:;,]{0,15}")  # a unit, and no sentence
DATES = frozenset({"date", "dateTime"})
MOMENTS = frozenset({"instant", "time"})  # have no form that is only a year
NUMBERS = frozenset({"decimal", "integer", "positiveInt", "unsignedInt"})
# Numbers without a unit, which can be an age.
AGE_OWNERS = frozenset(
    {"Extension", "Observation", "Observation.component", "QuestionnaireResponse.item.answer"}
)
STANDARDS = ("http://terminology.hl7.org/", "http://hl7.org/fhir/")


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """What a view is made with."""

    year: int  # the current one: who was born ninety years before it may be over 89
    key: bytes = b""  # of the pseudonyms, one for each use; empty: ids and references are left out

    def pseudonym(self, reference: str) -> str:
        """Of "Patient/7": an id that is the same each time, and cannot be led back."""
        digest = hmac.digest(self.key, reference.encode(), sha256)[:PSEUDONYM_BYTES]
        return b32encode(digest).decode().rstrip("=").lower()


@dataclass(frozen=True, kw_only=True)
class Work:
    """One resource under way."""

    view: View
    settings: ViewSettings
    contained: Mapping[str, str]  # ids of contained resources: what they are called here

    @property
    def is_limited(self) -> bool:
        """Whether dates, ages and towns stay."""
        return self.view == "limited"


def deidentify(resource: Resource, view: View, settings: ViewSettings) -> Resource:
    """A new resource in that view, marked so. Takes what `minimise` gave, with free text cut."""
    resource_type = resource.get("resourceType")
    if not isinstance(resource_type, str) or not r4.is_resource_type(resource_type):
        raise Denied("what is no FHIR R4 resource cannot be de-identified")
    work = Work(view=view, settings=settings, contained=_contained_ids(resource))
    kept = _resource(resource, resource_type, work, DEPTH_MAX)
    if settings.key and isinstance(resource.get(ID), str):
        kept[ID] = settings.pseudonym(f"{resource_type}/{resource[ID]}")
    kept["meta"] = _meta(resource.get("meta"), work)
    return kept


def _contained_ids(resource: Resource) -> Mapping[str, str]:
    held = resource.get("contained")
    ids = [each.get(ID) for each in held if isinstance(each, dict)] if type(held) is list else []
    return {id_: f"c{n}" for n, id_ in enumerate(ids, start=1) if isinstance(id_, str)}


def _resource(
    value: Mapping[str, Any], resource_type: str, work: Work, depth: int
) -> dict[str, Any]:
    kept = _object(value, resource_type, work, depth)
    return {"resourceType": resource_type, **kept}


def _object(value: Mapping[str, Any], owner: str, work: Work, depth: int) -> dict[str, Any]:
    if depth == 0:
        raise Denied("this nests too deep to be de-identified")
    known = r4.elements(owner)
    kept: dict[str, Any] = {}
    for name, inner in value.items():
        element = known.get(name)
        if element is None:
            if name[:1] == "_" and name[1:] in known and name[1:] not in value:
                kept[name] = _masked_like(inner)
        elif element.type == "Meta":
            continue
        else:
            shown = _values(inner, value, owner, element, work, depth)
            if shown:
                _keep(kept, element, shown)
    return kept


def _values(
    inner: Any, holder: Mapping[str, Any], owner: str, element: r4.Element, work: Work, depth: int
) -> list[Any]:
    """What is left of each value of an element; None where nothing is."""
    values = inner if type(inner) is list else [inner]
    if r4.is_primitive(element.type):
        return [_primitive(v, owner, element, work) for v in values]
    of_age = owner in AGE_OWNERS and is_about_age(holder)
    shown = [_complex(v, element, work, depth, of_age=of_age) for v in values]
    return shown if element.type != "Extension" else [v for v in shown if v is not None]


def _keep(kept: dict[str, Any], element: r4.Element, shown: list[Any]) -> None:
    """Puts down what is left; marks for what is required, or stands among others in a list."""
    if not element.many:
        shown = shown[:1]
    if None not in shown:
        kept[element.name] = shown if element.many else shown[0]
        return
    if not element.min and all(v is None for v in shown):
        return
    if not r4.is_primitive(element.type):
        values = [masked_value(element.type) if v is None else v for v in shown]
        kept[element.name] = values if element.many else values[0]
        return
    beside = [masked() if v is None else None for v in shown]
    if any(v is not None for v in shown):
        kept[element.name] = shown  # a list: a single value would be all that there is
    kept["_" + element.name] = beside if element.many else beside[0]


def _primitive(value: Any, owner: str, element: r4.Element, work: Work) -> Any:
    if value is None or type(value) in (dict, list):
        return None
    if (owner, element.base) in KEPT_TEXTS:
        return value
    if element.base == "unit" and owner in MEASURES:
        return value if UNIT.fullmatch(str(value)) else None
    if element.type in DROPPED_PRIMITIVES:
        return None
    if work.is_limited:
        return value
    if element.type in DATES:
        return year_of(value, work.settings.year)
    if element.type in MOMENTS:
        return None
    if element.type in NUMBERS and owner in AGE_OWNERS and is_over(value, AGE_YEARS_MAX):
        return None
    return value


def _complex(value: Any, element: r4.Element, work: Work, depth: int, *, of_age: bool) -> Any:
    if type(value) is not dict or element.type in DROPPED_TYPES or element.type in DROPPED_OWNERS:
        return None
    if element.type in r4.RESOURCE_TYPES_OPEN:
        return _inner_resource(value, work, depth)
    if element.type == "Reference":
        return _reference(value, work)
    if element.type == "Address":
        return _object(address(value, limited=work.is_limited), "Address", work, depth - 1) or None
    kept = _object(value, element.type, work, depth - 1)
    if element.type in MEASURES and not work.is_limited:
        kept = aged(kept, is_age=element.type == "Age" or of_age)
    if element.type == "Range" and of_age and not work.is_limited:
        ends = {name: kept[name] for name in ("low", "high") if name in kept}
        kept |= {name: aged(end, is_age=True) for name, end in ends.items()}
    if element.type == "Extension" and not says_something(kept):
        return None
    return kept or None


def _inner_resource(value: Mapping[str, Any], work: Work, depth: int) -> dict[str, Any] | None:
    resource_type = value.get("resourceType")
    if not isinstance(resource_type, str) or not r4.is_resource_type(resource_type):
        return None
    kept = _resource(value, resource_type, work, depth - 1)
    name = work.contained.get(str(value.get(ID)))
    return {**kept, ID: name} if name else kept


def _reference(value: Mapping[str, Any], work: Work) -> dict[str, Any] | None:
    """To whom it points, under another name; only to what kind of thing where there is no key."""
    reference = value.get("reference")
    if not isinstance(reference, str):
        return _typed(value.get("type"))
    if reference.startswith("#"):
        name = work.contained.get(reference[1:])
        return {"reference": f"#{name}"} if name else None
    target = LITERAL.fullmatch(reference)
    if target is None or not r4.is_resource_type(target[1]):
        return _typed(value.get("type"))
    resource_type, id_ = target[1], target[2]
    if not work.settings.key:
        return _typed(resource_type)
    return {"reference": f"{resource_type}/{work.settings.pseudonym(f'{resource_type}/{id_}')}"}


def _typed(resource_type: Any) -> dict[str, Any] | None:
    known = isinstance(resource_type, str) and r4.is_resource_type(resource_type)
    return {"type": resource_type} if known else None


def _meta(meta: Any, work: Work) -> dict[str, Any]:
    """Labels by the codes of standards, and what was done; no tags of the system it came from."""
    held = meta.get("security") if isinstance(meta, dict) else None
    security = [
        {"system": c["system"], "code": c["code"]}
        for c in (held if isinstance(held, list) else [])
        if isinstance(c, dict) and str(c.get("system")).startswith(STANDARDS) and "code" in c
    ]
    marks = ["REDACTED", "PSEUDED" if work.settings.key else "ANONYED"]
    if not work.is_limited:
        marks.append("ABSTRED")
    kept: dict[str, Any] = {"security": with_marks(security, marks), "tag": [dict(SUBSETTED)]}
    if work.is_limited and isinstance(meta, dict) and isinstance(meta.get("lastUpdated"), str):
        kept["lastUpdated"] = meta["lastUpdated"]
    return kept


def _masked_like(value: Any) -> Any:
    return [masked() for _ in value] if type(value) is list else masked()
