"""Reading a Consent: what is understood, and that everything else makes it deny, and says why."""

from copy import deepcopy
from typing import Any

import pytest

from chartgate.model.consent import Code
from chartgate.policy.consent_codes import (
    ACT_CODE,
    ACT_REASON,
    CONFIDENTIALITY,
    CONSENT_CATEGORY,
    CONSENT_SCOPE,
    LOINC,
    PARTICIPATION,
)
from chartgate.policy.consent_parse import (
    DEPTH_MAX,
    PROVISIONS_MAX,
    WALK_DEPTH_MAX,
    Directive,
    parse_consent,
)
from chartgate.policy.consent_provisions import Actor, Datum, LabelLimit, Provision
from chartgate.policy.consent_times import Period, moment
from tests.policy.consents import (
    PATIENT,
    Json,
    consent,
    label_codes,
    provision,
    purposes,
    recipient,
)


def parsed(resource: Any) -> Directive:
    found = parse_consent(resource)
    assert found is not None
    return found


def changed(path: str, value: Any) -> Json:
    """A sound consent with one place of it changed; a value of None takes it away."""
    whole = deepcopy(
        consent(
            provision(
                "permit",
                provision("deny", purpose=purposes("HRESCH")),
                period={"start": "2026-01-01", "end": "2027-01-01"},
                actor=[recipient("Organization/clinic")],
                data=[{"meaning": "instance", "reference": {"reference": "Encounter/1"}}],
                securityLabel=label_codes("N"),
            )
        )
    )
    *way, last = path.split(".")
    here: Any = whole
    for step in way:
        here = here[int(step)] if isinstance(here, list) else here[step]
    place: Any = int(last) if isinstance(here, list) else last
    if value is None:
        del here[place]
    else:
        here[place] = value
    return whole


def test_a_sound_consent_is_read() -> None:
    found = parsed(changed("id", "c7"))
    assert (found.id, found.patient, found.unreadable) == ("Consent/c7", "Patient/7", "")
    assert (found.standing, found.permits, found.discloser, found.signed) == (
        "in-force",
        True,
        True,
        True,
    )
    assert found.root is not None
    assert [each.path for each in found.root.inner] == ["0.0"]


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("status", None, "its status is none of FHIR's"),
        ("status", "aktiv", "its status is none of FHIR's"),
        ("status", ["active"], "its status is none of FHIR's"),
        ("scope", None, "Consent.scope is required"),
        ("scope", {"text": "privacy"}, "its scope is none that is known"),
        ("scope", {"coding": [{"system": "https://own", "code": "patient-privacy"}]}, "its scope"),
        ("category", None, "Consent.category is required"),
        ("patient", None, "does not refer to its patient"),
        ("patient", {"display": "Ann"}, "does not refer to its patient"),
        ("policy", None, "it names no policy"),
        ("provision.type", None, "it says neither yes nor no"),
        ("provision.provision.0.type", None, "a provision says neither permit nor deny"),
        ("provision.provision.0.purpose", [], "must not be empty"),
        ("provision.period", {}, "must not be empty"),
        ("provision.period", {"start": "2027-01-01", "end": "2026-01-01"}, "ends before it starts"),
        ("provision.period.end", "31.12.2026", "Consent.provision.period.end must be of the type"),
        ("provision.period.end", "2026-02-30", "a date in it is none"),
        ("provision.period.end", None, ""),
        ("provision.period._end", {"extension": [{"url": "u", "valueCode": "masked"}]}, ""),
        ("provision.actor.0.reference", None, "reference is required"),
        ("provision.actor.0.role", None, "role is required"),
        ("provision.data.0.meaning", "about", "must be one of the codes"),
        ("provision.documentType", [{"code": "x"}], "has no element documentType"),
        ("provision.modifierExtension", [{"url": "u", "valueBoolean": True}], "modifier extension"),
        ("provision.actor.0.modifierExtension", [{"url": "u", "valueCode": "x"}], "modifier extension"),
        ("modifierExtension", [{"url": "u", "valueBoolean": True}], "modifier extension"),
        ("implicitRules", "https://example.org/rules", "implicit rules"),
        ("provision.securityLabel.0", {"system": "s"}, ""),
        ("dateTime", "yesterday", "Consent.dateTime must be of the type"),
        ("decision", "permit", "has no element decision"),  # of R5
    ],
)  # fmt: skip
def test_what_is_not_understood_is_said(path: str, value: Any, why: str) -> None:
    found = parsed(changed(path, value))
    assert bool(found.unreadable) is bool(why)
    assert why in found.unreadable


