"""42 CFR part 2, counselling notes and proceedings: what no mode of a site lifts."""

from typing import Any

import pytest

from chartgate.model.consent import ConsentMode
from chartgate.model.label import Labels
from chartgate.policy.consent_part2 import NOTICE
from tests.policy.consents import (
    MODES,
    Json,
    answered,
    consent,
    label_codes,
    labelled,
    provision,
    purposes,
    recipient,
)

ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
FORM = {"coding": [{"system": ACT_CODE, "code": "42CFRPart2CD"}]}
SUD = labelled("R", "SUD")
ROOT: Json = provision(
    purpose=purposes("TREAT"),
    actor=[recipient("Organization/clinic")],
    securityLabel=label_codes("R", "ETH"),
    period={"end": "2026-12-31"},
)


def part2(root: Json = ROOT, **changes: Any) -> Json:
    """A consent with every element of 2.31."""
    return consent(root, **{"policyRule": FORM, "policy": None, **changes})


def without(name: str) -> Json:
    return {key: value for key, value in ROOT.items() if key != name}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("code", ["ETH", "SUD", "ETHUD", "OPIOIDUD"])
def test_consent_with_all_elements_permits_with_the_notice(mode: ConsentMode, code: str) -> None:
    found = answered(part2(), mode=mode, labels=labelled("R", code))
    assert (found.permitted, found.rule, found.notice) == (True, "Consent/c1#0", True)
    assert found.scope == "Consent/c1 covers ETH, R for TREAT, until 2026-12-31"
    assert NOTICE.startswith("42 CFR part 2 prohibits unauthorized use or disclosure")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("changed", "lacks"),
    [
        (part2(organization=None), "who may disclose"),
        (part2(without("securityLabel")), "which of these records, by name"),
        (part2({**ROOT, "securityLabel": label_codes("R")}), "which of these records, by name"),
        (part2(without("actor")), "to whom"),
        (part2(without("purpose")), "for which purpose"),
        (
            part2(policyRule=None, policy=[{"uri": "https://x"}]),
            "that it is a consent under part 2",
        ),
        (part2({**without("period"), "purpose": purposes("TREAT", "HRESCH")}), "when it ends"),
        (part2(performer=None), "who signed it"),
        (part2(sourceReference=None), "who signed it"),
        (part2(dateTime=None), "when it was signed"),
    ],
)
def test_consent_that_lacks_one_element_permits_nothing(
    changed: Json, lacks: str, mode: ConsentMode
) -> None:
    found = answered(changed, mode=mode, labels=SUD)
    assert (found.permitted, found.rule, found.notice, found.scope) == (False, "42CFR2", False, "")
    assert lacks in found.sentence


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "consents",
    [
        (),
        (consent(),),
        (consent(provision(securityLabel=label_codes("V"))),),
        (part2({**ROOT, "purpose": purposes("HRESCH")}),),
        (part2({**ROOT, "actor": [recipient("Organization/other")]}),),
        (part2({**ROOT, "period": {"end": "2026-01-31"}}),),
        (part2({**ROOT, "securityLabel": label_codes("R", "HIV")}),),
        (part2(status="inactive"),),
    ],
)
def test_no_mode_opens_records_of_substance_use(
    consents: tuple[Json, ...], mode: ConsentMode
) -> None:
    assert not answered(*consents, mode=mode, exceptions=("TREAT",), labels=SUD).permitted
    by_law = labelled("R", handling=frozenset({"42CFRPart2"}))
    assert not answered(*consents, mode=mode, exceptions=("TREAT",), labels=by_law).permitted


@pytest.mark.parametrize("mode", MODES)
def test_one_consent_for_treatment_payment_and_operations_may_have_no_end(
    mode: ConsentMode,
) -> None:
    single = part2({**without("period"), "purpose": purposes("TREAT", "HPAYMT", "HOPERAT")})
    found = answered(single, mode=mode, labels=SUD)
    assert found.permitted
    assert found.scope.endswith("until revoked")


def test_records_may_be_named_by_instance_and_not_by_author() -> None:
    def data(meaning: str, reference: str) -> Json:
        named = [{"meaning": meaning, "reference": {"reference": reference}}]
        return part2({**without("securityLabel"), "data": named})

    assert answered(data("instance", "Observation/1"), labels=SUD).permitted
    assert not answered(data("authoredby", "Practitioner/a"), labels=SUD).permitted


@pytest.mark.parametrize("mode", MODES)
def test_revocation_ends_it_at_once(mode: ConsentMode) -> None:
    revoked = consent(
        provision("deny"),
        id="r1",
        dateTime="2026-06-15T11:59:59Z",
        meta={"tag": [{"system": "urn:chartgate:consent", "code": "revocation"}]},
    )
    assert not answered(part2(), revoked, mode=mode, labels=SUD).permitted


@pytest.mark.parametrize("mode", MODES)
def test_where_not_all_is_known_nothing_is_opened(mode: ConsentMode) -> None:
    assert not answered(part2(), mode=mode, complete=False, labels=SUD).permitted


