"""What each trigger event becomes, and that it becomes the same everywhere."""

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chartgate.errors import Unprocessable
from chartgate.formats.hl7v2 import MalformedMessage, parse
from chartgate.policy.content import check_resource
from chartgate.testing.messages import adt, header, merge, message, patient, siu, visit
from chartgate.transform.hl7v2.datatypes import Unmappable
from chartgate.transform.hl7v2.engine import merged
from chartgate.transform.hl7v2.messages import SUPPORTED, Transformed, check_whole, transform
from chartgate.transform.hl7v2.settings import FeedSettings

SETTINGS = FeedSettings(connection="north-adt", site="north-clinic", patient_system="urn:mrn")
CORPUS = Path(__file__).parents[4] / "shared" / "corpora" / "hl7v2"


def said(raw: bytes, settings: FeedSettings = SETTINGS) -> Transformed:
    return transform(parse(raw), settings)


def resources(raw: bytes, settings: FeedSettings = SETTINGS) -> dict[str, Any]:
    """By type, as a record that held nothing would hold them; each is well-formed R4."""
    found = {}
    for draft in said(raw, settings).drafts:
        resource = merged(None, draft)
        check_whole(resource)
        check_resource(resource)
        found[resource["resourceType"]] = resource
    return found


def test_admission_is_a_patient_and_an_encounter_of_theirs() -> None:
    found = resources(adt("A01"))
    assert found["Patient"] == {
        "resourceType": "Patient",
        "id": "f78f8d9f-6a0c-5f2d-9f06-6e0c2f0a0c1c",
        "identifier": [
            {
                "id": "PID-3.1",
                "value": "1001",
                "system": "urn:mrn",
                "assigner": {"display": "NORTH"},
                "type": {
                    "coding": [
                        {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}
                    ]
                },
            }
        ],
        "name": [{"id": "PID-5.1", "family": "Example", "given": ["Ada"]}],
        "birthDate": "1980-01-02",
        "gender": "female",
        "address": [
            {
                "id": "PID-11.1",
                "line": ["1 Test Street"],
                "city": "Testville",
                "state": "TS",
                "postalCode": "00000",
            }
        ],
        "telecom": [{"id": "PID-13.1", "system": "phone", "value": "555-0100", "use": "home"}],
    } | {"id": found["Patient"]["id"]}
    encounter = found["Encounter"]
    assert encounter["subject"] == {"reference": f"Patient/{found['Patient']['id']}"}
    assert (encounter["status"], encounter["class"]["code"]) == ("in-progress", "AMB")
    assert encounter["period"] == {"start": "2024-01-02T03:00:00+00:00"}
    assert encounter["location"][0]["location"]["display"] == "NORTH, WARD, 1, 2"
    assert encounter["participant"][0]["individual"]["identifier"] == {"value": "77"}


def test_discharge_when_the_visit_is_over_finishes_it() -> None:
    assert resources(adt("A03"))["Encounter"]["status"] == "finished"


def test_update_never_opens_a_visit_again() -> None:
    finished = resources(adt("A03"))["Encounter"]
    [draft] = [d for d in said(adt("A08")).drafts if d.resource_type == "Encounter"]
    assert merged(finished, draft)["status"] == "finished"


def test_update_without_a_visit_is_about_the_patient_alone() -> None:
    raw = message(header("ADT^A08"), patient())
    assert said(raw).focus == (said(raw).patient,)


def test_merge_links_both_patients_and_ends_neither() -> None:
    found = said(merge(mrn="1001", prior="1002"))
    stays, goes = (merged(None, draft) for draft in found.drafts)
    assert goes["active"] is False
    assert _links(goes) == [(f"Patient/{stays['id']}", "replaced-by")]
    assert _links(stays) == [(f"Patient/{goes['id']}", "replaces")]
    assert f"Patient/{goes['id']}" == said(adt(mrn="1002")).patient


def _links(patient: dict[str, Any]) -> list[tuple[str, str]]:
    return [(link["other"]["reference"], link["type"]) for link in patient["link"]]


def test_second_merge_adds_its_link() -> None:
    first, second = (said(merge(prior=prior)).drafts[0] for prior in ("1002", "1003"))
    assert len(merged(merged(None, first), second)["link"]) == 2


@pytest.mark.parametrize(
    ("segment", "position"),
    [("", "MRG"), ("MRG|", "MRG-1"), ("MRG|1001^^^NORTH^MR", "MRG-1")],
)
def test_merge_when_it_names_nobody_else_is_refused(segment: str, position: str) -> None:
    raw = message(header("ADT^A40"), patient("1001"), *([segment] if segment else []))
    with pytest.raises(Unmappable) as refused:
        said(raw)
    assert refused.value.position == position


def test_booking_is_an_appointment_with_its_people_and_place() -> None:
    found = resources(siu("S12"))["Appointment"]
    assert (found["status"], found["start"], found["end"], found["minutesDuration"]) == (
        "booked",
        "2024-02-03T10:00:00+00:00",
        "2024-02-03T10:30:00+00:00",
        30,
    )
    place, person, patient_ = [p["actor"] for p in found["participant"]]
    assert patient_["reference"] == said(siu()).patient
    assert (place["display"], person["display"]) == ("NORTH, ROOM7", "Dora Doctor")


def test_cancellation_cancels_whatever_its_status_says() -> None:
    assert resources(siu("S15", status="Booked"))["Appointment"]["status"] == "cancelled"


def test_change_without_a_status_leaves_it_as_it_is() -> None:
    [_, draft] = said(siu("S14", status="")).drafts
    before = resources(siu("S12", status="Pending"))["Appointment"]
    assert merged(before, draft)["status"] == "pending"
    assert merged(None, draft)["status"] == "booked"