def test_end_that_is_left_out_with_an_extension_is_no_open_end() -> None:
    whole = changed("provision.period.end", None)
    whole["provision"]["period"]["_end"] = {"extension": [{"url": "u", "valueCode": "masked"}]}
    assert "left out, with an extension in its place" in parsed(whole).unreadable


@pytest.mark.parametrize("value", [None, [None]])
def test_null_is_not_taken_for_nothing(value: Any) -> None:
    whole = changed("id", "c1")
    whole["provision"]["purpose"] = value
    assert "null" in parsed(whole).unreadable


def test_what_it_says_of_itself_is_not_quoted() -> None:
    whole = changed("status", "CANARY-7")
    whole["provision"]["CANARYFIELD"] = "CANARY-8"
    assert "CANARY" not in parsed(whole).unreadable


def test_narrative_and_plain_extensions_change_nothing() -> None:
    whole = changed("extension", [{"url": "https://example.org/x", "valueString": "y"}])
    whole["text"] = {"status": "generated", "div": "<div>deny everything</div>"}
    assert parsed(whole).unreadable == ""


# Everything that is read, in one consent, and what of it holds on within.


def coded(*codes: tuple[str, str]) -> Json:
    return {"coding": [{"system": system, "code": code} for system, code in codes]}


WITHIN: Json = provision(
    "deny",
    provision("permit", period={"start": "2026-05-01"}),
    period={"end": "2026-06-30"},
    actor=[{"role": coded(("r", "X")), "reference": {"identifier": {"system": "s", "value": "v"}}},
           {"role": {"text": "kin"}, "reference": {"identifier": {"value": "v"}, "display": "Ann"}}],
    action=[coded(("a", "1"), ("a", "2")), {"text": "read"}],
    purpose=purposes("HRESCH"),
    securityLabel=[*label_codes("R", "PSY"), {"system": "own", "code": "X"}],
    class_=[{"system": "c", "code": "Observation"}],
    code=[coded(("l", "1"), ("l", "2")), {"text": "glucose"}],
    dataPeriod={"start": "2025-01-01"},
    data=[{"meaning": "related", "reference": {"display": "that one"}},
          {"meaning": "instance", "reference": {"reference": "Encounter/1"}}],
)  # fmt: skip
WHOLE = consent(
    provision(
        "permit",
        WITHIN,
        period={"start": "2026-01-01", "end": "2026-12-31"},
        actor=[recipient("Organization/clinic")],
        securityLabel=label_codes("N"),
    ),
    id="c9",
    category=[coded((LOINC, "59284-0"))],
)


def period(start: str | None = None, end: str | None = None) -> Period:
    return Period(
        start=moment(start) if start is not None else None,
        end=moment(end) if end is not None else None,
    )


