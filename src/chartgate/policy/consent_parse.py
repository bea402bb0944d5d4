"""A FHIR R4 Consent as a directive. What cannot be understood in it makes it deny.

Source: https://hl7.org/fhir/R4/consent.html, profiles of https://profiles.ihe.net/ITI/PCF/
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from chartgate.formats.r4_structure import structure_findings
from chartgate.model.consent import Code
from chartgate.model.label import CONFIDENTIALITY as LEVELS
from chartgate.policy.consent_codes import (
    ACT_CODE,
    ACT_REASON,
    CONFIDENTIALITY,
    CONSENT_CATEGORY,
    CONSENT_SCOPE,
    LOINC,
    code_of,
    is_sensitivity,
)
from chartgate.policy.consent_provisions import Actor, Datum, LabelLimit, Provision
from chartgate.policy.consent_times import Moment, Period, moment

Json = Mapping[str, Any]
Standing = Literal["in-force", "refused", "revocation"]

DEPTH_MAX = 16  # provisions within provisions; real ones have two or three
PROVISIONS_MAX = 500  # of one consent
WALK_DEPTH_MAX = 80
REVOCATION = ("urn:chartgate:consent", "revocation")  # a tag of what Chartgate wrote itself
NOT_IN_FORCE = frozenset({"draft", "proposed", "inactive", "entered-in-error"})
OTHER_SCOPES = frozenset({"treatment", "adr"})  # of a procedure, or for the end of life
PERMITTING = frozenset({"OPTIN", "OPTINR"})  # base rules, with exceptions or without
DENYING = frozenset({"OPTOUT", "OPTOUTE"})
# A notice that was read, a living will, a power of attorney: no permission to share anything.
NO_PERMISSION = frozenset(
    [(CONSENT_CATEGORY, c) for c in ("acd", "dnr", "hcd", "npp", "polst")]
    + [(LOINC, c) for c in ("57016-8", "57017-6")]
)
EMERGENCY_ONLY = (CONSENT_CATEGORY, "emrgonly")
PART2_FORMS = frozenset({(ACT_CODE, "42CFRPart2CD"), (ACT_CODE, "42CFRPart2")})


class Unreadable(ValueError):
    """What of a consent is not understood, without any of its content."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Directive:
    """What one Consent says. With `unreadable` it denies whatever is asked of its patient."""

    id: str  # "Consent/9"
    patient: str  # reference as written; "" where it cannot be told
    unreadable: str = ""
    standing: Standing = "in-force"
    permits: bool = True  # False: its permissions are none (a notice, or not verified)
    given: Moment | None = None
    root: Provision | None = None
    # What 42 CFR 2.31 asks of a consent beside its provisions:
    discloser: bool = False
    signed: bool = False
    part2_form: bool = False


def parse_consent(resource: Any) -> Directive | None:
    """What a Consent says; None where it is not in force, or about something else than sharing."""
    if not isinstance(resource, dict) or resource.get("resourceType") != "Consent":
        return Directive(id="Consent/?", patient="", unreadable="it is no Consent")
    id_, patient = resource.get("id"), resource.get("patient")
    name = f"Consent/{id_}" if isinstance(id_, str) and len(id_) <= 64 else "Consent/?"
    whose = patient.get("reference") if isinstance(patient, dict) else None
    blank = Directive(id=name, patient=whose if isinstance(whose, str) else "")
    try:
        return _directive(resource, blank)
    except Unreadable as error:
        return replace(blank, unreadable=str(error))


def _directive(resource: Json, blank: Directive) -> Directive | None:
    _check_plain(resource)
    status = str(resource.get("status"))
    if status in NOT_IN_FORCE:
        return None
    if status not in ("active", "rejected"):
        raise Unreadable("its status is none of FHIR's")
    finding = next(structure_findings(resource), "")
    if finding:
        raise Unreadable(finding.partition(": ")[0])
    if not blank.patient:
        raise Unreadable("it does not refer to its patient")
    categories = {code for each in resource["category"] for code in _codes(each)}
    scope = _scope(resource)
    if scope in OTHER_SCOPES:
        return None
    rules = set(_codes(resource.get("policyRule")))
    root = _root(resource, rules, _implied_purposes(scope, categories))
    date = resource.get("dateTime")
    return replace(
        blank,
        standing=_standing(resource),
        permits=_is_verified(resource) and not (categories and categories <= NO_PERMISSION),
        given=_moment(date) if date is not None else None,
        root=root,
        discloser=bool(resource.get("organization")),
        signed=bool(resource.get("performer"))
        and ("sourceReference" in resource or "sourceAttachment" in resource),
        part2_form=bool(PART2_FORMS & (categories | rules)),
    )


def _check_plain(resource: Json) -> None:
    """Nothing in it changes what the rest means, and nothing is there without its value."""
    if "implicitRules" in resource:
        raise Unreadable("it follows implicit rules")
    for holder in _objects(resource, WALK_DEPTH_MAX):
        if "modifierExtension" in holder:
            raise Unreadable("it has a modifier extension")
        for name, value in holder.items():
            extends = name[:1] == "_"
            if value is None or (type(value) is list and None in value and not extends):
                raise Unreadable("a value in it is null")
            if extends and name[1:] not in holder:
                raise Unreadable("a value in it is left out, with an extension in its place")


def _objects(value: Any, depth: int) -> Iterator[Json]:
    if depth == 0:
        raise Unreadable("it nests too deep")
    if type(value) is dict:
        yield value
        for name, inner in value.items():
            if name != "text":
                yield from _objects(inner, depth - 1)
    elif type(value) is list:
        for inner in value:
            yield from _objects(inner, depth - 1)