def test_appointment_without_times_is_refused_unless_it_is_cancelled() -> None:
    untimed = siu("S12").replace(b"^^^20240203100000^20240203103000", b"")
    with pytest.raises(Unmappable, match="no start and end"):
        resources(untimed)
    assert (
        resources(untimed.replace(b"SIU^S12", b"SIU^S15"))["Appointment"]["status"] == "cancelled"
    )


def test_time_is_meant_in_the_zone_of_the_message() -> None:
    raw = siu().replace(b"20240102030405||", b"20240102030405+0300||", 1)
    assert resources(raw)["Appointment"]["start"] == "2024-02-03T10:00:00+03:00"


@pytest.mark.parametrize(
    ("field", "value", "position"),
    [
        (7, "19801332", "PID-7"),
        (30, "maybe", "PID-30"),
        (25, "two", "PID-25"),
        (3, "", "PID-3"),
        (29, "yesterday", "PID-29"),
    ],
)
def test_value_when_it_cannot_be_what_it_should_is_refused_with_its_place(
    field: int, value: str, position: str
) -> None:
    fields = patient().split("|") + [""] * 40
    fields[field] = value
    with pytest.raises(Unmappable) as refused:
        said(message(header(), "|".join(fields)))
    assert refused.value.position == position
    assert value not in str(refused.value) or not value


def test_empty_leaves_null_removes_and_a_value_sets() -> None:
    before = resources(adt())["Patient"]
    fields = patient().split("|")
    fields[7], fields[8], fields[13] = "", '""', "555-0199"
    [draft] = said(message(header("ADT^A08"), "|".join(fields))).drafts
    after = merged(before, draft)
    assert (after["birthDate"], "gender" in after) == ("1980-01-02", False)
    assert after["telecom"][0]["value"] == "555-0199"


def test_death_when_its_time_becomes_known_replaces_the_flag() -> None:
    fields = patient().split("|") + [""] * 20
    fields[30] = "Y"
    before = resources(message(header(), "|".join(fields)))["Patient"]
    fields[29], fields[30] = "20240101", ""
    [draft] = said(message(header(), "|".join(fields))).drafts
    after = merged(before, draft)
    assert (before["deceasedBoolean"], after["deceasedDateTime"]) == (True, "2024-01-01")
    assert "deceasedBoolean" not in after


def test_ids_when_the_feed_sends_those_of_its_ehr_are_these() -> None:
    settings = FeedSettings(connection="c", site="s", ids_are_identifiers=True)
    assert said(siu(mrn="p-7", appointment="a.9"), settings).focus == (
        "Appointment/a.9",
        "Patient/p-7",
    )
    assert said(adt(mrn="no id!"), settings).patient != "Patient/no id!"


def test_ids_differ_by_connection_and_authority() -> None:
    other = FeedSettings(connection="other", site="s")
    elsewhere = adt().replace(b"1001^^^NORTH", b"1001^^^SOUTH")
    assert len({said(adt()).patient, said(adt(), other).patient, said(elsewhere).patient}) == 3


def test_moment_of_the_event_is_that_of_the_message() -> None:
    assert said(adt()).occurred_at == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_visit_without_a_number_is_known_by_its_patient_and_time() -> None:
    unnumbered = adt().replace(b"V1001^^^NORTH^VN", b"")
    assert said(unnumbered).focus == said(unnumbered).focus
    assert said(unnumbered).focus[0].startswith("Encounter/")
    nameless = message(header(), patient(), visit("").replace("20240102030000", ""))
    assert len(said(nameless.replace(b"^^^NORTH^VN", b"")).drafts) == 1


SCRIPT = """
import sys
from chartgate.formats.canonical import canonical_bytes
from chartgate.formats.hl7v2 import parse
from chartgate.transform.hl7v2.engine import merged
from chartgate.transform.hl7v2.messages import transform
from chartgate.transform.hl7v2.settings import FeedSettings
settings = FeedSettings(connection="north-adt", site="north-clinic")
for raw in sys.stdin.buffer.read().split(b"\\0"):
    for draft in transform(parse(raw), settings).drafts:
        print(canonical_bytes(merged(None, draft)).hex())
"""


def test_result_under_another_zone_locale_and_hash_seed_is_the_same_bytes() -> None:
    sent = b"\0".join([adt("A01"), merge(), siu("S12"), siu("S15")])
    results = set()
    for variables in (
        {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
        {"TZ": "Asia/Kolkata", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "7"},
    ):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            input=sent, capture_output=True, check=True, env={**os.environ, **variables},
        )  # fmt: skip
        results.add(done.stdout)
    assert len(results) == 1


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpora are not beside this checkout")
def test_corpora_are_transformed_or_refused_with_a_reason() -> None:
    lines = (CORPUS / "linuxforhealth" / "messages.jsonl").read_text().splitlines()
    sent = [json.loads(line)["message"].encode() for line in lines]
    sent += [p.read_bytes() for p in sorted((CORPUS / "ms-fhir-converter").glob("*.hl7"))]
    outcomes: Counter[str] = Counter()
    for raw in sent:
        try:
            if parse(raw).message_type in SUPPORTED:
                resources(raw)
                outcomes["transformed"] += 1
            else:
                outcomes["not supported"] += 1
        except (MalformedMessage, Unmappable):
            outcomes["refused"] += 1
        except Unprocessable as invalid:
            pytest.fail(str(invalid))
    assert sum(outcomes.values()) == len(sent)
    assert outcomes["transformed"] >= 85
