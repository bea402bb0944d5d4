"""What OBX-5 becomes by OBX-2; whatever was sent is kept."""

from typing import Any

import pytest

from chartgate.formats.hl7v2 import parse
from chartgate.formats.r4_structure import structure_findings
from chartgate.testing.messages import header, message, patient
from chartgate.transform.hl7v2.engine import merged
from chartgate.transform.hl7v2.messages import transform
from chartgate.transform.hl7v2.settings import FeedSettings

SETTINGS = FeedSettings(connection="north-lab", site="north-clinic")
MG = {"unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}
UNKNOWN = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason"}
ATTACHMENT = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Observation.valueAttachment"


def observation(obx: str, before: dict[str, Any] | None = None) -> dict[str, Any]:
    raw = message(header("ORU^R01"), patient(), "OBR|1||F1^LAB|PANEL", obx)
    [draft] = [
        d for d in transform(parse(raw), SETTINGS).drafts if d.resource_type == "Observation"
    ]
    found = merged(before, draft)
    assert list(structure_findings(found)) == []
    return found


def value(kind: str, sent: str, units: str = "mg^^UCUM") -> dict[str, Any]:
    found = observation(f"OBX|1|{kind}|CODE||{sent}|{units}|||||F")
    return {name: said for name, said in found.items() if name.startswith("value")}


@pytest.mark.parametrize(
    ("kind", "sent", "expected"),
    [
        ("NM", "7.3", {"valueQuantity": {"value": 7.3, **MG}}),
        ("NM", "<5", {"valueQuantity": {"value": 5, "comparator": "<", **MG}}),
        ("NM", "pending", {"valueString": "pending"}),
        ("NM", "1+", {"valueString": "1+ mg"}),
        ("NM", "0.12345678901234567890", {"valueString": "0.12345678901234567890 mg"}),
        ("SN", ">^100", {"valueQuantity": {"value": 100, "comparator": ">", **MG}}),
        ("SN", "=^100", {"valueQuantity": {"value": 100, **MG}}),
        ("SN", "<>^3", {"valueString": "<> 3 mg"}),
        ("SN", "^2^+", {"valueString": "2 + mg"}),
        ("SN", "^1^-^4", {"valueRange": {"low": {"value": 1, **MG}, "high": {"value": 4, **MG}}}),
        (
            "SN",
            "^1^:^128",
            {"valueRatio": {"numerator": {"value": 1, **MG}, "denominator": {"value": 128, **MG}}},
        ),
        ("NR", "1^2", {"valueRange": {"low": {"value": 1, **MG}, "high": {"value": 2, **MG}}}),
        ("CQ", "5^mL", {"valueQuantity": {**MG, "value": 5, "unit": "mL"}}),
        ("CE", "A^Ape^L", {"valueCodeableConcept": {"coding": [{"code": "A", "display": "Ape"}]}}),
        ("CWE", "^free text", {"valueCodeableConcept": {"text": "free text"}}),
        ("IS", "POS", {"valueCodeableConcept": {"coding": [{"code": "POS"}]}}),
        ("ST", r"a^b&c \T\ d", {"valueString": "a^b&c & d"}),
        ("FT", r"one\.br\two", {"valueString": "one\ntwo"}),
        ("", "untyped", {"valueString": "untyped"}),
        ("QQ", "unknown^type", {"valueString": "unknown^type"}),
        ("DT", "20240131", {"valueDateTime": "2024-01-31"}),
        ("TS", "202401310102", {"valueDateTime": "2024-01-31T01:02:00+00:00"}),
        ("DT", "yesterday", {"valueString": "yesterday"}),
        ("TM", "1030", {"valueTime": "10:30:00"}),
        ("TM", "9999", {"valueString": "9999"}),
        ("DR", "2024^2025", {"valuePeriod": {"start": "2024", "end": "2025"}}),
        ("VR", "1^9", {"valueString": "1-9"}),
        ("XPN", "Doe^Jane", {"valueString": "Doe Jane"}),
        ("XAD", "1 Way&Way&1^^Town", {"valueString": "1 Way Way 1 Town"}),
        ("ST", "   ", {}),
    ],
)
def test_value_by_its_type(kind: str, sent: str, expected: dict[str, Any]) -> None:
    assert value(kind, sent) == expected


def test_samples_say_that_their_distance_is_unknown() -> None:
    found = value("NA", "1^2^^4", "mV")["valueSampledData"]
    assert (found["data"], found["origin"]) == ("1 2 E 4", {"value": 0, "unit": "mV"})
    assert "period" not in found
    assert found["_period"]["extension"] == [{**UNKNOWN, "valueCode": "unknown"}]


@pytest.mark.parametrize(
    ("kind", "sent", "attachment"),
    [
        ("ED", "^TEXT^PDF^Base64^SGk=", {"contentType": "application/pdf", "data": "SGk="}),
        ("RP", "http://pacs/1^^image^jpeg", {"contentType": "image/jpeg", "url": "http://pacs/1"}),
    ],
)
def test_document_is_an_attachment(kind: str, sent: str, attachment: dict[str, Any]) -> None:
    [said] = observation(f"OBX|1|{kind}|CODE||{sent}||||||F")["extension"]
    assert (said["url"], said["valueAttachment"]) == (ATTACHMENT, attachment)


def test_document_that_is_not_encoded_as_it_says_is_kept_as_sent() -> None:
    assert value("ED", "^TEXT^PDF^Base64^no base64!", "")["valueString"].endswith("no base64!")


def test_several_values_are_components_and_each_has_the_code() -> None:
    found = observation("OBX|1|CE|CODE^Code^L||A~B||||||F")
    assert [c["valueCodeableConcept"]["coding"][0]["code"] for c in found["component"]] == [
        "A",
        "B",
    ]
    assert all(c["code"] == found["code"] for c in found["component"])
    assert not any(name.startswith("value") for name in found)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("ST|CODE||pending", "NM|CODE||5", {"valueQuantity": {"value": 5}}),
        ("CE|CODE||A~B", "ST|CODE||done", {"valueString": "done"}),
        ("ED|CODE||^T^PDF^Base64^SGk=", "ST|CODE||done", {"valueString": "done"}),
        ("NM|CODE||5", 'NM|CODE||""', {}),
        ("NM|CODE||5", "NM|CODE||", {"valueQuantity": {"value": 5}}),
    ],
)
def test_later_value_takes_the_place_of_any_before(
    first: str, second: str, expected: dict[str, Any]
) -> None:
    before = observation(f"OBX|1|{first}||||||P")
    after = observation(f"OBX|1|{second}||||||F", before)
    assert {n: v for n, v in after.items() if n.startswith("value")} == expected
    assert "component" not in after
    assert "extension" not in after


@pytest.mark.parametrize(
    ("sent", "bounds"),
    [
        ("3.5-9", ({"value": 3.5, **MG}, {"value": 9, **MG})),
        ("-2 - 2", ({"value": -2, **MG}, {"value": 2, **MG})),
        ("<130 optimal", (None, None)),
        ("9-3", (None, None)),
        ("Negative", (None, None)),
    ],
)
def test_reference_range_has_bounds_only_where_it_is_plain(sent: str, bounds: Any) -> None:
    [found] = observation(f"OBX|1|NM|CODE||5|mg^^UCUM|{sent}||||F")["referenceRange"]
    assert found["text"] == sent
    assert (found.get("low"), found.get("high")) == bounds