def test_all_that_a_consent_says_is_read_and_holds_on_within() -> None:
    around = period("2026-01-01", "2026-12-31")
    until = period(None, "2026-06-30")
    outer: dict[str, Any] = {
        "actors": (Actor(roles=((PARTICIPATION, "IRCP"),), reference="Organization/clinic"),),
        "labels": LabelLimit(confidentiality=("N",), sensitivities=frozenset(), strange=False),
    }
    inner: dict[str, Any] = {
        "actors": (
            Actor(roles=(("r", "X"),), reference="", identifier="s|v"),
            Actor(roles=(), reference="", identifier=""),
        ),
        "actions": (("a", "1"), ("a", "2"), ("", "")),
        "purposes": ((ACT_REASON, "HRESCH"),),
        "labels": LabelLimit(
            confidentiality=("R",), sensitivities=frozenset({"PSY"}), strange=True
        ),
        "classes": (("c", "Observation"),),
        "codes": ((("l", "1"), ("l", "2")), ()),
        "data_period": period("2025-01-01"),
        "data": (
            Datum(meaning="related", reference=""),
            Datum(meaning="instance", reference="Encounter/1"),
        ),
    }
    both = (around, until)
    innermost = Provision(path="0.0.0", permit=True, periods=(*both, period("2026-05-01")), **inner)
    denial = Provision(
        path="0.0",
        permit=False,
        periods=both,
        inner=(innermost,),
        bare=Provision(path="0.0", permit=False, periods=both, **inner),
        **inner,
    )
    assert parsed(WHOLE) == Directive(
        id="Consent/c9",
        patient=PATIENT,
        given=moment("2026-01-10"),
        root=Provision(path="0", permit=True, periods=(around,), inner=(denial,), **outer),
        discloser=True,
        signed=True,
    )


@pytest.mark.parametrize(
    ("labels", "limit"),
    [
        ([(CONFIDENTIALITY, "R"), (CONFIDENTIALITY, "V")], (("R", "V"), set(), False)),
        ([(ACT_CODE, "PSY"), (ACT_CODE, "ETH")], ((), {"PSY", "ETH"}, False)),
        ([(CONFIDENTIALITY, "N"), (ACT_CODE, "PSY")], (("N",), {"PSY"}, False)),
        ([(CONFIDENTIALITY, "PSY")], ((), set(), True)),
        ([(ACT_CODE, "R")], ((), set(), True)),
        ([("urn:own", "R")], ((), set(), True)),
        ([("urn:own", "PSY")], ((), set(), True)),
        ([(ACT_CODE, "PSY"), ("urn:own", "PSY")], ((), {"PSY"}, True)),
        ([(ACT_CODE, "NONSENSE"), (CONFIDENTIALITY, "R")], (("R",), set(), True)),
    ],
)
def test_labels_are_known_by_their_systems(
    labels: list[Code], limit: tuple[tuple[str, ...], set[str], bool]
) -> None:
    held = [{"system": system, "code": code} for system, code in labels]
    root = parsed(consent(provision(securityLabel=held))).root
    assert root is not None
    levels, sensitivities, strange = limit
    assert root.labels == LabelLimit(
        confidentiality=levels, sensitivities=frozenset(sensitivities), strange=strange
    )


def only(**changes: Any) -> Directive:
    return parsed(consent(**changes))


PERMITS, DENIES = True, False


@pytest.mark.parametrize(
    ("rule", "held", "permit", "why"),
    [
        (None, provision("permit"), PERMITS, ""),
        (None, provision("deny"), DENIES, ""),
        ("OPTIN", {}, PERMITS, ""),
        ("OPTINR", {}, PERMITS, ""),
        ("OPTOUT", {}, DENIES, ""),
        ("OPTOUTE", {}, DENIES, ""),
        ("OPTIN", provision("permit"), PERMITS, ""),
        ("OPTIN", provision("deny"), None, "it says both yes and no"),
        ("OPTOUT", provision("permit"), None, "it says both yes and no"),
        ("OPTWHAT", {}, None, "it says neither yes nor no"),
        ("OPTWHAT", provision("deny"), DENIES, ""),
    ],
)
def test_yes_or_no_comes_from_the_rule_or_from_the_provision(
    rule: str | None, held: Json, permit: bool | None, why: str
) -> None:
    changes: Json = {"provision": held or None}
    if rule is not None:
        changes |= {"policyRule": coded((ACT_CODE, rule)), "policy": None}
    found = only(**changes)
    assert found.unreadable == why
    assert (found.root.permit if found.root else None) is permit
    elsewhere = only(**{**changes, "policyRule": coded(("urn:own", rule or "x"))})
    assert elsewhere.unreadable == ("" if held else "it says neither yes nor no")


@pytest.mark.parametrize("status", ["draft", "proposed", "inactive", "entered-in-error"])
def test_consent_that_is_not_in_force_says_nothing(status: str) -> None:
    assert parse_consent(consent(status=status)) is None