NOTES = labelled("R", "PSYTHPN")
FOR_NOTES = provision(
    purpose=purposes("TREAT"),
    actor=[recipient("Organization/clinic")],
    securityLabel=label_codes("R", "PSYTHPN"),
)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("root", "expected"),
    [
        (FOR_NOTES, True),
        (provision(), False),
        ({**FOR_NOTES, "securityLabel": label_codes("R", "PSY")}, False),
        ({**FOR_NOTES, "securityLabel": label_codes("R", "PSYTHPN", "HIV")}, False),
        ({k: v for k, v in FOR_NOTES.items() if k != "actor"}, False),
        (provision("permit", FOR_NOTES, purpose=purposes("TREAT")), False),  # combined with others
        (provision("deny", FOR_NOTES), True),
    ],
)
def test_counselling_notes_need_a_consent_for_nothing_else(
    root: Json, expected: bool, mode: ConsentMode
) -> None:
    found = answered(consent(root), mode=mode, labels=NOTES)
    assert found.permitted is expected
    if not expected:
        assert found.rule == "notes"


@pytest.mark.parametrize("mode", MODES)
def test_notes_of_substance_use_need_both(mode: ConsentMode) -> None:
    labels = labelled("R", "PSYTHPN", "SUD")
    both = {**ROOT, "securityLabel": label_codes("R", "PSYTHPN", "SUD")}
    assert answered(part2(both), mode=mode, labels=labels).permitted
    assert not answered(consent(both), mode=mode, labels=labels).permitted
    assert not answered(part2(), consent(FOR_NOTES, id="c2"), mode=mode, labels=labels).permitted


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (("HLEGAL",), True),
        (("HOPERAT",), False),  # legal purposes lie within, and are not meant
        (("HLEGAL", "TREAT"), False),
        (("PurposeOfUse",), False),
        ((), False),
    ],
)
def test_proceedings_need_a_consent_that_names_them_alone(
    codes: tuple[str, ...], expected: bool, mode: ConsentMode
) -> None:
    named: Json = {"purpose": purposes(*codes)} if codes else {}
    root = provision(**named)
    found = answered(consent(root), mode=mode, exceptions=("HOPERAT",), purpose="HLEGAL")
    assert found.permitted is expected
    bare = answered(mode=mode, exceptions=("HLEGAL",), purpose="HLEGAL")
    assert (bare.permitted, bare.rule) == (False, "legal")


def test_operations_denied_deny_proceedings_too() -> None:
    legal = consent(provision(purpose=purposes("HLEGAL")))
    no = consent(provision("deny", purpose=purposes("HOPERAT")), id="c2")
    assert not answered(legal, no, purpose="HLEGAL").permitted


BY_LAW = labelled("R", handling=frozenset({"42CFRPart2"}))


def naming(*codes: str, **changes: Any) -> Json:
    return part2({**ROOT, "securityLabel": label_codes("R", *codes), **changes})


@pytest.mark.parametrize(
    ("consent_", "labels", "expected"),
    [
        (naming("ETH"), BY_LAW, True),  # the law is all that is known: substance use is meant
        (naming("SUD"), BY_LAW, True),
        (naming("HIV"), BY_LAW, False),
        (naming("42CFRPart2"), BY_LAW, True),
        (naming("42CFRPart2"), labelled("R", "OPIOIDUD"), False),  # the matrix of labels says no
        (naming("ETHUD"), labelled("R", "ETHUD"), True),
        (naming("ETHUD"), labelled("R", "OPIOIDUD"), False),
        (naming("PSYTHPN", "ETH", "SUD", "ETHUD", "OPIOIDUD", "42CFRPart2"),
         labelled("R", "PSYTHPN", "SUD"), True),
    ],
)  # fmt: skip
def test_records_are_named_by_the_label_that_they_bear(
    consent_: Json, labels: Labels, expected: bool
) -> None:
    assert answered(consent_, labels=labels).permitted is expected


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ({"purpose": purposes("HRESCH"), "period": {"end": "2026-12-31"}}, True),
        ({"purpose": purposes("HRESCH"), "period": {"start": "2026-01-01"}}, False),
        ({"purpose": purposes("HRESCH")}, False),
        ({"purpose": [*purposes("HRESCH"), {"system": "urn:x", "code": "TREAT"}]}, False),
        ({"purpose": purposes("HRESCH", "TREAT")}, False),
    ],
)
def test_only_treatment_payment_and_operations_may_last(root: Json, expected: bool) -> None:
    found = answered(part2({**without("period"), **root}), labels=SUD, purpose="HRESCH")
    assert found.permitted is expected
    if not expected:
        assert "when it ends" in found.sentence


def test_purpose_of_another_system_is_not_one_of_the_three() -> None:
    mixed = [*purposes("TREAT"), {"system": "urn:x", "code": "HPAYMT"}]
    found = answered(part2({**without("period"), "purpose": mixed}), labels=SUD)
    assert "when it ends" in found.sentence


def test_everything_that_is_lacking_is_told() -> None:
    combined = consent(provision(purpose=purposes("HLEGAL", "TREAT")))
    found = answered(combined, labels=labelled("R", "PSYTHPN", "SUD"), purpose="HLEGAL")
    assert found.rule == "legal"
    for what in ("legal proceedings alone", "counselling notes alone", "by name", "to whom"):
        assert what in found.sentence


@pytest.mark.parametrize(
    ("root", "scope"),
    [
        (ROOT, "covers ETH, R for TREAT, until 2026-12-31"),
        ({**ROOT, "purpose": purposes("TREAT", "HPAYMT")},
         "covers ETH, R for TREAT, HPAYMT, until 2026-12-31"),
        ({**without("securityLabel"),
          "data": [{"meaning": "instance", "reference": {"reference": "Observation/1"}}]},
         "covers records for TREAT, until 2026-12-31"),
    ],
)  # fmt: skip
def test_scope_travels_in_one_line(root: Json, scope: str) -> None:
    assert answered(part2(root), labels=SUD).scope == f"Consent/c1 {scope}"
