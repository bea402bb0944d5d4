"""The code maps as the transform sees them."""

import pytest

from chartgate.formats import r4
from chartgate.transform.hl7v2.code_maps import (
    CODING_SYSTEMS,
    code_map,
    coding_system_uri,
    map_names,
    target_of,
)
from tools.v2_map_corrections import CODE_ELEMENTS

TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"


@pytest.mark.parametrize("name", sorted(CODE_ELEMENTS))
def test_targets_of_a_map_for_a_bound_element_are_in_its_value_set(name: str) -> None:
    owner, _, path = CODE_ELEMENTS[name].partition(".")
    element = r4.find_element(owner, path)
    assert element is not None
    targets = set(code_map(name).values())
    assert targets
    assert all(r4.is_shaped(element.type, target) for target in targets)
    assert targets <= element.codes or not element.codes


@pytest.mark.parametrize("name", sorted(map_names() - set(CODE_ELEMENTS)))
def test_targets_of_every_other_map_are_codings(name: str) -> None:
    assert code_map(name)
    for coding in code_map(name).values():
        assert set(coding) <= {"system", "code", "display"}
        assert r4.is_shaped("uri", coding["system"])
        assert "/ValueSet/" not in coding["system"]
        assert r4.is_shaped("code", coding["code"])


@pytest.mark.parametrize(
    ("name", "sent", "target"),
    [
        ("AdministrativeSex", "F", "female"),
        ("AdministrativeSex", "f", "female"),
        ("PatientClass[EncounterStatus]", "P", "planned"),
        ("FillerStatusCodes[Appointment]", "BOOKED", "booked"),
        ("FillerStatusCodes[Appointment]", "booked", "booked"),
        ("TelecommunicationEquipmentType", "INTERNET", "email"),
        ("TelecommunicationEquipmentType", "CP", "phone"),
        ("Yes/NoIndicator", "N", False),
        ("OrderControlCode[ServiceRequest.status]", "CA", "revoked"),
        (
            "OrderType",
            "O",
            {
                "system": f"{TERMINOLOGY}/v3-RoleCode",
                "code": "OF",
                "display": "Outpatient facility",
            },
        ),
        ("AdministrativeSex", "X", None),
        ("NoSuchMap", "F", None),
    ],
)
def test_code_is_looked_up_as_sent_and_then_in_upper_case(
    name: str, sent: str, target: object
) -> None:
    assert target_of(code_map(name), sent) == target


def test_map_is_found_by_the_name_that_a_segment_map_writes_with_a_blank() -> None:
    assert code_map("Contact Role") == code_map("ContactRole") != {}


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("LN", "http://loinc.org"),
        ("ln", "http://loinc.org"),
        ("I10C", "http://hl7.org/fhir/sid/icd-10-cm"),
        ("HL70163", f"{TERMINOLOGY}/v2-0163"),
        ("0163", f"{TERMINOLOGY}/v2-0163"),
        ("urn:oid:1.2.3", "urn:oid:1.2.3"),
        ("2.16.840.1.113883.6.1", "urn:oid:2.16.840.1.113883.6.1"),
        ("L", None),
        ("99LAB", None),
        ("OURS", None),
        ("http://with a blank", None),
        ("", None),
    ],
)
def test_coding_system_of_a_message_is_a_uri_or_nothing(name: str, uri: str | None) -> None:
    assert coding_system_uri(name) == uri


def test_every_coding_system_is_a_uri_under_a_name_in_upper_case() -> None:
    for name, uri in CODING_SYSTEMS.items():
        assert name == name.upper()
        assert r4.is_shaped("uri", uri)
        assert uri.startswith(("http", "urn:"))