@pytest.mark.parametrize("scope", ["treatment", "adr"])
def test_consent_to_something_else_than_sharing_says_nothing(scope: str) -> None:
    assert parse_consent(consent(scope=coded((CONSENT_SCOPE, scope)))) is None


@pytest.mark.parametrize(
    ("codes", "why"),
    [
        ([(CONSENT_SCOPE, "patient-privacy")], ""),
        ([(CONSENT_SCOPE, "patient-privacy"), ("urn:own", "adr")], ""),
        ([(CONSENT_SCOPE, "patient-privacy"), (CONSENT_SCOPE, "adr")], "its scope is none"),
        ([(CONSENT_SCOPE, "sharing")], "its scope is none"),
        ([("urn:own", "adr")], "its scope is none"),
    ],
)
def test_scope_is_one_that_is_known(codes: list[Code], why: str) -> None:
    assert only(scope=coded(*codes)).unreadable.startswith(why)
    assert bool(only(scope=coded(*codes)).unreadable) == bool(why)


@pytest.mark.parametrize(
    ("changes", "implied"),
    [
        ({}, None),
        ({"scope": coded((CONSENT_SCOPE, "research"))}, ((ACT_REASON, "HRESCH"),)),
        ({"category": [coded((CONSENT_CATEGORY, "emrgonly"))]}, ((ACT_REASON, "ETREAT"),)),
        ({"category": [coded(("urn:own", "emrgonly"))]}, None),
        ({"category": [coded((CONSENT_CATEGORY, "emrgonly"))],
          "scope": coded((CONSENT_SCOPE, "research"))}, ((ACT_REASON, "ETREAT"),)),
    ],
)  # fmt: skip
def test_kind_of_consent_implies_its_purpose(changes: Json, implied: Any) -> None:
    bare, named = only(**changes), only(**changes, provision=provision(purpose=purposes("TREAT")))
    assert bare.root is not None
    assert named.root is not None
    assert (bare.root.purposes, named.root.purposes) == (implied, ((ACT_REASON, "TREAT"),))


@pytest.mark.parametrize(
    ("categories", "permits"),
    [
        ([(LOINC, "59284-0")], True),
        ([(CONSENT_CATEGORY, "npp")], False),
        ([(CONSENT_CATEGORY, "acd"), (CONSENT_CATEGORY, "dnr")], False),
        ([(CONSENT_CATEGORY, "hcd")], False),
        ([(CONSENT_CATEGORY, "polst")], False),
        ([(LOINC, "57016-8")], False),
        ([(LOINC, "57017-6")], False),
        ([(CONSENT_CATEGORY, "npp"), (LOINC, "59284-0")], True),
        ([("urn:own", "npp")], True),
        ([], True),
    ],
)
def test_notice_that_was_read_permits_nothing(categories: list[Code], permits: bool) -> None:
    category = [coded(code) for code in categories] or [{"text": "privacy"}]
    assert only(category=category).permits is permits


@pytest.mark.parametrize(
    ("verification", "permits"),
    [
        (None, True),
        ([{"verified": True}], True),
        ([{"verified": False}], False),
        ([{"verified": False}, {"verified": True}], True),
        ([{"verified": False}, {"verified": False}], False),
    ],
)
def test_consent_that_was_to_be_verified_permits_when_it_was(
    verification: Any, permits: bool
) -> None:
    assert only(verification=verification).permits is permits


@pytest.mark.parametrize(
    ("changes", "standing"),
    [
        ({}, "in-force"),
        ({"status": "rejected"}, "refused"),
        ({"meta": {"tag": [{"system": "urn:chartgate:consent", "code": "revocation"}]}},
         "revocation"),
        ({"meta": {"tag": [{"system": "x", "code": "y"},
                           {"system": "urn:chartgate:consent", "code": "revocation"}]},
          "status": "rejected"}, "revocation"),
        ({"meta": {"tag": [{"system": "urn:own", "code": "revocation"}]}}, "in-force"),
        ({"meta": {"tag": [{"system": "urn:chartgate:consent", "code": "other"}]}}, "in-force"),
        ({"meta": {"versionId": "1"}}, "in-force"),
    ],
)  # fmt: skip
def test_standing(changes: Json, standing: str) -> None:
    assert only(**changes).standing == standing


