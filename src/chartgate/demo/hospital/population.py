"""Fills the hospital with synthetic patients, a clinic around them, and some real-life mess.

The patients are in sample_patients.json (made by tools/build_sample_patients.py); their dates are
moved so that the latest lie just before `today`. Ids do not depend on the day or the seed; which
slots are taken does depend on the seed.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from importlib import resources
from typing import Any

import orjson

from chartgate.demo.hospital.chart import Chart
from chartgate.demo.hospital.clinic import CLINIC, open_clinic, reference_to
from chartgate.demo.hospital.scenario import Scenario

ANCHOR = date(2026, 6, 30)  # the day after which sample_patients.json knows nothing
DATE = re.compile(r"\d{4}-\d\d-\d\d(T.*)?")
FIXED = frozenset({"birthDate", "value", "text", "data", "title", "display", "line"})
BOOKING_PATIENT = "N1004"
DUPLICATED = "N1012"
WITHOUT_BIRTH_DATE = "N1020"
Fill = Callable[[Chart], Scenario]
Resource = dict[str, Any]


def sample_patients(*, today: date | None = None, seed: int = 0) -> Fill:
    """Fills a chart with the sample population; to hand to `running_hospital`."""

    def fill(chart: Chart) -> Scenario:
        day = today or chart.clock().date()
        for resource in sample_resources(day):
            chart.put(f"{resource['resourceType']}/{resource['id']}", resource, method="POST")
        patients = [r.partition("/")[2] for r in chart.references("Patient")]
        clinicians = [r.partition("/")[2] for r in chart.references("Practitioner")]
        duplicate = _add_mess(chart)
        return open_clinic(
            chart,
            patients=patients,
            clinicians=clinicians,
            today=day,
            seed=seed,
            booking_patient=BOOKING_PATIENT,
            unreachable_patient=WITHOUT_BIRTH_DATE,
            duplicates=(f"Patient/{DUPLICATED}", duplicate),
        )

    return fill


def sample_resources(today: date) -> list[Resource]:
    """The resources of the file, moved to `today` and tied to the clinic."""
    file = resources.files("chartgate.demo.hospital") / "sample_patients.json"
    moved = [_moved(r, today - ANCHOR) for r in orjson.loads(file.read_bytes())]
    for resource in moved:
        if resource["resourceType"] == "Encounter":
            resource["serviceProvider"] = reference_to("Organization", CLINIC)
            resource["location"] = [{"location": reference_to("Location", f"{CLINIC}-rooms")}]
        elif resource["resourceType"] == "Patient":
            resource["managingOrganization"] = reference_to("Organization", CLINIC)
    return moved


def _add_mess(chart: Chart) -> str:
    """A patient registered twice under two numbers, and one whose birth date nobody asked for."""
    original = _content(chart, f"Patient/{DUPLICATED}")
    twin = {
        **original,
        "id": "N1912",
        "identifier": [{**original["identifier"][0], "value": "N1912"}],
        "name": [{**original["name"][0], "family": original["name"][0]["family"].upper()}],
    }
    twin.pop("telecom", None)
    chart.put("Patient/N1912", twin, method="POST")
    nameless = _content(chart, f"Patient/{WITHOUT_BIRTH_DATE}")
    del nameless["birthDate"]
    chart.put(f"Patient/{WITHOUT_BIRTH_DATE}", nameless, method="PUT")
    return "Patient/N1912"


def _content(chart: Chart, reference: str) -> Resource:
    content: Mapping[str, Any] | None = chart.current[reference].resource
    assert content is not None
    return dict(content)


def _moved(value: Any, by: timedelta, name: str = "") -> Any:
    if isinstance(value, list):
        return [_moved(item, by, name) for item in value]
    if isinstance(value, dict):
        return {key: _moved(item, by, key) for key, item in value.items()}
    if isinstance(value, str) and name not in FIXED and DATE.fullmatch(value):
        return (date.fromisoformat(value[:10]) + by).isoformat() + value[10:]
    return value