def _standing(resource: Json) -> Standing:
    tags = resource.get("meta", {}).get("tag", [])
    if any((tag.get("system"), tag.get("code")) == REVOCATION for tag in tags):
        return "revocation"
    return "refused" if resource["status"] == "rejected" else "in-force"


def _scope(resource: Json) -> str:
    known = {code for system, code in _codes(resource["scope"]) if system == CONSENT_SCOPE}
    if len(known) != 1 or not known <= OTHER_SCOPES | {"patient-privacy", "research"}:
        raise Unreadable("its scope is none that is known")
    return known.pop()


def _implied_purposes(scope: str, categories: set[Code]) -> tuple[Code, ...] | None:
    """Purposes that a root without any has by what kind of consent it is."""
    if EMERGENCY_ONLY in categories:
        return ((ACT_REASON, "ETREAT"),)
    return ((ACT_REASON, "HRESCH"),) if scope == "research" else None


def _is_verified(resource: Json) -> bool:
    """Where somebody was to verify it with the patient: whether they did."""
    verified = [each.get("verified") for each in resource.get("verification", [])]
    return not verified or True in verified


def _root(resource: Json, rules: set[Code], implied: tuple[Code, ...] | None) -> Provision:
    named = {code for system, code in rules if system == ACT_CODE}
    if "policyRule" not in resource and not resource.get("policy"):
        raise Unreadable("it names no policy")
    held = resource.get("provision", {})
    base = {True for code in named & PERMITTING} | {False for code in named & DENYING}
    if "type" in held:
        base.add(held["type"] == "permit")
    if len(base) != 1:
        raise Unreadable("it says both yes and no" if base else "it says neither yes nor no")
    counter = iter(range(PROVISIONS_MAX))
    around = Provision(path="", permit=base.pop(), purposes=implied)
    return _provision(held, around, path="0", depth=DEPTH_MAX, counter=counter)


def _provision(
    held: Json, around: Provision, *, path: str, depth: int, counter: Iterator[int]
) -> Provision:
    if depth == 0 or next(counter, None) is None:
        raise Unreadable("it has too many provisions within provisions")
    if "type" not in held and path != "0":
        raise Unreadable("a provision says neither permit nor deny")
    periods = (_period(held["period"]),) if "period" in held else ()
    own: dict[str, Any] = {
        field: read(held[name]) for name, (field, read) in READERS.items() if name in held
    }
    this = replace(
        around,
        path=path,
        permit=held["type"] == "permit" if "type" in held else around.permit,
        periods=around.periods + periods,
        bare=None,
        **own,
    )
    inner = tuple(
        _provision(each, this, path=f"{path}.{index}", depth=depth - 1, counter=counter)
        for index, each in enumerate(held.get("provision", []))
    )
    bare = None if this.permit else Provision(path=path, permit=False, periods=this.periods, **own)
    return replace(this, inner=inner, bare=bare)


def _actors(value: Sequence[Json]) -> tuple[Actor, ...]:
    return tuple(
        Actor(
            roles=_codes(each["role"]),
            reference=each["reference"].get("reference", ""),
            identifier=_identifier(each["reference"].get("identifier", {})),
        )
        for each in value
    )


def _identifier(value: Json) -> str:
    system, own = value.get("system"), value.get("value")
    return f"{system}|{own}" if system and own else ""


def _labels(value: Sequence[Json]) -> LabelLimit:
    codes = [_coding(each) for each in value]
    levels = tuple(c for s, c in codes if s == CONFIDENTIALITY and c in LEVELS)
    named = frozenset(c for s, c in codes if s == ACT_CODE and is_sensitivity(c))
    return LabelLimit(
        confidentiality=levels,
        sensitivities=named,
        strange=any(
            not (s == CONFIDENTIALITY and c in LEVELS) and not (s == ACT_CODE and c in named)
            for s, c in codes
        ),
    )


def _data(value: Sequence[Json]) -> tuple[Datum, ...]:
    return tuple(
        Datum(meaning=each["meaning"], reference=each["reference"].get("reference", ""))
        for each in value
    )


def _period(value: Json) -> Period:
    period = Period(
        start=_moment(value["start"]) if "start" in value else None,
        end=_moment(value["end"]) if "end" in value else None,
    )
    if period.start is None and period.end is None:
        raise Unreadable("a period has neither start nor end")
    if period.is_backward:
        raise Unreadable("a period ends before it starts")
    return period


def _moment(value: str) -> Moment:
    try:
        return moment(value)
    except ValueError:
        raise Unreadable("a date in it is none") from None


def _codes(concept: Any) -> tuple[Code, ...]:
    held = concept.get("coding", []) if isinstance(concept, dict) else []
    return tuple(_coding(each) for each in held)


def _coding(value: Json) -> Code:
    return code_of(value.get("system", ""), value.get("code", ""))


def _concepts_flat(value: Sequence[Json]) -> tuple[Code, ...]:
    """Of several concepts; one that is text alone is a code that nobody knows."""
    return tuple(code for each in value for code in _codes(each) or (("", ""),))


def _concepts(value: Sequence[Json]) -> tuple[tuple[Code, ...], ...]:
    return tuple(_codes(each) for each in value)


def _codings(value: Sequence[Json]) -> tuple[Code, ...]:
    return tuple(_coding(each) for each in value)


# Element of a provision: the field that it fills, and how.
READERS: Mapping[str, tuple[str, Any]] = {
    "actor": ("actors", _actors),
    "action": ("actions", _concepts_flat),
    "purpose": ("purposes", _codings),
    "securityLabel": ("labels", _labels),
    "class": ("classes", _codings),
    "code": ("codes", _concepts),
    "dataPeriod": ("data_period", _period),
    "data": ("data", _data),
}
