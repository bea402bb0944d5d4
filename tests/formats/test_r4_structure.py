"""Structure of R4: real resources pass, each kind of damage is found."""

import gzip
import tarfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chartgate.formats import r4
from chartgate.formats.r4_structure import is_well_formed, structure_findings
from tests.formats.r4_instances import damage, make_resource

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"
TYPES = (
    *("Patient", "Encounter", "Observation", "Appointment", "Bundle", "Parameters", "Provenance"),
    *("Questionnaire", "AllergyIntolerance", "MedicationRequest", "DocumentReference", "ValueSet"),
)
APPOINTMENT: dict[str, Any] = {
    "resourceType": "Appointment",
    "status": "booked",
    "start": "2026-03-03T09:00:00Z",
    "_comment": {"extension": [{"url": "http://x", "valueCode": "masked"}]},
    "participant": [{"actor": {"reference": "Patient/7"}, "status": "accepted"}],
}


def examples() -> Iterator[dict[str, Any]]:
    for path in sorted((CORPORA / "synthea-r4").glob("*.json.gz"))[:2]:
        yield from (
            e["resource"] for e in orjson.loads(gzip.decompress(path.read_bytes()))["entry"]
        )
    with tarfile.open(CORPORA / "us-core" / "packages" / "us_core_610.tgz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and "/example/" in member.name and member.name.endswith(".json"):
                resource = orjson.loads(file.read())
                if "resourceType" in resource:
                    yield resource


def test_structure_when_resources_are_real_then_nothing_is_found() -> None:
    if not (CORPORA / "us-core").is_dir():
        pytest.skip("the corpora are not beside this checkout")
    count = 0
    for resource in examples():
        assert list(structure_findings(resource)) == []
        assert is_well_formed(resource)
        count += 1
    assert count > 200


def test_structure_when_right_then_nothing_is_found() -> None:
    assert list(structure_findings(APPOINTMENT)) == []
    assert is_well_formed(APPOINTMENT)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"status": "bookd"}, "Appointment.status must be one of the codes"),
        ({"status": None}, "Appointment.status must be of the type code"),
        ({"start": "tomorrow"}, "Appointment.start must be of the type instant"),
        ({"start": ["2026-03-03T09:00:00Z"]}, "must be of the type instant"),
        ({"strt": "x"}, "Appointment has no element strt"),
        ({"resourceType": "Appointmnt"}, "no resource type of the name given"),
        ({"resourceType": 5}, "needs a resourceType"),
        ({"participant": []}, "Appointment.participant must not be empty"),
        ({"participant": {}}, "Appointment.participant must be a list"),
        ({"participant": [{}]}, "Appointment.participant[0] must not be empty"),
        ({"participant": ["x"]}, "Appointment.participant[0] must be of the type participant"),
        ({"participant": [{"actor": {}}]}, "Appointment.participant[0].status is required"),
        (
            {"participant": [{"actor": {"reference": "Slot/1"}, "status": "accepted"}]},
            "actor may not refer to a Slot",
        ),
        (
            {"participant": [{"actor": {"reference": "Foo/1"}, "status": "accepted"}]},
            "refers to a resource type that R4 does not have",
        ),
        ({"minutesDuration": 0}, "must be of the type positiveInt"),
        ({"minutesDuration": 2**31}, "must be of the type positiveInt"),
        ({"minutesDuration": 2**70}, "must be of the type positiveInt"),
        ({"minutesDuration": 20.0}, "must be of the type positiveInt"),
        ({"minutesDuration": True}, "must be of the type positiveInt"),
        ({"created": "٢٠٢٦"}, "must be of the type dateTime"),
        ({"created": "2026\n"}, "must be of the type dateTime"),
        ({"language": "en\xa0\xa0us"}, "must be of the type code"),
        ({"comment": ""}, "must be of the type string"),
        ({"_start": "x"}, "Appointment._start must hold extensions"),
        ({"_participant": {}}, "Appointment has no element _participant"),
        ({"extension": [{"valueCode": "x"}]}, "extension[0].url is required"),
        ({"extension": [{"url": "http://x"}]}, "either a value or extensions"),
        (
            {"extension": [{"url": "http://x", "valueCode": "x", "valueString": "y"}]},
            "extension[0].value[x] may have one type only",
        ),
        ({"contained": [{"resourceType": "Nothing"}]}, "contained[0] must be a resource"),
        ({"contained": [{"resourceType": "Patient", "nam": "x"}]}, "has no element nam"),
    ],
)
def test_structure_when_damaged_then_the_place_is_named(
    change: dict[str, Any], finding: str
) -> None:
    damaged = {**deepcopy(APPOINTMENT), **change}
    found = list(structure_findings(damaged))
    assert any(finding in f for f in found), found
    assert not is_well_formed(damaged)


