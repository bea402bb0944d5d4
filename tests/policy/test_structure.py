"""Structure of R4: real resources pass, each kind of damage is found."""

import gzip
import tarfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import orjson
import pytest

from chartgate.policy.structure import structure_findings

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"
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
        count += 1
    assert count > 200


def test_structure_when_right_then_nothing_is_found() -> None:
    assert list(structure_findings(APPOINTMENT)) == []


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
    found = list(structure_findings({**deepcopy(APPOINTMENT), **change}))
    assert any(finding in f for f in found), found


def test_structure_when_something_required_is_missing_then_it_is_named() -> None:
    resource = {k: v for k, v in APPOINTMENT.items() if k != "participant"}
    assert list(structure_findings(resource)) == ["Appointment.participant is required"]


def test_structure_when_nested_without_end_then_it_stops() -> None:
    extension: dict[str, Any] = {"url": "http://x", "valueCode": "x"}
    for _ in range(200):
        extension = {"url": "http://x", "extension": [extension]}
    found = list(structure_findings({**APPOINTMENT, "extension": [extension]}))
    assert len(found) == 1
    assert found[0].endswith("nests too deep")


@pytest.mark.parametrize("value", [None, [], "x", 5, {}])
def test_structure_when_it_is_no_resource_then_it_says_so(value: Any) -> None:
    assert list(structure_findings(value)) == ["a resource needs a resourceType"]
