"""The question that one resource puts to its patient's consents, filled in by FHIR R4 paths.

What the resource does not say is not known, and so permits nothing that depends on it. Only what
is a directory entry has no author, code or date by its nature.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from functools import cache
from typing import Any

from chartgate.formats import r4
from chartgate.model.consent import Code, ConsentQuestion
from chartgate.model.label import Labels
from chartgate.policy.consent_codes import code_of
from chartgate.policy.consent_times import Moment, Span, moment

DEPTH_MAX = 64
DIRECTORY = frozenset(
    {
        "Patient", "RelatedPerson", "Person", "Practitioner", "PractitionerRole", "Organization",
        "Location", "HealthcareService", "Schedule", "Slot", "Endpoint",
    }
)  # fmt: skip
# Top-level elements that say what a resource is about, and who said it.
CODED = frozenset(
    {
        "code", "type", "category", "class", "vaccineCode", "medicationCodeableConcept",
        "serviceType", "serviceCategory", "modality", "docStatus", "productCode",
    }
)  # fmt: skip
AUTHORING = (
    "author", "recorder", "asserter", "performer", "requester", "enterer", "informationSource",
    "sender", "authenticator", "attester", "resultsInterpreter", "interpreter", "operator",
    "provider", "creator", "orderer", "dispenser", "prescriber", "source",
)  # fmt: skip
WITHIN = ("actor", "party", "individual", "provider", "onBehalfOf")  # of a nested element
TIMED = frozenset({"date", "dateTime", "instant", "Period"})
NOT_WHEN = frozenset({"value", "birthDate", "deceased", "implicitRules"})


@dataclass
class _Found:
    codes: set[Code] = field(default_factory=set)
    references: set[str] = field(default_factory=set)
    whole: bool = True  # nothing was too deep to be looked at


def question_about(
    resource: Mapping[str, Any],
    *,
    patient: str,
    purpose: str,
    actors: frozenset[str],
    labels: Labels,
    at: datetime,
    action: str = "access",
    zone: tzinfo | None = None,
) -> ConsentQuestion:
    """May `actors` have this resource, which is labelled so? `patient` is one whom it names: each
    of them is asked."""
    kind = resource.get("resourceType")
    resource_type = kind if isinstance(kind, str) else ""
    id_ = resource.get("id")
    found = _Found()
    _look(resource, found, DEPTH_MAX)
    codes = frozenset(_main_codes(resource))
    directory = resource_type in DIRECTORY
    return ConsentQuestion(
        patient=patient,
        purpose=purpose,
        actors=actors,
        action=action,
        resource_type=resource_type,
        reference=f"{resource_type}/{id_}" if resource_type and isinstance(id_, str) else "",
        codes=codes if found.whole and (codes or directory) else None,
        mentions=frozenset(found.codes),
        labels=labels if found.whole else Labels(unknown=True),
        authors=_authors(resource, resource_type),
        related=frozenset(found.references) if found.whole else None,
        dated=_dated(resource, resource_type, zone),
        directory=directory and found.whole,
        zone=zone,
        at=at,
    )


def _look(value: Any, found: _Found, depth: int) -> None:
    """Every coding and reference at any depth."""
    if depth == 0:
        found.whole = False
    elif type(value) is dict:
        system, code, reference = value.get("system"), value.get("code"), value.get("reference")
        if type(code) is str:
            found.codes.add(code_of(system if type(system) is str else "", code))
        if type(reference) is str:
            found.references.add(reference)
        for inner in value.values():
            if type(inner) is dict or type(inner) is list:
                _look(inner, found, depth - 1)
    elif type(value) is list:
        for inner in value:
            if type(inner) is dict or type(inner) is list:
                _look(inner, found, depth - 1)


def _main_codes(resource: Mapping[str, Any]) -> Iterator[Code]:
    for name in CODED & resource.keys():
        for concept in _objects(resource[name]):
            for coding in [concept, *_objects(concept.get("coding"))]:
                system, code = coding.get("system"), coding.get("code")
                if isinstance(system, str) and isinstance(code, str):
                    yield code_of(system, code)


def _authors(resource: Mapping[str, Any], resource_type: str) -> frozenset[str] | None:
    """None: nobody is named, or somebody who cannot be told."""
    found: set[str] = set()
    for name in _authoring(resource_type):
        for holder in _objects(resource.get(name)):
            inner = [each for key in WITHIN for each in _objects(holder.get(key))]
            for reference in inner or [holder]:
                named = reference.get("reference")
                if not isinstance(named, str):
                    return None
                found.add(named)
    return frozenset(found) or None


@cache
def _authoring(resource_type: str) -> tuple[str, ...]:
    known = r4.elements(resource_type)
    return tuple(
        name
        for name in AUTHORING
        if name in known and (known[name].type == "Reference" or "." in known[name].type)
    )


def _dated(resource: Mapping[str, Any], resource_type: str, zone: tzinfo | None) -> Span | None:
    """From the first to the last date that the resource gives of itself, at their widest."""
    spans: list[Span] = []
    for name in _timed(resource_type):
        values = resource.get(name)
        for value in values if isinstance(values, list) else [values]:
            if value is None:
                continue
            span = _span(value, zone)
            if span is None:
                return None
            spans.append(span)
    if not spans:
        return None
    return min(first for first, _ in spans), max(after for _, after in spans)


@cache
def _timed(resource_type: str) -> tuple[str, ...]:
    known = r4.elements(resource_type).values()
    return tuple(e.name for e in known if e.type in TIMED and e.base not in NOT_WHEN)


def _span(value: Any, zone: tzinfo | None) -> Span | None:
    """None: an end is open, or no date."""
    if isinstance(value, dict):
        first, last = _moment(value.get("start")), _moment(value.get("end"))
    else:
        first = last = _moment(value)
    if first is None or last is None:
        return None
    return first.earliest(zone), last.latest(zone)


def _moment(value: Any) -> Moment | None:
    try:
        return moment(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _objects(value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, dict):
        return [value]
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