@pytest.mark.parametrize(
    ("changes", "discloser", "signed", "part2_form"),
    [
        ({}, True, True, False),
        ({"organization": None}, False, True, False),
        ({"performer": None}, True, False, False),
        ({"sourceReference": None}, True, False, False),
        ({"sourceReference": None, "sourceAttachment": {"title": "form"}}, True, True, False),
        ({"policyRule": coded((ACT_CODE, "42CFRPart2CD"))}, True, True, True),
        ({"policyRule": coded((ACT_CODE, "42CFRPart2"))}, True, True, True),
        ({"category": [coded((ACT_CODE, "42CFRPart2CD"))]}, True, True, True),
        ({"policyRule": coded(("urn:own", "42CFRPart2CD"))}, True, True, False),
    ],
)
def test_what_part_2_asks_beside_the_provisions(
    changes: Json, discloser: bool, signed: bool, part2_form: bool
) -> None:
    found = only(**changes)
    assert (found.discloser, found.signed, found.part2_form) == (discloser, signed, part2_form)


def test_date_that_is_not_given_is_not_known() -> None:
    assert only(dateTime=None).given is None
    assert only(dateTime="2026-02").given == moment("2026-02")
    assert only(dateTime="2026-02-30").unreadable == "a date in it is none"


@pytest.mark.parametrize(
    ("resource", "id_", "patient", "why"),
    [
        (None, "Consent/?", "", "it is no Consent"),
        ([], "Consent/?", "", "it is no Consent"),
        ({"resourceType": "Basic", "id": "1"}, "Consent/?", "", "it is no Consent"),
        (consent(id="x" * 65), "Consent/?", PATIENT, ""),
        (consent(id=7), "Consent/?", PATIENT, "Consent.id"),
        (consent(patient="Patient/7"), "Consent/c1", "", "Consent.patient"),
        (consent(patient={"reference": 7}), "Consent/c1", "", "Consent.patient"),
        (consent(status="odd"), "Consent/c1", PATIENT, "its status is none of FHIR's"),
    ],
)
def test_what_is_no_consent_denies_under_what_it_can_be_called(
    resource: Any, id_: str, patient: str, why: str
) -> None:
    found = parsed(resource)
    assert (found.id, found.patient) == (id_, patient)
    assert found.unreadable.startswith(why)
    assert ":" not in found.unreadable


def test_id_to_its_bound_is_told() -> None:
    assert only(id="x" * 64).id == f"Consent/{'x' * 64}"


def nested(depth: int) -> Json:
    held = provision("deny")
    for _ in range(depth - 1):
        held = provision("deny", held)
    return held


def test_provisions_are_read_to_a_depth_and_a_number() -> None:
    too_many = "it has too many provisions within provisions"
    assert parsed(consent(nested(DEPTH_MAX))).unreadable == ""
    assert parsed(consent(nested(DEPTH_MAX + 1))).unreadable == too_many
    several = provision("permit", *[provision("deny")] * (PROVISIONS_MAX - 1))
    assert parsed(consent(several)).unreadable == ""
    several["provision"].append(provision("deny"))
    assert parsed(consent(several)).unreadable == too_many


def test_what_nests_deeper_than_anything_is_not_understood() -> None:
    deep: Any = {"url": "u"}
    for _ in range(WALK_DEPTH_MAX):
        deep = {"url": "u", "extension": [deep]}
    assert only(extension=[deep]).unreadable == "it nests too deep"


@pytest.mark.parametrize(
    "extension", [{"_status": {"id": "a"}}, {"_policy": [None, {"id": "a"}]}, {"_id": {"id": "b"}}]
)
def test_extension_beside_its_value_is_no_gap(extension: Json) -> None:
    assert "left out" not in only(**extension).unreadable
    assert "null" not in only(**extension).unreadable
