"""What a provision means: each criterion met, missed and not known; and nesting to any depth."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from chartgate.policy.consent_codes import CONSENT_ACTION, LOINC
from tests.policy.consents import (
    AT,
    Json,
    answered,
    consent,
    label_codes,
    labelled,
    permitted,
    provision,
    purposes,
    recipient,
)

TYPES = "http://hl7.org/fhir/resource-types"


def concept(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def data(meaning: str, reference: str) -> list[Json]:
    return [{"meaning": meaning, "reference": {"reference": reference}}]


def actor(*, role: str = "IRCP", **reference: Any) -> list[Json]:
    whole = recipient("Organization/clinic")
    whole["role"]["coding"][0]["code"] = role
    return [{**whole, "reference": reference or whole["reference"]}]


# Criteria of one provision, the question, and whether it is met: yes, no, or it cannot be told.
# A provision that permits needs a yes; one that denies is stopped by nothing but a no.
MET: list[tuple[Json, Json, str]] = [
    ({"purpose": purposes("TREAT")}, {}, "yes"),
    ({"purpose": purposes("PurposeOfUse")}, {}, "yes"),
    ({"purpose": purposes("HRESCH", "TREAT")}, {}, "yes"),
    ({"purpose": purposes("TREAT")}, {"purpose": "BTG"}, "yes"),
    ({"purpose": purposes("BTG")}, {}, "no"),
    ({"purpose": purposes("HRESCH")}, {}, "no"),
    ({"purpose": purposes("HRESCH")}, {"purpose": ""}, "unsure"),
    ({"purpose": purposes("MADEUP")}, {}, "unsure"),
    ({"purpose": [{"code": "TREAT"}]}, {}, "unsure"),
    ({"purpose": [{"system": "https://own", "code": "TREAT"}]}, {}, "unsure"),
    ({"purpose": [{"system": "https://own", "code": "x"}]}, {"purpose": "https://own|x"}, "yes"),
    ({"purpose": [{"system": "https://own", "code": "x"}]}, {"purpose": "https://own|y"}, "no"),
    ({"purpose": [{"system": "urn:oid:2.16.840.1.113883.5.8", "code": "TREAT"}]}, {}, "yes"),
    ({"actor": [recipient("Organization/clinic")]}, {}, "yes"),
    ({"actor": [recipient("Organization/other"), recipient("Organization/clinic")]}, {}, "yes"),
    ({"actor": [recipient("Practitioner/b")]}, {}, "no"),
    ({"actor": [recipient("https://x.example/fhir/Organization/clinic")]}, {}, "unsure"),
    ({"actor": [recipient("Organization/clinic/_history/2")]}, {}, "yes"),
    ({"actor": [recipient("Group/staff")]}, {}, "unsure"),
    ({"actor": [recipient("CareTeam/1")]}, {}, "unsure"),
    ({"actor": [recipient("Group/staff")]}, {"actors": frozenset({"Group/staff"})}, "yes"),
    ({"actor": [recipient("#contained")]}, {"actors": frozenset({"#contained"})}, "unsure"),
    ({"actor": actor(display="my doctors")}, {}, "unsure"),
    ({"actor": actor(identifier={"system": "npi", "value": "1"})}, {}, "unsure"),
    (
        {"actor": actor(identifier={"system": "npi", "value": "1"})},
        {"actors": frozenset({"npi|1"})},
        "yes",
    ),
    ({"actor": actor(role="CST")}, {}, "unsure"),  # the custodian, who receives nothing
    ({"actor": actor(role="PRCP")}, {}, "yes"),
    ({"action": [concept(CONSENT_ACTION, "access")]}, {}, "yes"),
    ({"action": [concept(CONSENT_ACTION, "collect")]}, {}, "no"),
    ({"action": [concept(CONSENT_ACTION, "access")]}, {"action": "correct"}, "no"),
    ({"action": [concept("https://own", "access")]}, {}, "unsure"),
    ({"action": [{"text": "peek"}]}, {}, "unsure"),
    ({"class": [{"system": TYPES, "code": "Observation"}]}, {}, "yes"),
    ({"class": [{"system": TYPES, "code": "Condition"}]}, {}, "no"),
    ({"class": [{"system": TYPES, "code": "Condition"}]}, {"resource_type": ""}, "unsure"),
    ({"class": [{"system": LOINC, "code": "2339-0"}]}, {}, "yes"),
    ({"class": [{"system": LOINC, "code": "34133-9"}]}, {}, "unsure"),
    ({"code": [concept(LOINC, "2339-0")]}, {}, "yes"),
    ({"code": [concept(LOINC, "1-8")]}, {}, "no"),
    ({"code": [concept("http://snomed.info/sct", "1")]}, {}, "unsure"),
    ({"code": [{"text": "sugar"}]}, {}, "unsure"),
    ({"code": [concept(LOINC, "1-8")]}, {"codes": None}, "unsure"),
    ({"code": [concept(LOINC, "1-8")]}, {"codes": frozenset(), "directory": True}, "no"),
    ({"dataPeriod": {"start": "2026-01-01"}}, {}, "yes"),
    ({"dataPeriod": {"start": "2026-06-01"}}, {}, "no"),
    ({"dataPeriod": {"end": "2026-03-01"}}, {}, "yes"),
    ({"dataPeriod": {"end": "2026-03-01T08:30:00Z"}}, {}, "unsure"),  # half of it
    ({"dataPeriod": {"end": "2026-03-01"}}, {"dated": None}, "unsure"),
    ({"dataPeriod": {"end": "2026-03-01"}}, {"dated": None, "directory": True}, "no"),
    ({"data": data("instance", "Observation/1")}, {}, "yes"),
    ({"data": data("instance", "Observation/2")}, {}, "no"),
    ({"data": data("instance", "Observation/2")}, {"reference": ""}, "unsure"),
    ({"data": data("instance", "https://x.example/Observation/1")}, {}, "unsure"),
    ({"data": data("related", "Encounter/3")}, {}, "yes"),
    ({"data": data("related", "Encounter/4")}, {}, "no"),
    ({"data": data("related", "Observation/1")}, {}, "yes"),
    ({"data": data("dependents", "Encounter/3")}, {}, "yes"),
    ({"data": data("dependents", "Encounter/4")}, {"related": None}, "unsure"),
    ({"data": data("authoredby", "Practitioner/a")}, {}, "yes"),
    ({"data": data("authoredby", "Practitioner/z")}, {}, "no"),
    ({"data": data("authoredby", "Organization/lab")}, {}, "unsure"),
    ({"data": data("authoredby", "Practitioner/z")}, {"authors": None}, "unsure"),
    (
        {"data": data("authoredby", "Practitioner/z")},
        {"authors": frozenset({"Practitioner/a", "Organization/lab"})},
        "no",
    ),
    ({"data": [{"meaning": "instance", "reference": {"display": "the note"}}]}, {}, "unsure"),
    (
        {"data": data("authoredby", "Practitioner/z")},
        {"authors": None, "directory": True},
        "no",
    ),
    ({"period": {"start": "2026-01-01", "end": "2026-12-31"}}, {}, "yes"),
    ({"period": {"end": "2026-06-14"}}, {}, "no"),
    ({"period": {"start": "2026-06-17"}}, {}, "no"),
    ({"period": {"end": "2026-06-15"}}, {}, "unsure"),  # it ended in the east
    ({"period": {"end": "2026-06-15T12:00:00Z"}}, {}, "yes"),  # the end is within
    ({"period": {"end": "2026-06-15T11:59:59Z"}}, {}, "no"),
]


@pytest.mark.parametrize(("criteria", "asked", "expected"), MET)
def test_provision_permits_what_it_surely_means_and_denies_what_it_may_mean(
    criteria: Json, asked: Json, expected: str
) -> None:
    assert permitted(consent(provision(**criteria)), **asked) is (expected == "yes")
    denying = answered(consent(provision("deny", **criteria)), mode="opt-out", **asked)
    assert denying.permitted is (expected == "no")


@pytest.mark.parametrize("named", ["access", "use", "disclose"])
def test_a_no_to_any_way_of_reading_is_a_no_to_reading(named: str) -> None:
    no = consent(provision("deny", action=[concept(CONSENT_ACTION, named)]))
    assert not answered(no, mode="opt-out").permitted
    yes = consent(provision(action=[concept(CONSENT_ACTION, named)]))
    assert permitted(yes) is (named == "access")


def test_code_that_is_only_mentioned_denies_and_does_not_permit() -> None:
    code = [concept(LOINC, "8480-6")]
    assert not permitted(consent(provision(code=code)))
    assert not answered(consent(provision("deny", code=code)), mode="opt-out").permitted


LABELS: list[tuple[tuple[str, ...], tuple[str, ...], bool, bool]] = [
    # named, of the resource, permitted by it, denied by it
    (("N",), ("N",), True, True),
    (("N",), ("L",), True, False),
    (("N",), ("R",), False, True),
    (("N",), ("N", "PSY"), False, True),
    (("R",), ("N",), True, False),
    (("R",), ("R", "HIV"), True, True),
    (("R",), ("V", "HIV"), False, True),
    (("PSY",), ("R", "PSY"), True, True),
    (("PSY",), ("N", "PSY"), True, True),
    (("PSY",), ("V", "PSY"), False, True),
    (("PSY",), ("R",), False, False),
    (("PSY",), ("N",), False, False),
    (("PSY",), ("R", "PSY", "HIV"), False, True),
    (("N", "PSY"), ("N",), True, True),
    (("R", "PSY"), ("R", "HIV"), False, True),
    (("MH",), ("R", "PSY"), True, True),
    (("PSY",), ("R", "MH"), False, True),  # may be psychiatry
    (("ODD", "N"), ("N",), False, True),
    (("ODD",), ("N",), False, True),
    (("V",), ("V",), True, True),
]


@pytest.mark.parametrize(("named", "has", "permits", "denies"), LABELS)
def test_labels_are_covered_by_those_that_permit_and_touched_by_those_that_deny(
    named: tuple[str, ...], has: tuple[str, ...], permits: bool, denies: bool
) -> None:
    limit: Json = {"securityLabel": label_codes(*named)}
    labels = labelled(*has)
    assert permitted(consent(provision(**limit)), labels=labels) is permits
    no = answered(consent(provision("deny", **limit)), mode="opt-out", labels=labels)
    assert no.permitted is not denies


def nested(depth: int, *, innermost: str) -> Json:
    """Permit in deny in permit …, each meaning everything, down to `innermost`."""
    kinds = ["permit", "deny"]
    here = provision(innermost)
    for level in range(depth):
        here = provision(kinds[(level + kinds.index(innermost) + 1) % 2], here)
    return here


@pytest.mark.parametrize("depth", range(15))
@pytest.mark.parametrize("innermost", ["permit", "deny"])
def test_the_innermost_provision_that_is_meant_decides(depth: int, innermost: str) -> None:
    root = nested(depth, innermost=innermost)
    found = answered(consent(root), mode="opt-in")
    assert found.permitted is (innermost == "permit")
    assert found.rule == "Consent/c1#" + ".".join(["0"] * (depth + 1))


@pytest.mark.parametrize("mode", ["opt-in", "opt-out", "not-needed"])
def test_provisions_nested_deeper_than_the_cap_deny(mode: Any) -> None:
    assert not answered(consent(nested(16, innermost="permit")), mode=mode).permitted


def test_too_many_provisions_deny() -> None:
    many = provision("permit", *[provision("permit")] * 499)
    assert permitted(consent(many))
    assert not permitted(consent(provision("permit", *[provision("permit")] * 500)))


OBSERVATION = {"class": [{"system": TYPES, "code": "Observation"}]}
CLINIC = {"actor": [recipient("Organization/clinic")]}


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        (provision("permit", provision("deny", **OBSERVATION)), "0.0"),
        (provision("permit", provision("deny", purpose=purposes("HRESCH"))), "0"),
        (provision("deny", provision("permit", **OBSERVATION)), "0.0"),
        # of two exceptions that are meant the one that denies wins, wherever it stands
        (provision("permit", provision("permit", **CLINIC), provision("deny", **OBSERVATION)), "0.1"),
        (provision("deny", provision("deny", **OBSERVATION), provision("permit", **CLINIC)), "0.0"),
        # an exception to an exception
        (
            provision("permit", provision("deny", provision("permit", **CLINIC), **OBSERVATION)),
            "0.0.0",
        ),
        # what is not said again holds on: the inner permit is for treatment too
        (
            provision(
                "deny",
                provision("permit", **CLINIC),
                purpose=purposes("TREAT"),
            ),
            "0.0",
        ),
        # what is said again stands instead: for research although the root is for treatment
        (
            provision(
                "permit",
                provision("deny", purpose=purposes("TREAT")),
                purpose=purposes("HRESCH"),
            ),
            "0.0",
        ),
    ],
)  # fmt: skip
def test_exceptions(root: Json, expected: str) -> None:
    assert answered(consent(root)).rule == f"Consent/c1#{expected}"


def test_an_exception_never_outlives_its_consent() -> None:
    inner = provision("permit", period={"end": "2030"})
    over = consent(provision("permit", inner, period={"end": "2025"}))
    assert not permitted(over)
    assert answered(over, mode="opt-out").permitted, "it is over, and says nothing any more"


def test_an_exception_for_another_purpose_permits_beyond_its_root() -> None:
    root = provision(
        "permit",
        provision("permit", purpose=purposes("BTG"), securityLabel=label_codes("R")),
        purpose=purposes("TREAT"),
        securityLabel=label_codes("N"),
    )
    labels = labelled("R", "PSY")
    assert not permitted(consent(root), labels=labels)
    assert permitted(consent(root), labels=labels, purpose="BTG")


@pytest.mark.parametrize("inner", [{"purpose": purposes("TREAT")}, {"type": "maybe"}])
def test_inner_provision_without_a_type_denies_everything(inner: Json) -> None:
    root = {"type": "permit", "provision": [inner]}
    assert not answered(consent(root), mode="opt-out", purpose="HRESCH").permitted


def test_time_zone_of_the_site_settles_days() -> None:
    from_zone: Json = {"period": {"end": "2026-06-15"}}
    late = AT.replace(hour=21, minute=59)
    berlin = ZoneInfo("Europe/Berlin")
    yes = consent(provision(**from_zone))
    assert permitted(yes, at=late, zone=berlin)
    assert not permitted(yes, at=late.replace(hour=22, minute=0), zone=berlin)
    assert not permitted(yes, at=late)