@pytest.mark.parametrize(
    ("extra", "right"),
    [
        ({"deceasedBoolean": False}, True),
        ({"deceasedBoolean": False, "_deceasedBoolean": {"id": "x"}}, True),
        ({"deceasedBoolean": False, "deceasedDateTime": "2026"}, False),
        ({"deceasedDateTime": "2026", "_deceasedBoolean": {"id": "x"}}, False),
        ({"_deceasedBoolean": None, "_deceasedDateTime": None}, False),
        ({"extension": [{"url": "http://x", "_valueCode": {"id": "x"}}]}, True),
        ({"extension": [{"url": "http://x", "id": "x", "valueCode": "x"}]}, True),
        ({"extension": [{"url": "http://x", "id": "x"}]}, False),
        ({"extension": [{"url": "http://x", "_url": None}]}, False),
        ({"extension": [{"id": "x", "valueCode": "x"}]}, False),
        ({"name": [{"given": ["A", None], "_given": [None, {"id": "x"}]}]}, True),
        ({"name": [{"given": [None], "family": "B"}]}, True),
        ({"name": [None]}, False),
        ({"_birthDate": []}, True),
        ({"_birthDate": [[]]}, False),
        ({"link": [{"other": {"reference": "Patient/1"}, "_type": {"id": "x"}}]}, True),
        ({"managingOrganization": {"reference": "urn:uuid:1"}}, True),
        ({"managingOrganization": {"identifier": {"assigner": {"reference": "Patient/1"}}}}, False),
        ({"contained": [{"resourceType": "Bundle", "entry": [{"resource": {}}]}]}, False),
        ({"fhir_comments": {"a": [1]}}, True),
        ({"name": [{"family": "B", "fhir_comments": ["x"]}]}, False),
    ],
)
def test_choices_extensions_and_recursion_are_judged_alike_by_schema_and_walk(
    extra: dict[str, Any], right: bool
) -> None:
    resource = {"resourceType": "Patient", **extra}
    assert (list(structure_findings(resource)) == []) is right
    assert is_well_formed(resource) is right


def test_structure_when_something_required_is_missing_then_it_is_named() -> None:
    resource = {k: v for k, v in APPOINTMENT.items() if k != "participant"}
    assert list(structure_findings(resource)) == ["Appointment.participant is required"]


def test_structure_when_nested_without_end_then_it_stops() -> None:
    extension: dict[str, Any] = {"url": "http://x", "valueCode": "x"}
    for _ in range(200):
        extension = {"url": "http://x", "extension": [extension]}
    damaged = {**APPOINTMENT, "extension": [extension]}
    found = list(structure_findings(damaged))
    assert len(found) == 1
    assert found[0].endswith("nests too deep")
    assert not is_well_formed(damaged)


@pytest.mark.parametrize("value", [None, [], "x", 5, {}])
def test_structure_when_it_is_no_resource_then_it_says_so(value: Any) -> None:
    assert list(structure_findings(value)) == ["a resource needs a resourceType"]
    assert not is_well_formed(value)


@pytest.mark.parametrize("resource_type", sorted(r4.resource_types()))
def test_every_type_has_a_schema_that_takes_what_the_tables_allow(resource_type: str) -> None:
    for seed in range(3):
        resource = make_resource(Random(seed), resource_type)
        assert list(structure_findings(resource)) == []
        assert is_well_formed(resource)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    random=st.randoms(use_true_random=False),
    resource_type=st.sampled_from(TYPES),
    times=st.integers(min_value=0, max_value=3),
)
def test_schema_and_walk_say_the_same_of_any_damage(
    random: Random, resource_type: str, times: int
) -> None:
    resource = make_resource(random, resource_type)
    for _ in range(times):
        damage(random, resource)
    assert is_well_formed(resource) == (not list(structure_findings(resource)))


def test_damage_is_mostly_found_so_that_the_law_says_something() -> None:
    random, found = Random(7), 0
    for number in range(300):
        resource = make_resource(random, TYPES[number % len(TYPES)])
        damage(random, resource)
        found += not is_well_formed(resource)
    assert 150 < found < 300
