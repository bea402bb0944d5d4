"""Anyone's bundles: what is taken, what is refused and why, what references become."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from chartgate.clock import utc_now
from chartgate.demo.hospital.bundles import LoadReport, bundle_patients, load_folder
from chartgate.demo.hospital.chart import Chart
from chartgate.errors import ConfigError

SYNTHEA = Path(__file__).parents[4] / "shared" / "corpora" / "synthea-r4"
PATIENT = {"resourceType": "Patient", "id": "p", "telecom": [{"value": "1"}], "birthDate": "1980"}
DOCTOR = {"resourceType": "Practitioner", "identifier": [{"system": "npi", "value": "9"}]}


def written(folder: Path, name: str, *resources: dict[str, Any], kind: str = "collection") -> None:
    entries = [
        {"fullUrl": f"urn:uuid:{number}-{name}", "resource": r}
        for number, r in enumerate(resources)
    ]
    body = json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries}).encode()
    (folder / name).write_bytes(gzip.compress(body) if name.endswith(".gz") else body)


def loaded(folder: Path) -> tuple[Chart, LoadReport]:
    chart, report = Chart(clock=utc_now), LoadReport()
    load_folder(chart, folder, report)
    return chart, report


def test_references_are_made_literal_across_files(tmp_path: Path) -> None:
    subject = {"reference": "urn:uuid:0-b.json"}
    by_number = {"reference": "Practitioner?identifier=npi|9"}
    unknown = {"reference": "Practitioner?identifier=npi|7"}
    nowhere = {"reference": "urn:uuid:none"}
    orders = [
        {"resourceType": "ServiceRequest", "status": "active", "intent": "order"} | extra
        for extra in (
            {"subject": subject, "requester": by_number},
            {"subject": subject, "requester": unknown},
            {"subject": nowhere},
        )
    ]
    written(tmp_path, "a.json.gz", DOCTOR, *orders, kind="transaction")
    written(tmp_path, "b.json", PATIENT)
    chart, report = loaded(tmp_path)
    found = [chart.current[r].resource or {} for r in chart.references("ServiceRequest")]
    assert found[0]["subject"] == {"reference": "Patient/p"}
    assert found[0]["requester"]["reference"] in chart.current
    logical = {"type": "Practitioner", "identifier": {"system": "npi", "value": "7"}}
    assert found[1]["requester"] == logical
    assert found[2]["subject"] == nowhere
    assert (report.files, report.references_left) == (2, 2)


def test_what_is_refused_is_counted_with_its_reason(tmp_path: Path) -> None:
    written(tmp_path, "a.json", PATIENT, PATIENT, {"resourceType": "Spaceship"})
    written(tmp_path, "b.json", {"resourceType": "Slot"}, kind="history")
    written(tmp_path, "c.json", PATIENT, kind="message")
    (tmp_path / "d.json").write_text("{")
    (tmp_path / "e.json").write_text("[]")
    (tmp_path / "f.ndjson").write_text(json.dumps({**PATIENT, "id": "q"}) + "\n\n")
    report = loaded(tmp_path)[1].shown()
    assert report["taken"] == {"Patient": 2}
    assert report["refused"] == {
        "Patient: this id has been loaded already": 1,
        "Slot: Slot.schedule is required": 1,
        "Spaceship: this server has no type 'Spaceship'": 1,
        "a Bundle is of another type": 1,
        "a document is no FHIR resource": 1,
        "a file is no JSON": 1,
    }


def test_a_folder_without_patients_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no"):
        loaded(tmp_path)
    written(tmp_path, "a.json", DOCTOR)
    with pytest.raises(ConfigError, match="no Patient"):
        bundle_patients(tmp_path, LoadReport())(Chart(clock=utc_now))


def test_the_walk_gets_its_clinic_around_loaded_patients(tmp_path: Path) -> None:
    written(tmp_path, "a.json", PATIENT, {"resourceType": "Patient", "id": "silent"})
    chart = Chart(clock=utc_now)
    scenario = bundle_patients(tmp_path, LoadReport())(chart)
    assert scenario.booking_patient == "Patient/p"
    assert scenario.unreachable_patient == "Patient/silent"
    assert scenario.practitioner == "Practitioner/stand-in"
    for reference in (scenario.schedule, scenario.visit, scenario.authorisation):
        assert reference in chart.current
    assert scenario.free_slots


@pytest.mark.skipif(not SYNTHEA.is_dir(), reason="the Synthea bundles are not beside the checkout")
def test_synthea_patients_are_taken_whole() -> None:
    chart, report = Chart(clock=utc_now), LoadReport()
    scenario = bundle_patients(SYNTHEA, report)(chart)
    shown = report.shown()
    assert (shown["files"], shown["taken"]["Patient"]) == (12, 12)
    assert (shown["refused"], shown["references_left"]) == ({}, 0)
    assert len(scenario.patients) == 12
