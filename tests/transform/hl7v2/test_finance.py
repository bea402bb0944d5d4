"""Coverages, accounts, and where a stay was before."""

import pytest

from chartgate.testing.messages import header, message, patient
from tests.transform.hl7v2.made import admission, all_of, fields, laid, only

INSURANCE = fields(
    "IN1", _1="1", _2="GOLD^^L", _3="ACME1", _4="Acme Health", _8="G1", _9="Group One",
    _10="777^^^^SN", _11="Example Works", _12="20240101", _13="20241231", _15="HMO",
    _16="Example^Bob", _17="SPO", _36="POL-1",
)  # fmt: skip


def test_insurance_is_a_coverage_with_its_payor_and_policy() -> None:
    record = laid(admission(INSURANCE))
    found = only(record, "Coverage")
    [payor] = found["payor"]
    assert (payor["display"], payor["identifier"]["value"]) == ("Acme Health", "ACME1")
    assert (found["status"], found["subscriberId"]) == ("active", "POL-1")
    assert found["period"] == {"start": "2024-01-01", "end": "2024-12-31"}
    assert (found["class"][0]["value"], found["class"][0]["name"]) == ("G1", "Group One")
    assert found["policyHolder"]["display"] == "Example Works"
    assert found["subscriber"] == {"type": "RelatedPerson", "display": "Bob Example"}
    assert found["extension"][0]["valueIdentifier"]["value"] == "777"


@pytest.mark.parametrize("relation", ["SEL", "self"])
def test_insured_who_is_the_patient_is_the_subscriber(relation: str) -> None:
    record = laid(admission(INSURANCE.replace("SPO", relation)))
    patient_ = only(record, "Patient")
    assert only(record, "Coverage")["subscriber"]["reference"] == f"Patient/{patient_['id']}"


def test_policy_in_two_messages_is_one_and_another_policy_another() -> None:
    renewed = INSURANCE.replace("20241231", "20251231")
    found = only(laid(admission(INSURANCE), admission(renewed)), "Coverage")
    assert found["period"]["end"] == "2025-12-31"
    other = INSURANCE.replace("POL-1", "POL-2")
    assert len(all_of(laid(admission(INSURANCE, other)), "Coverage")) == 2


def test_insurance_that_names_nobody_makes_nothing() -> None:
    assert all_of(laid(admission("IN1|1")), "Coverage") == []


def test_insurance_without_a_company_has_a_payor_who_is_not_named() -> None:
    assert only(laid(admission("IN1|1|GOLD")), "Coverage")["payor"][0]["display"] == "not named"


def test_financial_class_is_the_type_of_the_first_coverage() -> None:
    pv1 = fields("PV1", _1="1", _2="I", _19="V1", _20="MC")
    second = "IN1|2|SILVER|BETA|Beta"
    record = laid(message(header(), patient(), pv1, INSURANCE.replace("HMO", ""), second))
    assert [c.get("type") for c in all_of(record, "Coverage")] == [
        {"coding": [{"code": "MC"}]},
        None,
    ]


def test_account_of_a_patient_is_the_visits() -> None:
    pid = patient() + "|||||" + "ACC1^^^NORTH"
    record = laid(message(header(), pid, fields("PV1", _1="1", _2="I", _19="V1")))
    account = only(record, "Account")
    assert account["identifier"][0]["value"] == "ACC1"
    assert account["status"] == "active"
    assert account["subject"][0]["reference"] == f"Patient/{only(record, 'Patient')['id']}"
    assert only(record, "Encounter")["account"][0]["reference"] == f"Account/{account['id']}"


def test_place_where_a_patient_was_for_a_time_is_kept_as_history() -> None:
    pv1 = fields("PV1", _1="1", _2="I", _11="XRAY", _19="V1", _43="OR^1")
    found = only(laid(message(header(), patient(), pv1)), "Basic")
    places = [e["valueReference"]["display"] for x in found["extension"] for e in x["extension"]
              if e["url"] == "location"]  # fmt: skip
    assert sorted(places) == ["OR, 1", "XRAY"]
